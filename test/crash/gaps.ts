/**
 * The gaps: places between two effects of a process, named by what goes over the wire there. The scenario of every
 * row: model call (step 1), two tools side by side (2, 3), model call (4), a wait (5), model call (6), the end.
 */
import type { ScriptName } from '@signalbox/run-state';
import type { Position } from '../support/barrier/barrier.ts';
import type { HttpStage } from '../support/barrier/http-barrier.ts';
import { callOf, commitOf, type Gap, type SeenCommit, tagOf } from './seen.ts';

export const STEP = { firstCall: 1, secondCall: 4, wait: 5, lastCall: 6 } as const;

/** A run is claimed for its n-th wake-up. */
export const claim =
  (at: Position, wakeSeq: number): Gap =>
  (seen, run) =>
    seen.via === 'redis' &&
    seen.at === at &&
    seen.command.script === 'claim' &&
    seen.command.argv[0] === run.id &&
    seen.command.argv[1] === String(wakeSeq);

const commit =
  (is: (commit: SeenCommit) => boolean) =>
  (at: Position): Gap =>
  (seen, run) => {
    if (seen.via !== 'redis' || seen.at !== at) return false;
    const found = commitOf(seen.command);
    return found !== null && found.runId === run.id && is(found);
  };

const announces = (type: string, step: number) =>
  commit(({ announced }) => announced.some((entry) => entry.type === type && entry.step === step));

export const announceFirstCall = announces('llm.requested', STEP.firstCall);
/** The answer is recorded and settled with the announcement of both tools. */
export const recordAnswer = commit(({ results }) =>
  results.some(({ type, step }) => type === 'llm.completed' && step === STEP.firstCall),
);
/** The result of the tool that was ready first, alone. */
export const recordFirstResult = commit(
  ({ results, announced }) => announced.length === 0 && results.some(({ type }) => type === 'tool.completed'),
);
/** The other one, with the announcement of the second call. */
export const announceSecondCall = announces('llm.requested', STEP.secondCall);
export const announceWait = announces('tool.requested', STEP.wait);
export const park = commit(({ after }) => after === 'park');
export const announceLastCall = announces('llm.requested', STEP.lastCall);
export const finish = commit(({ after }) => after === 'finish');
export const handOver = commit(({ after }) => after === 'hand_over');

/** Of our scripts, one that names the run in what it is given or, after it, answers. */
export const script =
  (name: ScriptName, at: Position): Gap =>
  (seen, run) =>
    seen.via === 'redis' &&
    seen.at === at &&
    seen.command.script === name &&
    run.id !== null &&
    (seen.command.argv.some((arg) => arg.includes(run.id ?? '')) || (seen.reply?.includes(run.id) ?? false));

/** Of our scripts, one that names no run; `verb`: its first argument. */
export const anyScript =
  (name: ScriptName, at: Position, verb?: string): Gap =>
  (seen) =>
    seen.via === 'redis' &&
    seen.at === at &&
    seen.command.script === name &&
    (verb === undefined || seen.command.argv[0] === verb);

/** The scheduler's look at everything, at a time at which the run is due. */
export const repairWhenDue: Gap = (seen, run) =>
  anyScript('repair', 'before')(seen, run) && run.dueMs !== null && Date.now() >= run.dueMs;

const isBull = (name: string): boolean => name === 'EVALSHA' || name === 'EVAL';

/** A job is given to the queue: BullMQ's script with the job's data. By a worker: by the one that held the run. */
export const queueAdd =
  (at: Position, { anyRun = false } = {}): Gap =>
  (seen, run) =>
    seen.via === 'redis' &&
    seen.at === at &&
    seen.command.script === null &&
    isBull(seen.command.name) &&
    (seen.member.service !== 'worker' || seen.member.runId === run.id) &&
    seen.command.argv.some((arg) => arg.startsWith(`{"runId":"${run.id ?? (anyRun ? '' : '?')}`));

/** A job ends: BullMQ's script with the job's id alone. */
export const jobDone =
  (at: Position): Gap =>
  (seen, run) =>
    seen.via === 'redis' &&
    seen.at === at &&
    seen.command.script === null &&
    isBull(seen.command.name) &&
    run.id !== null &&
    seen.member.runId === run.id &&
    seen.command.argv[0]?.startsWith(`${run.id}_`) === true;

/** The lease that carries the run is renewed while it is worked on. */
export const renewal =
  (at: Position): Gap =>
  (seen, run) =>
    anyScript('lease', at, 'renew')(seen, run) && run.id !== null && seen.member.runId === run.id;

export const modelCall =
  (at: HttpStage, call: number): Gap =>
  (seen, run) =>
    seen.via === 'model' &&
    seen.at === at &&
    tagOf(seen.request) === run.tag &&
    callOf(seen.request) === call;

export const toolCall =
  (at: HttpStage): Gap =>
  (seen, run) =>
    seen.via === 'tool' && seen.at === at && tagOf(seen.request) === run.tag;

/** A statement with the run's rows in it. */
export const insertEvents =
  (at: Position): Gap =>
  (seen, run) =>
    seen.via === 'postgres' &&
    seen.at === at &&
    /insert into audit_events/.test(seen.statement.sql) &&
    run.id !== null &&
    seen.statement.params.includes(run.id);

export const statement =
  (sql: RegExp, at: Position): Gap =>
  (seen) =>
    seen.via === 'postgres' && seen.at === at && sql.test(seen.statement.sql);
