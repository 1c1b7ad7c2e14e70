/** Runs as their submitters know them: none lost, none invented, each their own, and none failed for us. */
import { showsLostTooOften } from '../../e2e/cap-race-world.ts';
import type { Case } from '../case.ts';
import type { Invariant } from './invariant.ts';

/** When, between which losses of Redis. */
const ackOf = ({ world }: Case, runId: string): string => {
  const submission = world.history.submissions.find(({ runIds }) => runIds.has(runId));
  const [started, acked] = [submission?.startedAt ?? 0, submission?.ackedAt ?? 0];
  const losses = world.losses.map(({ at }) => `${at - acked} ms`).join(', ');
  return ` (answered after ${acked - started} ms; Redis was lost ${losses} after the answer)`;
};

export const lostRuns: Invariant = {
  name: 'no lost run',
  how: 'every run id of a 202 has one row in Postgres that has ended',
  judge: (all) => {
    const gone = all.lost.submitted;
    const acked = all.world.history.submissions.flatMap(({ runIds }) => [...runIds]);
    const missing = acked.filter((id) => !all.runs.has(id));
    const live = acked.filter((id) =>
      ['queued', 'running', 'waiting'].includes(all.runs.get(id)?.status ?? ''),
    );
    return {
      checked: acked.length,
      violations: [
        ...missing
          .filter((id) => !gone.has(id))
          .map((id) => `${id} was accepted and is nowhere${ackOf(all, id)}`),
        ...live.map((id) => `${id} has not ended`),
      ],
      note: `${missing.filter((id) => gone.has(id)).length} accepted runs were lost with Redis before they were stored`,
    };
  },
};

export const phantomRuns: Invariant = {
  name: 'no phantom run',
  how: 'every row was asked for, and one Idempotency-Key made one run',
  judge: (all) => {
    const byTag = new Map(all.world.history.submissions.map((one) => [one.plan.tag, one]));
    const rows = [...all.runs.values()];
    const doubled = [...Map.groupBy(rows, ({ tag }) => tag)].filter(([, list]) => list.length > 1);
    const unasked = rows.filter(({ id, tag }) => {
      const asked = byTag.get(tag);
      return asked === undefined || (!asked.runIds.has(id) && asked.unanswered === 0);
    });
    return {
      checked: rows.length,
      violations: [
        ...unasked.map(({ id, tag }) => `${id} (${tag}): nobody was told of it`),
        ...doubled.map(([tag, list]) => `${tag} made ${list.map(({ id }) => id).join(' and ')}`),
      ],
    };
  },
};

export const readYourAccept: Invariant = {
  name: 'an accepted run is found at once',
  how: 'reads after a 202, at either api: found, or try again',
  judge: (all) => {
    const gone = all.lost.submitted;
    const bad = all.world.history.badReads.filter((read) => !gone.has(read.split(':')[0] ?? ''));
    return { checked: all.world.history.reads, violations: bad };
  },
};

/** How a run may end when everything breaks but its own limits. */
const CODES = ['cost_cap_exceeded', 'provider_error', 'uncertain_effect', 'poison_step'];

export const endings: Invariant = {
  name: 'no run fails of a fault of ours',
  how: 'codes of failed runs; poison is proven by the journal; no answer that a client should never get',
  judge: ({ world, runs, lost }) => {
    const failed = [...runs.values()].filter(({ status }) => status === 'failed');
    const wrong = failed.filter(({ errorCode, bodies }) => {
      if (errorCode === 'poison_step') return !showsLostTooOften(bodies);
      return !CODES.includes(errorCode ?? '');
    });
    const codes = [...Map.groupBy(failed, ({ errorCode }) => errorCode)].map(
      ([code, list]) => `${list.length} ${code}`,
    );
    return {
      checked: runs.size,
      violations: [
        ...wrong.map(({ id, errorCode }) => `${id} failed of ${errorCode}`),
        ...world.history.badAnswers.filter(
          (answer) => ![...lost.submitted].some((id) => answer.includes(id)),
        ),
      ],
      note: codes.join(', ') || 'none failed',
    };
  },
};

const RUN_ID = /run_[0-9a-f]{32}/g;

export const isolation: Invariant = {
  name: 'tenant isolation',
  how: "rows are their submitter's; journals name no other run; another tenant's key gets 404",
  judge: ({ world, runs, evidence, strangers }) => {
    const tenantOf = new Map(world.history.submissions.map(({ plan }) => [plan.tag, plan.tenant]));
    const moved = [...runs.values()]
      .filter(({ tag, tenantId }) => tenantOf.get(tag) !== tenantId)
      .map(({ id, tenantId }) => `${id} is under ${tenantId}`);
    const foreign = evidence.runs.flatMap(({ id, rows }) =>
      rows.flatMap(({ seq, body }) =>
        (body ?? '').match(RUN_ID)?.some((named) => named !== id) === true ? [`${id}: seq ${seq}`] : [],
      ),
    );
    return {
      checked: runs.size + strangers.asked,
      violations: [...moved, ...foreign, ...strangers.answered],
    };
  },
};
