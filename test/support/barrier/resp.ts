/** Reads the Redis protocol (RESP2 and RESP3) just enough to tell one command or reply from the next. */
const CR = 0x0d;

const SIMPLE = new Set(['+', '-', ':', ',', '#', '_', '(']);
const BULK = new Set(['$', '=', '!']);
const LISTS = new Map([
  ['*', 1],
  ['~', 1],
  ['>', 1],
  ['%', 2],
]);

/** Where the value at `at` ends; -1 when not all of it is there yet. */
export const valueEnd = (bytes: Buffer, at: number): number => {
  const line = bytes.indexOf(CR, at);
  if (line === -1 || line + 1 >= bytes.length) return -1;
  const after = line + 2;
  const type = String.fromCharCode(bytes[at] ?? 0);
  if (SIMPLE.has(type)) return after;
  const count = Number(bytes.toString('latin1', at + 1, line));
  if (!Number.isInteger(count)) throw new Error(`not RESP: ${bytes.toString('latin1', at, line)}`);
  if (count < 0) return after;
  if (BULK.has(type)) return after + count + 2 <= bytes.length ? after + count + 2 : -1;
  const each = LISTS.get(type);
  if (each === undefined) throw new Error(`not RESP: ${bytes.toString('latin1', at, line)}`);
  let end = after;
  for (let i = 0; i < count * each && end !== -1; i += 1)
    end = end < bytes.length ? valueEnd(bytes, end) : -1;
  return end;
};

/** The words of a whole command: a list of bulk strings. */
export const wordsOf = (command: Buffer): string[] => {
  const words: string[] = [];
  let at = command.indexOf(CR) + 2;
  while (at < command.length) {
    const line = command.indexOf(CR, at);
    const length = Number(command.toString('latin1', at + 1, line));
    words.push(command.toString('utf8', line + 2, line + 2 + length));
    at = line + 2 + length + 2;
  }
  return words;
};

export const isPush = (value: Buffer): boolean => value[0] === 0x3e;
export const isError = (value: Buffer): boolean => value[0] === 0x2d || value[0] === 0x21;
