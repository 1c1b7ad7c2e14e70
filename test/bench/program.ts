/**
 * A subject that is a program of its own. It listens on the unix socket that its first argument names (a socket, because
 * a program may have the network for itself) and answers each POST when the work is done. Started with `startProgram`
 * of program-process.ts; ends on SIGTERM.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { Load, Outcome } from './work.ts';

export interface Order<Settings> {
  readonly load: Load;
  readonly settings: Settings;
}

const bodyOf = async (request: IncomingMessage): Promise<unknown> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
};

export const serveProgram = <Settings>(work: (order: Order<Settings>) => Promise<Outcome>): void => {
  const server = createServer((request, response) => {
    const answer = (status: number, body: object): void =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    bodyOf(request)
      .then(async (body) => answer(200, await work(body as Order<Settings>)))
      .catch((error: unknown) =>
        answer(500, { error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
      );
  });
  server.requestTimeout = 0;
  server.listen(process.argv[2]);
  process.once('SIGTERM', () => process.exit(0));
};
