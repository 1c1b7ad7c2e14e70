import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Run, Step, StoredRun } from '@signalbox/contracts';
import type { Replayed } from '@signalbox/engine';
import { createKeyring } from '@signalbox/runtime';

/**
 * Recorded runs of past versions, one file each: the journal byte by byte, the sealed contents, and what the version
 * that recorded it made of them. Today's code must read them alike for ever (histories.test.ts).
 */
export interface History {
  readonly story: string;
  readonly run: Omit<StoredRun, 'contents' | 'contentErasedAt'> & {
    readonly contents: readonly (readonly [string, string])[];
  };
  readonly view: Run;
  readonly steps: readonly Step[];
  readonly replayed: Replayed;
}

/** No secret: it seals nothing but what these files are to show. */
const KEY = Buffer.alloc(32, 7);
export const ENCRYPTION_KEYS = `history:${KEY.toString('base64')}`;
export const keyring = createKeyring([{ id: 'history', key: KEY }]);

const DIR = join(import.meta.dirname, 'histories');

export const storedRun = ({ run }: History): StoredRun => ({
  ...run,
  contentErasedAt: null,
  contents: new Map(run.contents),
});

export const storyNames = (): string[] =>
  readdirSync(DIR)
    .filter((file) => file.endsWith('.json'))
    .map((file) => basename(file, '.json'))
    .toSorted();

export const readHistory = (story: string): History =>
  JSON.parse(readFileSync(join(DIR, `${story}.json`), 'utf8')) as History;

export const writeHistory = (history: History): void =>
  writeFileSync(join(DIR, `${history.story}.json`), `${JSON.stringify(history, null, 1)}\n`);
