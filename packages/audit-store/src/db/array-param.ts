/**
 * Arrays as Postgres sends and takes them in binary: a parameter of thousands of texts that neither side has to quote,
 * escape or search through. As JSON, the bodies of a batch cost Postgres as much to take apart as to index.
 */

const OID = { int8: 20, text: 25 } as const;
const INT = 4;
const HEADER = 5 * INT;

const begin = (type: keyof typeof OID, count: number, size: number): Buffer => {
  const buffer = Buffer.allocUnsafe(HEADER + count * INT + size);
  // One dimension; there may be nulls; of this type; so many; counted from 1.
  for (const [at, value] of [1, 1, OID[type], count, 1].entries()) buffer.writeInt32BE(value, at * INT);
  return buffer;
};

const NULL_LENGTH = -1;

/** Text cannot hold NUL: it gets U+FFFD, as in the JSON parameters. */
const storableText = (text: string): string => (text.includes('\0') ? text.replaceAll('\0', '\ufffd') : text);

/** For a `::text[]`. */
export const textArray = (values: readonly (string | null)[]): Buffer => {
  const texts = values.map((value) => (value === null ? null : storableText(value)));
  const lengths = texts.map((text) => (text === null ? NULL_LENGTH : Buffer.byteLength(text)));
  const size = lengths.reduce((sum, length) => sum + Math.max(0, length), 0);
  const buffer = begin('text', texts.length, size);
  let at = HEADER;
  for (const [i, text] of texts.entries()) {
    at = buffer.writeInt32BE(lengths[i] ?? NULL_LENGTH, at);
    if (text !== null) at += buffer.write(text, at);
  }
  return buffer;
};

const TWO_32 = 2 ** 32;

/** For a `::bigint[]`, of safe integers from 0 on: what a column has no room for, Postgres refuses by its name. */
export const bigintArray = (values: readonly number[]): Buffer => {
  const size = 2 * INT;
  const buffer = begin('int8', values.length, values.length * size);
  let at = HEADER;
  for (const value of values) {
    at = buffer.writeInt32BE(size, at);
    at = buffer.writeUInt32BE(value % TWO_32, buffer.writeUInt32BE(Math.floor(value / TWO_32), at));
  }
  return buffer;
};
