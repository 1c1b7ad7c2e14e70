import { createHash } from 'node:crypto';
import type { AuditRow, RunEvidence } from './evidence.ts';
import { type Body, hashOf, parseBody, TERMINAL, textOf } from './journal-facts.ts';

/** One journal by itself: R4 to R7, in Redis and in Postgres. */
type Finding = readonly [rule: string, detail: string];

const GENESIS = '0'.repeat(64);
const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

interface Link {
  readonly seq: number;
  readonly hash: string;
  readonly text: string | null;
}

function* chain(where: string, links: readonly Link[], runId: string): Iterable<Finding> {
  let prev = GENESIS;
  for (const [index, { seq, hash, text }] of links.entries()) {
    const at = `${where}, place ${index + 1}`;
    if (seq !== index + 1) yield ['gap-free (R5)', `${at}: seq ${seq}`];
    const body = text === null ? null : parseBody(text);
    if (text === null || body === null) {
      yield ['readable', `${at}: no body`];
      return;
    }
    if (sha256(text) !== hash) yield ['hash (R5)', `${at}: the hash is not that of the body`];
    if (body.prev !== prev) yield ['prev (R5)', `${at}: prev is not the hash before`];
    if (body.seq !== seq) yield ['gap-free (R5)', `${at}: the body says seq ${body.seq}`];
    if (body.run_id !== runId) yield ['own run', `${at}: the body is of ${body.run_id}`];
    prev = hash;
  }
}

const linkOf = (entry: string): Link => {
  const text = textOf(entry);
  return { seq: parseBody(text)?.seq ?? 0, hash: hashOf(entry), text };
};

function* columns(rows: readonly AuditRow[]): Iterable<Finding> {
  for (const row of rows) {
    const body = row.body === null ? null : parseBody(row.body);
    if (body === null) continue;
    const same = row.type === body.type && row.epoch === body.epoch && row.prev === body.prev;
    if (!same) yield ['columns say what the body says', `seq ${row.seq}`];
  }
}

function* order(bodies: readonly Body[]): Iterable<Finding> {
  let epoch = 0;
  const ends = bodies.filter(({ type }) => type in TERMINAL);
  if (ends.length !== 1)
    yield ['one end (R7)', `${ends.length} terminal events: ${ends.map(({ type }) => type).join(', ')}`];
  const last = bodies.at(-1);
  if (ends.length > 0 && last !== undefined && !(last.type in TERMINAL))
    yield ['the end is last (R7)', `${last.type} follows it`];
  for (const body of bodies) {
    if (body.epoch < epoch)
      yield ['epochs do not go back (R4)', `seq ${body.seq}: ${body.epoch} after ${epoch}`];
    epoch = Math.max(epoch, body.epoch);
  }
  const claims = bodies.filter(({ type }) => type === 'run.claimed').map((body) => body.epoch);
  if (new Set(claims).size < claims.length) yield ['one claim an epoch (R4)', claims.join(', ')];
}

/** Every call is announced once per attempt, answered at most once, and never made again after its answer (R6). */
function* steps(bodies: readonly Body[]): Iterable<Finding> {
  const answered = new Set<string>();
  const open = new Set<string>();
  for (const { seq, type, data } of bodies) {
    const [kind, what] = type.split('.');
    if (kind !== 'llm' && kind !== 'tool') continue;
    const step = `${kind} step ${data.step}`;
    const attempt = `${step} attempt ${data.attempt}`;
    if (answered.has(step)) yield ['completed is completed (R6)', `seq ${seq}: ${type} of ${step}`];
    if (what === 'requested') open.add(attempt);
    else if (!open.delete(attempt))
      yield ['announced before it happened (R3)', `seq ${seq}: ${type}, ${attempt}`];
    if (what === 'completed') answered.add(step);
  }
}

export function* journalRules(run: RunEvidence): Iterable<Finding> {
  const links = run.rows.map(({ seq, hash, body }) => ({ seq, hash, text: body }));
  yield* chain('Redis', run.entries.map(linkOf), run.id);
  yield* chain('Postgres', links, run.id);
  yield* columns(run.rows);
  const inRedis = run.entries.join('\n');
  const inPostgres = run.rows.map(({ hash, body }) => `${hash}${body}`).join('\n');
  if (run.entries.length > 0 && inRedis !== inPostgres)
    yield ['Redis and Postgres hold the same journal', `${run.entries.length} and ${run.rows.length} events`];
  const bodies = run.rows.flatMap(({ body }) => (body === null ? [] : (parseBody(body) ?? [])));
  yield* order(bodies);
  yield* steps(bodies);
}
