/**
 * What a provider says of a failed call may quote the very prompt, and what was said is sealed (R13). So every piece
 * of such a text that stands in the conversation goes. Linear in the conversation; both are compared as one line.
 */

export const QUOTED = '[CONTENT]';

/** A quote of `WINDOW + STRIDE` signs or more holds a whole window, wherever it begins. */
const WINDOW = 16;
const STRIDE = 8;
/** A whole message that is shorter than a window is looked for as it is; less than this is a word of any text. */
const LEAST = 6;

const oneLine = (text: string): string => text.replaceAll(/\s{2,}|[^\S ]/g, ' ').trim();

interface Range {
  readonly from: number;
  readonly to: number;
}

/** As far as both go on alike. */
const grow = (text: string, source: string, at: number, found: number): Range => {
  let [from, to] = [at, at + WINDOW];
  const shift = found - at;
  while (from > 0 && from + shift > 0 && text[from - 1] === source[from - 1 + shift]) from -= 1;
  while (to < text.length && text[to] === source[to + shift]) to += 1;
  return { from, to };
};

const quotesOf = (text: string, sources: readonly string[]): Range[] => {
  const ranges: Range[] = [];
  for (let at = 0; at + WINDOW <= text.length; at += STRIDE) {
    if (at + WINDOW <= (ranges.at(-1)?.to ?? 0)) continue;
    const window = text.slice(at, at + WINDOW);
    for (const source of sources) {
      const found = source.indexOf(window);
      if (found < 0) continue;
      ranges.push(grow(text, source, at, found));
      break;
    }
  }
  return ranges;
};

const without = (text: string, ranges: readonly Range[]): string => {
  let [rest, end] = ['', 0];
  for (const { from, to } of ranges) {
    if (from > end || end === 0) rest += text.slice(end, from) + QUOTED;
    end = to;
  }
  return rest + text.slice(end);
};

/** The text without what it quotes of what was said. */
export const withoutQuotes = (text: string, said: readonly string[]): string => {
  const line = oneLine(text);
  const sources = said.map(oneLine);
  const left = without(
    line,
    quotesOf(
      line,
      sources.filter(({ length }) => length >= WINDOW),
    ),
  );
  const short = sources.filter(({ length }) => length >= LEAST && length < WINDOW);
  return short.reduce((rest, source) => rest.replaceAll(source, QUOTED), left);
};
