/** The table: every gap at which a process can end, and what the run must look like afterwards. */
import type { Stop } from './crashes.ts';
import {
  announceFirstCall,
  announceLastCall,
  announceSecondCall,
  announceWait,
  anyScript,
  claim,
  finish,
  handOver,
  insertEvents,
  jobDone,
  modelCall,
  park,
  queueAdd,
  recordAnswer,
  recordFirstResult,
  renewal,
  repairWhenDue,
  script,
  statement,
  toolCall,
} from './gaps.ts';
import { type Row, row, stopAt } from './row.ts';
import type { Gap } from './seen.ts';

const kill = stopAt('worker', 'kill');
const passed = stopAt('worker', 'note');

/** An open call that was lost is made once more. */
const FIRST_AGAIN = { calls: [2, 1, 1] };
const SECOND_AGAIN = { calls: [1, 2, 1] };
const LAST_AGAIN = { calls: [1, 1, 2] };

const steps: readonly Row[] = [
  row('worker: before claim', kill(claim('before', 1))),
  row('worker: after claim', kill(claim('after', 1))),
  row('model call: before announcing', kill(announceFirstCall('before'))),
  row('model call: announced', kill(announceFirstCall('after'))),
  row('model call: before the request', kill(modelCall('request', 1))),
  row('model call: counted, no answer', kill(modelCall('answer', 1)), FIRST_AGAIN),
  row('model call: in mid answer', kill(modelCall('stream', 1)), FIRST_AGAIN),
  row('model call: before recording', kill(recordAnswer('before')), FIRST_AGAIN),
  row('model call: recorded, tools announced', kill(recordAnswer('after'))),
  row('tool: before the request', kill(toolCall('request'))),
  row('tool: done, no answer', kill(toolCall('answer')), { tools: [2] }),
  row('tool: before recording the first of two', kill(recordFirstResult('before')), { tools: [1, 2] }),
  row('tool: the first of two recorded', kill(recordFirstResult('after')), { tools: [1, 2] }),
  row('tool: before recording the second', kill(announceSecondCall('before')), { tools: [1, 2] }),
  row('tool: recorded, model call announced', kill(announceSecondCall('after'))),
];

const waiting: readonly Row[] = [
  row('wait: before announcing', kill(announceWait('before')), SECOND_AGAIN),
  row('wait: announced', kill(announceWait('after'))),
  row('park: before', kill(park('before'))),
  row('park: after', kill(park('after'))),
  row('wake: before claim', kill(claim('before', 2))),
  row('wake: after claim', kill(claim('after', 2))),
  row('wake: before the next announcement', kill(announceLastCall('before'))),
  row('wake: after the next announcement', kill(announceLastCall('after'))),
  row('finish: before', kill(finish('before')), LAST_AGAIN),
  row('finish: after', kill(finish('after'))),
  row('job: before it is done', kill(jobDone('before'))),
  row('job: done', kill(jobDone('after'))),
];

const drain = stopAt('worker', 'drain')(modelCall('answer', 1));

const handingOver: readonly Row[] = [
  row('hand-over: before', [drain, kill(handOver('before'))], FIRST_AGAIN),
  row('hand-over: after', [drain, kill(handOver('after'))]),
  row('hand-over: before the queue', [drain, kill(queueAdd('before'))]),
  row('hand-over: in the queue', [drain, kill(queueAdd('after'))]),
];

const openCall = stopAt('worker', 'hold')(modelCall('stream', 1));

const renewing: readonly Row[] = [
  row('lease: before renewal', [openCall, kill(renewal('before'))], FIRST_AGAIN),
  row('lease: renewed', [openCall, kill(renewal('after'))], FIRST_AGAIN),
  row(
    'lease: renewal lost, its process goes on',
    [openCall, stopAt('worker', 'freeze')(renewal('before'))],
    FIRST_AGAIN,
  ),
];

const POST = { method: 'POST' } as const;
const UNCERTAIN = { ...POST, calls: [1], end: 'uncertain_effect' } as const;

const unrepeatable: readonly Row[] = [
  row('unrepeatable tool: announced', kill(recordAnswer('after')), { ...UNCERTAIN, tools: [0] }),
  row('unrepeatable tool: done, no answer', kill(toolCall('answer')), { ...UNCERTAIN, tools: [1] }),
];

/** At gaps that a row above has, with an outcome that a row of `unrepeatable` has. */
export const FURTHER_ROWS: readonly Row[] = [
  row('unrepeatable tool: before the request', kill(toolCall('request')), { ...UNCERTAIN, tools: [0] }),
  row('unrepeatable tool: before recording', kill(announceSecondCall('before')), {
    ...UNCERTAIN,
    tools: [1],
  }),
  row('unrepeatable tool: recorded', kill(announceSecondCall('after')), POST),
];

/** Lists in turn, so that what is alike is apart: workers that hand over offer no slots. */
const inTurns = (...lists: readonly (readonly Row[])[]): Row[] =>
  Array.from({ length: Math.max(...lists.map((list) => list.length)) }, (_, n) =>
    lists.flatMap((list) => list[n] ?? []),
  ).flat();

export const WORKER_ROWS = inTurns(renewing, steps, waiting, handingOver, unrepeatable);

const killApi = stopAt('api', 'kill');
const ANY = { anyRun: true };

export const SUBMIT_ROWS = [
  row('submit: before', killApi(anyScript('submit', 'before'))),
  row('submit: written, no answer', killApi(anyScript('submit', 'after'))),
  row('submit: before the queue', killApi(queueAdd('before', ANY))),
  row('submit: in the queue', killApi(queueAdd('after', ANY))),
];

const killScheduler = stopAt('scheduler', 'kill');

export const SCHEDULER_ROWS = [
  row('scheduler: before waking', [passed(park('after')), killScheduler(repairWhenDue)]),
  row('scheduler: woken, no answer', killScheduler(script('repair', 'after'))),
  row('scheduler: woken, before the queue', killScheduler(queueAdd('before'))),
  row('scheduler: woken, in the queue', killScheduler(queueAdd('after'))),
  row(
    'scheduler: lost worker found, no answer',
    [kill(modelCall('answer', 1)), killScheduler(script('repair', 'after'))],
    FIRST_AGAIN,
  ),
];

/** Places in a long wait, in their order. */
const HIBERNATION: readonly (readonly [name: string, gap: Gap])[] = [
  ['before it sleeps', script('hibernate', 'before')],
  ['asleep, no answer', script('hibernate', 'after')],
  ['before it is put back', script('awaken', 'before')],
  ['put back, no answer', script('awaken', 'after')],
];

/** Longer than it takes until a parked run hibernates: some 3 s on a busy machine, and a kill before it 2 s more. */
const LONG_WAIT = { waitSeconds: 8 };
/** For all of them in turn; on a slow machine each kill takes 8 s. */
const LONGER_WAIT = { waitSeconds: 35 };

/** Each scheduler comes one place further than the one before. */
export const HIBERNATION_ROW = row(
  `hibernation: at each of ${HIBERNATION.length} gaps`,
  HIBERNATION.map(([, gap]) => killScheduler(gap)),
  LONGER_WAIT,
);

export const HIBERNATION_ROWS = HIBERNATION.map(([name, gap]) =>
  row(`hibernation: ${name}`, killScheduler(gap), LONG_WAIT),
);

/** Places in a verification of run state, in their order. */
const VERIFICATION: readonly (readonly [name: string, gap: Gap])[] = [
  ['before it begins', anyScript('trust', 'before', 'begin')],
  ['begun', anyScript('trust', 'after', 'begin')],
  ['incarnation raised', statement(/insert into incarnations/, 'after')],
  ['before a run is put back', script('load', 'before')],
  ['a run is put back', script('load', 'after')],
  ['before the counters', anyScript('counters', 'before')],
  ['before the marker', anyScript('trust', 'before', 'end')],
  ['marked', anyScript('trust', 'after', 'end')],
];

/** Longer than it takes until Postgres has the run and Redis is emptied. */
const LOSS = { waitSeconds: 3, losesRedis: true };
const waits = passed(park('after'));

export const VERIFICATION_ROW = row(
  `verification: at each of ${VERIFICATION.length} gaps`,
  [waits, ...VERIFICATION.map(([, gap]) => killScheduler(gap))],
  LOSS,
);

export const VERIFICATION_ROWS = VERIFICATION.map(([name, gap]) =>
  row(`verification: ${name}`, [waits, killScheduler(gap)], LOSS),
);

const seenAt = stopAt('audit-writer', 'note');
const COMMIT = /^commit$/i;
const inserted = seenAt(insertEvents('after'));
const marked = seenAt(script('stored', 'after'));

/** The writer is killed, and another one stores something of the run. */
const killWriter = (gap: Gap, ...before: readonly Stop[]): Stop[] => [
  ...before,
  stopAt('audit-writer', 'kill')(gap),
  marked,
];

export const WRITER_ROWS = [
  row('audit: before insert', killWriter(insertEvents('before'))),
  row('audit: inserted', killWriter(insertEvents('after'))),
  row('audit: before commit', killWriter(statement(COMMIT, 'before'), inserted)),
  row('audit: committed, no answer', killWriter(statement(COMMIT, 'after'), inserted)),
  row('audit: before marking as stored', killWriter(script('stored', 'before'))),
  row('audit: marked as stored, no answer', killWriter(script('stored', 'after'))),
  row('audit: before acknowledging', killWriter(anyScript('acknowledge', 'before'), marked)),
  row('audit: acknowledged, no answer', killWriter(anyScript('acknowledge', 'after'), marked)),
];
