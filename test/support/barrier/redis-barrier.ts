import { createHash } from 'node:crypto';
import { scriptOfSha, type ScriptName } from '@signalbox/run-state';
import { type Barrier, type Carry, type Gate, messages, pass, startBarrier } from './barrier.ts';
import { isError, isPush, valueEnd, wordsOf } from './resp.ts';

/** One command on its way to Redis. */
export interface RedisCommand {
  /** In upper case. */
  readonly name: string;
  readonly words: readonly string[];
  /** Which of our scripts it runs; null for everything else. */
  readonly script: ScriptName | null;
  /** ARGV of a script. */
  readonly argv: readonly string[];
}

export interface RedisPassing {
  readonly command: RedisCommand;
  /** Null before. An error is no effect, so nobody is asked about it. */
  readonly reply: Buffer | null;
}

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex');

const readCommand = (bytes: Buffer): RedisCommand => {
  const words = wordsOf(bytes);
  const name = words[0]?.toUpperCase() ?? '';
  const sha = name === 'EVAL' ? sha1(words[1] ?? '') : (words[1] ?? '');
  const isScript = name === 'EVALSHA' || name === 'EVAL';
  const argv = isScript ? words.slice(3 + Number(words[2])) : [];
  return { name, words, script: isScript ? scriptOfSha(sha) : null, argv };
};

/** Which commands each reply to come carries out: those of a transaction come with its EXEC. */
class Pipeline {
  readonly #waiting: RedisCommand[][] = [];
  #transaction: RedisCommand[] | null = null;

  sent(command: RedisCommand): void {
    if (command.name === 'MULTI') this.#transaction = [];
    else if (command.name === 'EXEC') {
      this.#waiting.push([...(this.#transaction ?? []), command]);
      this.#transaction = null;
      return;
    } else if (this.#transaction === null) {
      this.#waiting.push([command]);
      return;
    } else this.#transaction.push(command);
    this.#waiting.push([]);
  }

  answered(): readonly RedisCommand[] {
    return this.#waiting.shift() ?? [];
  }
}

const carry =
  (gate: Gate<RedisPassing>): Carry =>
  (client, server) => {
    const pipeline = new Pipeline();
    const requests = async (): Promise<void> => {
      for await (const bytes of messages(client, (buffer) => endOf(buffer))) {
        const command = readCommand(bytes);
        await pass(gate({ command, reply: null }, 'before'));
        pipeline.sent(command);
        server.write(bytes);
      }
    };
    const replies = async (): Promise<void> => {
      for await (const reply of messages(server, (buffer) => endOf(buffer))) {
        const commands = isPush(reply) ? [] : pipeline.answered();
        if (!isError(reply)) for (const command of commands) await pass(gate({ command, reply }, 'after'));
        client.write(reply);
      }
    };
    return [requests(), replies()];
  };

const endOf = (bytes: Buffer): number => (bytes.length === 0 ? -1 : valueEnd(bytes, 0));

/** Before a Redis. Its gate sees every command. */
export const startRedisBarrier = (url: string, gate: Gate<RedisPassing>): Promise<Barrier> =>
  startBarrier(url, carry(gate));
