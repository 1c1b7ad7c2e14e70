import type { AnswerBuilder } from '../attempt/answer-builder.ts';

interface Beginning {
  readonly id?: string | null | undefined;
  readonly name?: string | null | undefined;
  readonly input?: unknown;
}

/** Which content block is which tool call, and what its beginning held: all of the arguments, where none follow. */
export class ToolUseBlocks {
  readonly #positions = new Map<number, number>();
  readonly #given = new Map<number, unknown>();

  open(index: number, { id, name, input }: Beginning, answer: AnswerBuilder): void {
    this.#positions.set(index, answer.openCall(id ?? '', name ?? ''));
    if (typeof input === 'object' && input !== null && Object.keys(input).length > 0)
      this.#given.set(index, input);
  }

  add(index: number, piece: string, answer: AnswerBuilder): void {
    const position = this.#positions.get(index);
    if (position === undefined || piece === '') return;
    this.#given.delete(index);
    answer.addArguments(position, piece);
  }

  end(answer: AnswerBuilder): void {
    for (const [index, input] of this.#given) this.add(index, JSON.stringify(input), answer);
  }
}
