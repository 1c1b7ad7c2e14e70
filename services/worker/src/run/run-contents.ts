import {
  type AnswerContent,
  type SealedContent,
  SignalboxError,
  type ToolResultContent,
} from '@signalbox/contracts';
import type { Contents } from '@signalbox/engine';
import { type Claimed, foundContent, openContentText, sealContent } from '@signalbox/run-state';
import { digest, type SealingKey } from '@signalbox/runtime';

/** What was said in a run under work, under the run's key. Owns what came sealed with it, and what was opened of that. */
export class RunContents implements Contents {
  readonly dataKey: SealingKey;
  readonly #runId: string;
  readonly #sealed: Map<string, string>;
  readonly #opened = new Map<string, unknown>();

  constructor(dataKey: SealingKey, { runId, contents }: Pick<Claimed, 'runId' | 'contents'>) {
    this.dataKey = dataKey;
    this.#runId = runId;
    this.#sealed = new Map(contents);
  }

  readonly answer = (ref: string): AnswerContent => this.#open(ref) as AnswerContent;
  readonly result = (ref: string): ToolResultContent => this.#open(ref) as ToolResultContent;

  digest(text: string): string {
    return digest(this.dataKey, text);
  }

  seal(value: unknown): SealedContent {
    const content = sealContent(this.dataKey, this.#runId, value);
    this.#opened.set(content[0], value);
    return content;
  }

  /** The JSON of a content that is asked for once: nothing of it is kept. Throws SealError. */
  take(ref: string): string {
    const sealed = this.#sealed.get(ref);
    if (sealed === undefined)
      throw new SignalboxError('internal', `Run ${this.#runId} has no content ${ref}.`);
    const text = openContentText(this.dataKey, this.#runId, [ref, foundContent(sealed)]);
    this.#sealed.delete(ref);
    return text;
  }

  /** The caller knows what is sealed under that ref. */
  #open(ref: string): unknown {
    if (this.#opened.has(ref)) return this.#opened.get(ref);
    const value: unknown = JSON.parse(this.take(ref));
    this.#opened.set(ref, value);
    return value;
  }
}
