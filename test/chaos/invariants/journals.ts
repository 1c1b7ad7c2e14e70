/** Journals by themselves, in Redis and in Postgres. */
import { eventKey } from '../losses.ts';
import { countEvents, countRuns, type Invariant, ruled, sum, violationsOf } from './invariant.ts';

export const ends: Invariant = {
  name: 'one end, and it is last (R7)',
  how: 'journals in Postgres',
  judge: ruled(['one end', 'the end is last', 'an ended run has no owner'], countRuns),
};

export const gapFree: Invariant = {
  name: 'seq 1..n without gaps (R5)',
  how: 'journals in Redis and in Postgres',
  judge: ruled(['gap-free', 'own run'], countEvents),
};

export const nothingUnstored: Invariant = {
  name: 'no lost audit event (R8)',
  how: 'what a client has read is stored under its hash; Redis and Postgres hold the same journal; no backlog',
  judge: (all) => {
    const stored = new Set(
      all.evidence.runs.flatMap(({ id, rows }) =>
        rows.map(({ seq, hash }) => eventKey({ runId: id, seq, hash })),
      ),
    );
    const gone = all.world.history.seen.filter((event) => {
      const key = eventKey(event);
      return !stored.has(key) && !all.lost.events.has(key);
    });
    const rules = ['Redis and Postgres hold', 'all is stored', 'run record = events'];
    const violations = violationsOf(all, rules);
    return {
      checked: all.world.history.seen.length + countEvents(all),
      note: `${all.lost.events.size} events were lost with Redis before they were stored`,
      violations: [...violations, ...gone.map(({ runId, seq }) => `${runId}: a client read seq ${seq}`)],
    };
  },
};

export const noDuplicates: Invariant = {
  name: 'no duplicate audit event',
  how: 'one answer and one claim for each step, attempt and epoch; one row for each run and seq',
  judge: ruled(['completed is completed', 'one claim an epoch', 'announced before'], countEvents),
};

export const hashChain: Invariant = {
  name: 'hash chain, genesis to head',
  how: 'every hash recomputed from the stored text; projections recomputed from the events',
  judge: ruled(
    ['hash', 'prev', 'readable', 'runs row = events', 'columns say', 'nothing is quarantined'],
    countEvents,
  ),
};

export const verifies: Invariant = {
  name: 'nobody changed it, and it verifies',
  how: "each tenant's verification: events, what was derived from them, checkpoints",
  judge: ({ audits }) => ({
    checked: sum(Array.from(audits.values(), (verdict) => verdict?.checked ?? 0)),
    violations: [...audits].flatMap(([tenant, verdict]) =>
      verdict?.ok === true ? [] : [`${tenant}: ${JSON.stringify(verdict?.first_bad)}`],
    ),
  }),
};

export const replaysAlike: Invariant = {
  name: 'every run replays as it went (R12)',
  how: "each tenant's runs that have ended, as one job; the provider gets no request",
  judge: ({ replays: { runs, others, requests } }) => ({
    checked: runs,
    violations: [...others, ...(requests > 0 ? [`${requests} requests to the provider`] : [])],
  }),
};

export const zombies: Invariant = {
  name: 'zombies are fenced (R4)',
  how: 'no event of an epoch after one of a higher epoch',
  judge: ruled(['epochs do not go back'], countEvents),
};

export const oneOwner: Invariant = {
  name: 'one owner at a time (R4)',
  how: 'a claim is the first event of its epoch',
  judge: ({ runs }) => {
    const claims = [...runs.values()].flatMap(({ id, bodies }) =>
      bodies.flatMap(({ type, epoch, seq }, n) =>
        type === 'run.claimed' ? [{ id, seq, first: (bodies[n - 1]?.epoch ?? -1) < epoch }] : [],
      ),
    );
    return {
      checked: claims.length,
      violations: claims.filter(({ first }) => !first).map(({ id, seq }) => `${id}: the claim at seq ${seq}`),
    };
  },
};
