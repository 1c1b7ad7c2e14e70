/** What else runs agents durably, from test/bench/neighbours, which is installed when it is first asked for. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { REPOSITORY } from '@signalbox/local';
import type { ProgramSubject } from './program.ts';

const DIR = join(REPOSITORY, 'test/bench/neighbours');
/** Equal to `packageManager` in package.json. */
const PNPM = 'pnpm@12.21.0';

const install = async (): Promise<void> => {
  if (existsSync(join(DIR, 'node_modules/.modules.yaml'))) return;
  const flags = ['--frozen-lockfile', '--ignore-workspace', '--ignore-scripts', '--pm-on-fail=ignore'];
  await promisify(execFile)('npx', ['-y', PNPM, 'install', ...flags], { cwd: DIR });
};

const entry = (name: string): string => `test/bench/neighbours/${name}.ts`;

export const NEIGHBOURS: readonly ProgramSubject[] = [
  { subject: 'Restate', entry: entry('restate'), server: 'its own', prepare: install },
  { subject: 'DBOS Transact', entry: entry('dbos'), server: 'postgres', prepare: install },
  {
    subject: 'LangGraph + Postgres checkpointer',
    entry: entry('langgraph'),
    server: 'postgres',
    prepare: install,
  },
];
