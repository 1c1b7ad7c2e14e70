/** Starts a program of program.ts and gives it work. */
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type Child, REPOSITORY, startChild, temporaryDir, waitFor } from '@signalbox/local';
import { z } from 'zod';
import type { Order } from './program.ts';
import type { Outcome } from './work.ts';

const Answer = z.union([
  z.object({ runs: z.int(), seconds: z.number(), times: z.array(z.number()).optional() }),
  z.object({ error: z.string() }),
]);

export interface ProgramOptions {
  readonly name: string;
  /** From the repository's root. */
  readonly entry: string;
  readonly logDir: string;
  /** It and its children see a loopback network of their own and nothing else. */
  readonly ownNetwork?: boolean;
}

export interface Program<Settings> {
  readonly child: Child;
  work(order: Order<Settings>): Promise<Outcome>;
}

const READY_MS = 60_000;

/** The socket is a file a moment before anybody listens on it. */
const listens = (socketPath: string): Promise<true | undefined> =>
  new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once('error', () => resolve(undefined));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });

/** Without the time limits of fetch. */
const post = (socketPath: string, body: object): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const sent = request({ socketPath, path: '/', method: 'POST' }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.once('error', reject);
      response.once('end', () => resolve(JSON.parse(text)));
    });
    sent.once('error', reject);
    sent.end(JSON.stringify(body));
  });

type Command = readonly [string, ...string[]];

/** Root may make a network at once; others need a user namespace for it. */
const inOwnNetwork = (command: Command): Command => [
  'unshare',
  process.getuid?.() === 0 ? '-n' : '-rn',
  'sh',
  '-c',
  'ip link set lo up && exec "$0" "$@"',
  ...command,
];

export const startProgram = async <Settings>(options: ProgramOptions): Promise<Program<Settings>> => {
  const { name, entry, logDir, ownNetwork = false } = options;
  const socketPath = join(await temporaryDir(), 'program');
  const command: Command = [process.execPath, join(REPOSITORY, entry), socketPath];
  const child = await startChild({
    name,
    command: [...(ownNetwork ? inOwnNetwork(command) : command)] as [string, ...string[]],
    logFile: join(logDir, `${name}.log`),
  });
  const failed = (what: string): Error =>
    new Error(`${name} ${what}; see ${child.logFile}:\n${child.output().slice(-2000)}`);
  await waitFor(
    () => {
      if (child.exit() !== undefined) throw failed('stopped before it listened');
      return listens(socketPath);
    },
    { what: `${name} to listen (log: ${child.logFile})`, timeoutMs: READY_MS },
  );
  return {
    child,
    work: async (order) => {
      const answer = Answer.parse(await post(socketPath, order));
      if ('error' in answer) throw failed(`could not do its work: ${answer.error}`);
      return answer;
    },
  };
};
