/**
 * Hears every command that any client sends to a Redis. With a socket of its own: `monitor()` of ioredis breaks when the
 * first commands arrive together with the answer that it listens.
 */
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const ARGUMENT = /"((?:[^"\\]|\\.)*)"/g;
const ESCAPE = /\\(?:x([0-9a-f]{2})|(.))/g;
const CONTROLS: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', a: '\u0007', b: '\b' };

/** As it was sent: Redis tells each byte beyond ASCII as `\xHH`. */
const unescaped = (quoted: string): string => {
  const bytes = quoted.replaceAll(ESCAPE, (_, hex: string | undefined, char: string) =>
    hex === undefined ? (CONTROLS[char] ?? char) : String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
};

const argumentsOf = (line: string): string[] =>
  Array.from(line.matchAll(ARGUMENT), ([, quoted = '']) => unescaped(quoted));

export interface RedisMonitor {
  close(): void;
}

/** Resolves when it hears. */
export const monitorRedis = async (
  url: string,
  onCommand: (args: readonly string[]) => void,
): Promise<RedisMonitor> => {
  const { hostname, port, username, password } = new URL(url);
  const secret = decodeURIComponent(password);
  const asked = [...(secret === '' ? [] : [`AUTH ${username || 'default'} ${secret}`]), 'MONITOR'];
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  const lines = createInterface({ input: socket });
  const listening = new Promise<void>((resolve, reject) => {
    let due = asked.length;
    lines.on('line', (line) => {
      if (due === 0) return onCommand(argumentsOf(line));
      if (line !== '+OK') return reject(new Error(`MONITOR was answered with ${line}`));
      due -= 1;
      if (due === 0) resolve();
    });
    lines.once('close', () => reject(new Error(`${hostname}:${port} hung up before it answered MONITOR`)));
  });
  socket.write(asked.map((command) => `${command}\r\n`).join(''));
  await listening;
  return { close: () => socket.destroy() };
};
