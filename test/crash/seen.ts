import type { HttpRequest, HttpStage } from '../support/barrier/http-barrier.ts';
import type { Statement } from '../support/barrier/postgres-barrier.ts';
import type { Position } from '../support/barrier/barrier.ts';
import type { RedisCommand } from '../support/barrier/redis-barrier.ts';
import type { Member } from './member.ts';

/** What a barrier saw of a process: one effect, before it or after it. */
export type Seen =
  | {
      readonly via: 'redis';
      readonly at: Position;
      readonly command: RedisCommand;
      readonly reply: Buffer | null;
      readonly member: Member;
    }
  | {
      readonly via: 'postgres';
      readonly at: Position;
      readonly statement: Statement;
      readonly member: Member;
    }
  | {
      readonly via: 'model' | 'tool';
      readonly at: HttpStage;
      readonly request: HttpRequest;
      readonly member: Member;
    };

/** The run a row is about. */
export interface RunRef {
  readonly tag: string;
  /** Null until its submission was answered. */
  id: string | null;
  /** When its last park is over, epoch ms. */
  dueMs: number | null;
}

/** Is this the place? */
export type Gap = (seen: Seen, run: RunRef) => boolean;

interface Entry {
  readonly type: string;
  readonly step: number | null;
}

export interface SeenCommit {
  readonly runId: string;
  readonly after: string;
  readonly dueMs: number | null;
  readonly results: readonly Entry[];
  readonly announced: readonly Entry[];
}

interface Header {
  readonly run: string;
  readonly results: number;
  readonly announce: number;
  readonly after: string;
  readonly park?: { readonly due_ms?: number };
}

const HASH_LENGTH = 64;

const readEntry = (entry: string): Entry => {
  const { type, data } = JSON.parse(entry.slice(HASH_LENGTH)) as { type: string; data: { step?: number } };
  return { type, step: data.step ?? null };
};

/** A commit as it goes over the wire (commit.lua); null: something else. */
export const commitOf = ({ script, argv }: RedisCommand): SeenCommit | null => {
  if (script !== 'commit') return null;
  const header = JSON.parse(argv[0] ?? '{}') as Header;
  const entries = argv.slice(1, 1 + header.results + header.announce).map(readEntry);
  return {
    runId: header.run,
    after: header.after,
    dueMs: header.park?.due_ms ?? null,
    results: entries.slice(0, header.results),
    announced: entries.slice(header.results),
  };
};

const CLAIMED = '$2\r\nOK\r\n';

/** The run that a claim took. */
export const claimedIn = ({ script, argv }: RedisCommand, reply: Buffer): string | null =>
  script === 'claim' && reply.subarray(0, 16).includes(CLAIMED) ? (argv[0] ?? null) : null;

/** Which model call of its run a request is: 1, 2, ... */
export const callOf = ({ body }: HttpRequest): number => {
  const { messages = [] } = JSON.parse(body) as { messages?: readonly { role: string }[] };
  return messages.filter(({ role }) => role === 'assistant').length + 1;
};

const TAG = /#tag ([\w.-]+)|\/tool\/([\w.-]+)/;

export const tagOf = ({ path, body }: HttpRequest): string | null => {
  const found = TAG.exec(body.includes('#tag') ? body : path);
  return found?.[1] ?? found?.[2] ?? null;
};
