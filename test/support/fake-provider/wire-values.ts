/** Reading values of unknown shape, for a server that must not break on a bad request. */
export const objectOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {};

export const arrayOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** A string, or the texts of content blocks. */
export const textOf = (value: unknown): string =>
  typeof value === 'string'
    ? value
    : arrayOf(value)
        .map((block) => textOf(objectOf(block)['text']))
        .join('');

export const toolNames = (tools: unknown): string[] =>
  arrayOf(tools).map((tool) => textOf(objectOf(tool)['name']));

const PIECE = 8;

/** A text as a model streams it: a few characters at a time. */
export const piecesOf = (text: string): string[] => {
  const characters = Array.from(text);
  const count = Math.ceil(characters.length / PIECE);
  return Array.from({ length: count }, (_, n) => characters.slice(n * PIECE, (n + 1) * PIECE).join(''));
};
