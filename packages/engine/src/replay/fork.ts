import {
  type AnswerContent,
  type Entry,
  type Event,
  type EventDraft,
  type EventOf,
  NO_USAGE,
  type RunInput,
  type SealedContent,
  type TakenFrom,
  type ToolResultContent,
} from '@signalbox/contracts';
import { loopsTripped } from '../run/announcement.ts';
import { type AppendContext, appendDrafts, EMPTY_HEAD } from '../journal/chain.ts';
import type { Contents } from '../run/conversation.ts';
import { apply, fold } from '../run/fold.ts';
import type { ForkPoint } from './fork-point.ts';
import { JournalError } from '../journal/journal-error.ts';
import { addedMessages, argsDigest, type Digest, requestDigest } from '../run/request.ts';
import { lastAttempt, type RunState } from '../run/state.ts';

/**
 * A fork is a run of its own whose journal begins with copies of another run's steps: each names the event it was
 * taken from, holds nothing and costs nothing, and is sealed and digested under the new run's key. Of a step only the
 * attempt that gave its result is copied, so a fork begins with the agent's first model again.
 */

export interface ForkOrigin {
  readonly state: RunState;
  readonly events: readonly Event[];
  readonly contents: Contents;
}

export interface NewRun {
  readonly submitted: EventDraft;
  readonly input: RunInput;
  readonly context: AppendContext;
  readonly digest: Digest;
  readonly seal: (value: unknown) => SealedContent;
}

interface Copy {
  readonly requested: Event;
  readonly result: Event | null;
}

/** By step: the last announcement, and the result. */
const copiesOf = (events: readonly Event[]): Map<number, Copy> => {
  const copies = new Map<number, Copy>();
  for (const event of events) {
    const { type, data } = event;
    if (type === 'llm.requested' || type === 'tool.requested')
      copies.set(data.step, { requested: event, result: null });
    if (type !== 'llm.completed' && type !== 'tool.completed' && type !== 'tool.failed') continue;
    const known = copies.get(data.step);
    if (known !== undefined) copies.set(data.step, { ...known, result: event });
  }
  return copies;
};

/** A model call as it is to be taken over: with what the limits of its run said of it, which may not be the fork's. */
const judged = (requested: EventOf<'llm.requested'>, { steps }: RunState): EventOf<'llm.requested'> => {
  const step = steps[requested.data.step - 1];
  if (step?.kind !== 'llm') return requested;
  return { ...requested, data: { ...requested.data, limit_lowered: lastAttempt(step).limitLowered } };
};

const takenFrom = ({ run_id, seq, hash }: Event): TakenFrom => ({ run_id, seq, hash });

/** The journal of the new run as it grows. */
class ForkJournal {
  readonly entries: Entry[] = [];
  readonly contents: SealedContent[] = [];
  readonly #run: NewRun;
  readonly #state: RunState;
  readonly #opened = new Map<string, unknown>();

  constructor(run: NewRun) {
    this.#run = run;
    const { entries, events } = appendDrafts(EMPTY_HEAD, [run.submitted], run.context);
    this.entries.push(...entries);
    this.#state = fold(events);
  }

  modelStep(
    requested: EventOf<'llm.requested'>,
    completed: EventOf<'llm.completed'>,
    answer: AnswerContent,
  ): void {
    const { input, digest } = this.#run;
    const contents: Contents = {
      answer: (ref) => this.#opened.get(ref) as AnswerContent,
      result: (ref) => this.#opened.get(ref) as ToolResultContent,
    };
    const added = addedMessages(this.#state, requested.data, { input, contents });
    const request_digest = requestDigest(this.#state, added, digest);
    const own = { attempt: 1, hold: null, request_digest, taken_from: takenFrom(requested) };
    this.#write(...loopsTripped(this.#state), {
      type: 'llm.requested',
      data: { ...requested.data, ...own },
    });
    const tool_calls = completed.data.tool_calls.map((call, i) => {
      const asked = answer.tool_calls[i];
      return asked === undefined ? call : { ...call, args_digest: argsDigest(asked, digest) };
    });
    const free = { attempt: 1, settlement: null, usage: NO_USAGE, taken_from: takenFrom(completed) };
    this.#write({
      type: 'llm.completed',
      refs: { output: this.#seal(answer) },
      data: { ...completed.data, ...free, tool_calls },
    });
  }

  toolStep(requested: EventOf<'tool.requested'>): void {
    const own = { attempt: 1, taken_from: takenFrom(requested) };
    this.#write({ type: 'tool.requested', data: { ...requested.data, ...own } });
  }

  toolResult(event: EventOf<'tool.completed'> | EventOf<'tool.failed'>, content: ToolResultContent): void {
    const own = { attempt: 1, result_digest: this.#run.digest(content.text), taken_from: takenFrom(event) };
    const refs = { result: this.#seal(content) };
    if (event.type === 'tool.completed')
      this.#write({ type: event.type, refs, data: { ...event.data, ...own } });
    else this.#write({ type: event.type, refs, data: { ...event.data, ...own } });
  }

  /** Taken from nowhere: whoever forks says what the tool gave. */
  givenResult({ data: { step, call_id, name } }: EventOf<'tool.requested'>, text: string): void {
    const result_digest = this.#run.digest(text);
    this.#write({
      type: 'tool.completed',
      refs: { result: this.#seal({ text, is_error: false } satisfies ToolResultContent) },
      data: { step, attempt: 1, call_id, name, duration_ms: 0, result_digest },
    });
  }

  #write(...drafts: EventDraft[]): void {
    const { entries, events } = appendDrafts(this.#state, drafts, this.#run.context);
    this.entries.push(...entries);
    for (const event of events) apply(this.#state, event);
  }

  #seal(value: unknown): string {
    const content = this.#run.seal(value);
    this.contents.push(content);
    this.#opened.set(content[0], value);
    return content[0];
  }
}

/** The first events of a fork, `run.submitted` among them, and their contents. The point must have no problem. */
export const forkJournal = (
  origin: ForkOrigin,
  { fromStep, toolOutput }: ForkPoint,
  run: NewRun,
): Pick<ForkJournal, 'entries' | 'contents'> => {
  const journal = new ForkJournal(run);
  const copies = copiesOf(origin.events);
  const end = Math.max(fromStep, (toolOutput?.step ?? 0) + 1);
  for (let step = 1; step < end; step += 1) {
    const { requested, result } = copies.get(step) ?? { requested: null, result: null };
    if (requested?.type === 'llm.requested' && result?.type === 'llm.completed') {
      const answer = origin.contents.answer(result.refs['output'] ?? '');
      journal.modelStep(judged(requested, origin.state), result, answer);
    } else if (requested?.type === 'tool.requested') {
      journal.toolStep(requested);
      if (toolOutput?.step === step) journal.givenResult(requested, toolOutput.text);
      else if (result?.type === 'tool.completed' || result?.type === 'tool.failed')
        journal.toolResult(result, origin.contents.result(result.refs['result'] ?? ''));
    } else throw new JournalError(`step ${step} of run ${origin.state.runId} cannot be taken over`);
  }
  return journal;
};
