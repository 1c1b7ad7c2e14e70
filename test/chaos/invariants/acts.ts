/** What was done to the world outside, by the books of the provider and of the tool target. */
import type { Case } from '../case.ts';
import { tagIn } from '../plan.ts';
import { type Invariant, violationsOf } from './invariant.ts';

interface Request {
  readonly call: number;
  readonly startedAt: number;
}

/** Requests by run, from the provider's own books. */
const requestsByRun = ({ world, runOfTag }: Case): Map<string, Request[]> => {
  const requests = world.provider.ledger.flatMap(({ body, startedAt }) => {
    const runId = runOfTag.get(tagIn(JSON.stringify(body)));
    const messages = (body as { messages?: readonly { role: string }[] }).messages ?? [];
    const call = messages.filter(({ role }) => role === 'assistant').length + 1;
    return runId === undefined ? [] : [{ runId, call, startedAt }];
  });
  return Map.groupBy(requests, ({ runId }) => runId);
};

/** Calls that were announced once only, by their number. One announced again was with a worker that was lost. */
const announcedOnce = ({ runs }: Case, runId: string): ReadonlySet<number> => {
  const announced = (runs.get(runId)?.bodies ?? []).flatMap(({ type, data }) =>
    type === 'llm.requested' ? [Number(data['step'])] : [],
  );
  const steps = [...new Set(announced)];
  const once = steps.filter((step) => announced.filter((other) => other === step).length === 1);
  return new Set(once.map((step) => steps.indexOf(step) + 1));
};

export const notRepeated: Invariant = {
  name: 'a completed call is never made again (R6)',
  how: "provider's books: no more requests than attempts announced; none of a call after the next call began, but for the one that a stopped worker had announced and sent when it woke",
  judge: (all) => {
    const violations = violationsOf(all, ['provider = journal']);
    const again = [...requestsByRun(all)].flatMap(([runId, requests]) => {
      if (all.lost.runs.has(runId)) return [];
      const once = announcedOnce(all, runId);
      return requests
        .filter(
          ({ call, startedAt }) =>
            once.has(call) && requests.some((next) => next.call > call && next.startedAt < startedAt),
        )
        .map(({ call }) => `${runId}: call ${call} after the next one had begun`);
    });
    return { checked: all.world.provider.ledger.length, violations: [...violations, ...again] };
  },
};

/** A request that was announced before the abort may still be on its way; one later than that was not. */
const ON_ITS_WAY_MS = 3000;

/** When the call that a request of this time belongs to was announced; -Infinity: not that we know. */
const announcedAt = (all: Case, runId: string, startedAt: number): number =>
  Math.max(
    ...(all.runs.get(runId)?.bodies ?? [])
      .filter(({ type }) => type === 'llm.requested')
      .map(({ ts }) => Date.parse(ts))
      .filter((ms) => ms <= startedAt),
  );

export const aborts: Invariant = {
  name: 'an accepted abort stops the run',
  how: `it ends aborted, and the provider gets no request of it later than ${ON_ITS_WAY_MS / 1000} s after the answer, but for one announced before`,
  judge: (all) => {
    const requests = requestsByRun(all);
    const { losses, history } = all.world;
    const accepted = history.aborts.flatMap(({ runId, askedAt, ackedAt }) =>
      ackedAt === null ? [] : [{ runId, askedAt, ackedAt }],
    );
    // The flag itself is not in the journal until the owner writes it there.
    const flagLost = ({ askedAt, ackedAt }: { askedAt: number; ackedAt: number }): boolean =>
      losses.some(({ at, since }) => since <= ackedAt && askedAt <= at);
    const judged = accepted.filter((abort) => all.runs.has(abort.runId) && !flagLost(abort));
    return {
      checked: judged.length,
      violations: judged.flatMap(({ runId, ackedAt }) => {
        const status = all.runs.get(runId)?.status ?? 'unknown';
        const late = (requests.get(runId) ?? []).filter(
          ({ startedAt }) =>
            startedAt > ackedAt + ON_ITS_WAY_MS && announcedAt(all, runId, startedAt) > ackedAt,
        );
        return [
          ...(status === 'aborted' ? [] : [`${runId} ended ${status}`]),
          ...late.map(({ startedAt }) => `${runId}: a request ${startedAt - ackedAt} ms after the answer`),
        ];
      }),
      note: `${accepted.length - judged.length} were accepted before a loss of Redis that may have taken their flag`,
    };
  },
};

export const toolEffects: Invariant = {
  name: 'what must not be repeated happens at most once',
  how: "target's books by Idempotency-Key: a POST that is not repeatable once, others as often as announced",
  judge: ({ world, runs, lost }) => {
    const requested = [...runs.values()].flatMap(({ bodies }) =>
      bodies.filter(({ type }) => type === 'tool.requested').map(({ data }) => data),
    );
    const announced = Map.groupBy(requested, ({ idempotency_key: key }) => key ?? '');
    const effects = Map.groupBy(world.target.effects, ({ key }) => key);
    const wrong = [...effects].flatMap(([key, list]) => {
      const runId = key.split(':')[0] ?? '';
      if (lost.runs.has(runId)) return [];
      const calls = announced.get(key) ?? [];
      const most = calls.some(({ repeatable }) => repeatable === true)
        ? calls.length
        : Math.min(1, calls.length);
      return list.length > most ? [`${key}: ${list.length} times, ${most} allowed`] : [];
    });
    return { checked: effects.size, violations: wrong };
  },
};

export const policyFirst: Invariant = {
  name: 'policy before act (R1, R3)',
  how: 'every paid call has a hold in the event that announces it, and its result is of the same epoch',
  judge: ({ runs }) => {
    const wrong: string[] = [];
    let checked = 0;
    for (const { id, bodies } of runs.values()) {
      const epochs = new Map<string, number>();
      for (const { type, data, epoch, seq } of bodies) {
        const call = `${data.step}/${data.attempt}`;
        if (type === 'llm.requested') {
          checked += 1;
          epochs.set(call, epoch);
          if (!data.hold) wrong.push(`${id}: seq ${seq} has no hold`);
        } else if (type === 'llm.completed' && epochs.get(call) !== epoch) {
          wrong.push(`${id}: seq ${seq} completes a call of epoch ${epochs.get(call)}`);
        }
      }
    }
    return { checked, violations: wrong };
  },
};
