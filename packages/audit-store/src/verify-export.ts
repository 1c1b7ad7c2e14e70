/**
 * Verifies an export of the audit log, away from the system: `node packages/audit-store/src/verify-export.ts EXPORT
 * CHECKPOINTS PUBLIC_KEYS [--tenant ID] [--run ID] [--departed-before DATE]`. EXPORT is what GET /v1/audit/export
 * answered, CHECKPOINTS the checkpoint file, PUBLIC_KEYS a file with a base64 SPKI key a line, got from whom one trusts
 * and not from the system. Runs of months before DATE have left by retention: they are counted, not missed.
 * Exit code 0: verified; 1: not, with the first bad event; 2: used wrongly.
 */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { keyIdOf, verifyExport } from '@signalbox/engine';

const USAGE =
  'usage: verify-export.ts EXPORT CHECKPOINTS PUBLIC_KEYS [--tenant ID] [--run ID] [--departed-before DATE]\n';

/** Opens the file only when it is read. */
async function* linesOf(path: string): AsyncGenerator<string> {
  yield* createInterface({ input: createReadStream(path, 'utf8'), crlfDelay: Number.POSITIVE_INFINITY });
}

const publicKeysOf = async (path: string): Promise<ReadonlyMap<string, string>> => {
  const keys = (await readFile(path, 'utf8')).split(/\s+/).filter((key) => key !== '');
  return new Map(keys.map((key) => [keyIdOf(key), key]));
};

/** The tenant of a whole export: its first line is of the administration chain. */
const tenantOf = async (path: string): Promise<string | undefined> => {
  for await (const line of linesOf(path)) return /"run_id":"admin_([^"]+)"/.exec(line)?.[1];
  return undefined;
};

const dateOf = (text: string | undefined): Date | null => {
  if (text === undefined) return null;
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) throw new Error(`--departed-before is no date: ${text}\n`);
  return date;
};

const main = async (): Promise<number> => {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      tenant: { type: 'string' },
      run: { type: 'string' },
      'departed-before': { type: 'string' },
    },
  });
  const [exported, checkpoints, keys] = positionals;
  if (exported === undefined || checkpoints === undefined || keys === undefined) throw new Error(USAGE);
  const tenantId = values.tenant ?? (await tenantOf(exported));
  if (tenantId === undefined)
    throw new Error('the export does not begin with the administration chain: name the --tenant\n');
  const verdict = await verifyExport({
    exported: linesOf(exported),
    checkpoints: linesOf(checkpoints),
    publicKeys: await publicKeysOf(keys),
    tenantId,
    runId: values.run ?? null,
    departedBefore: dateOf(values['departed-before']),
  });
  process.stdout.write(`${JSON.stringify(verdict)}\n`);
  return verdict.ok ? 0 : 1;
};

if (import.meta.main) {
  process.exitCode = await main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message.trimEnd() : String(error)}\n`);
    return 2;
  });
}
