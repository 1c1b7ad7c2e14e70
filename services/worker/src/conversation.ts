import {
  type AgentSpec,
  type Message,
  type ModelRequest,
  type SubmissionContent,
  toolEntryName,
  type Usage,
} from '@signalbox/contracts';
import { type Action, conversationOf, nudgeMessages, openingMessages, turnMessages } from '@signalbox/engine';
import { boundAfter, boundFresh } from '@signalbox/providers';
import type { Session } from './session.ts';
import type { Toolbox } from './tools/index.ts';

/**
 * What a run's model is sent, grown turn by turn: messages, input bound and request digest each take in only
 * what is new, so a step costs the same however long the conversation is (design §9).
 */
export type CallModel = Extract<Action, { type: 'call_model' }>;

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
  readonly #spec: AgentSpec;
  readonly #toolbox: Toolbox;
  #messages: Message[] | null = null;
  #last: LastCall | null = null;
  /** What was added since `#last`: a retry adds nothing itself, but its input holds all of it (R1). */
  #since: Message[] = [];

  constructor(session: Session, deps: { submission: SubmissionContent; spec: AgentSpec; toolbox: Toolbox }) {
    this.#session = session;
    this.#submission = deps.submission;
    this.#spec = deps.spec;
    this.#toolbox = deps.toolbox;
  }

  /** Takes in what the call adds. Once per announced call: a retry of the same step adds nothing. */
  prepare(action: CallModel): Prepared {
    const added = this.#addedBy(action);
    this.#messages = this.#messages === null ? this.#rebuild(action) : [...this.#messages, ...added];
    this.#since.push(...added);
    const { state } = this.#session;
    return {
      messages: this.#messages,
      inputBound: this.#bound(action.model),
      digest:
        added.length === 0
          ? state.requestDigest
          : this.#session.digest(`${state.requestDigest}\n${JSON.stringify(added)}`),
    };
  }

  request(action: CallModel, maxOutputTokens: number): ModelRequest {
    const { instructions, tools, temperature, output_schema } = this.#spec;
    return {
      model: action.model,
      instructions,
      messages: this.#messages ?? [],
      tools: this.#toolbox.definitions(tools.map(toolEntryName)),
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

  #isNew(action: CallModel): boolean {
    return action.step > this.#session.state.steps.length;
  }

  #addedBy(action: CallModel): Message[] {
    if (!this.#isNew(action)) return [];
    const { turn } = this.#session.state;
    const before =
      turn === null ? openingMessages(this.#submission.input) : turnMessages(turn, this.#session.contents);
    return [...before, ...nudgeMessages(action.nudge)];
  }

  #rebuild(action: CallModel): Message[] {
    const { state, contents } = this.#session;
    const said = conversationOf(state, this.#submission.input, contents);
    return this.#isNew(action) ? [...said, ...nudgeMessages(action.nudge)] : said;
  }

  #bound(model: string): number {
    if (this.#last?.model !== model) return boundFresh({ ...this.request({ model } as CallModel, 1), model });
    const { input_tokens, output_tokens } = this.#last.usage;
    return boundAfter({ inputTokens: input_tokens, outputTokens: output_tokens }, this.#since);
  }
}
