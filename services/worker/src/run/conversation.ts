/**
 * What a run's model is sent, grown turn by turn: messages, input bound and request digest each take in only
 * what is new, so a step costs the same however long the conversation is.
 */
import type { Message, ModelRequest, SubmissionContent, Usage } from '@signalbox/contracts';
import {
  addedMessages,
  type CallModel,
  conversationOf,
  nudgeMessages,
  requestDigest,
} from '@signalbox/engine';
import { boundAfter, boundFresh } from '@signalbox/providers';
import type { Session } from './session.ts';
import type { ReadSpec } from './specs.ts';

export interface Prepared {
  readonly messages: readonly Message[];
  /** Upper bound of the input in tokens. */
  readonly inputBound: number;
  /** Rolling HMAC over all that was sent in this run. */
  readonly digest: string;
}

interface LastCall {
  readonly model: string;
  readonly usage: Usage;
}

export class Conversation {
  readonly #session: Session;
  readonly #submission: SubmissionContent;
  readonly #agent: ReadSpec;
  #messages: Message[] | null = null;
  #last: LastCall | null = null;
  /** What was added since `#last`: a retry adds nothing itself, but its input holds all of it (R1). */
  #since: Message[] = [];

  constructor(session: Session, submission: SubmissionContent, agent: ReadSpec) {
    this.#session = session;
    this.#submission = submission;
    this.#agent = agent;
  }

  /** Takes in what the call adds. Once per announced call: a retry of the same step adds nothing. */
  prepare(action: CallModel): Prepared {
    const { state, contents } = this.#session;
    const added = addedMessages(state, action, { input: this.#submission.input, contents });
    // In place: a copy would make each step dearer than the one before.
    if (this.#messages === null) this.#messages = this.#rebuild(action);
    else this.#messages.push(...added);
    this.#since.push(...added);
    return {
      messages: this.#messages,
      inputBound: this.#bound(action.model),
      digest: requestDigest(state, added, (text) => contents.digest(text)),
    };
  }

  request(action: CallModel, maxOutputTokens: number): ModelRequest {
    const { instructions, temperature, output_schema } = this.#agent.spec;
    return {
      model: action.model,
      instructions,
      messages: this.#messages ?? [],
      tools: this.#agent.tools,
      maxOutputTokens,
      temperature,
      outputSchema: output_schema,
    };
  }

  /** Exact usage makes the next bound tight; null when the provider told none. */
  completed(model: string, usage: Usage | null): void {
    this.#last = usage === null ? null : { model, usage };
    this.#since = [];
  }

  /** The prepared call was not made: the next one starts from the journal. */
  forget(): void {
    this.#messages = null;
    this.#last = null;
    this.#since = [];
  }

  #rebuild(action: CallModel): Message[] {
    const { state, contents } = this.#session;
    const said = conversationOf(state, this.#submission.input, contents);
    return action.step > state.steps.length ? [...said, ...nudgeMessages(action.nudge)] : said;
  }

  #bound(model: string): number {
    if (this.#last?.model !== model) return boundFresh(this.#agent.frameBytes(model), this.#messages ?? []);
    const { input_tokens, output_tokens } = this.#last.usage;
    return boundAfter({ inputTokens: input_tokens, outputTokens: output_tokens }, this.#since);
  }
}
