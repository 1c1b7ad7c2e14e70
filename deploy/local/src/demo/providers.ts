/**
 * Who answers the demo's model calls. The scripted provider is a process of its own that speaks the wire format
 * of a real one and keeps books of what it would bill; it stands in for the first of these whose key is not set.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startChild } from '../child.ts';
import { REPOSITORY } from '../process.ts';
import { waitFor } from '../wait.ts';

interface Candidate {
  readonly name: string;
  readonly prefix: string;
  readonly model: string;
  readonly url: 'anthropicBaseUrl' | 'openaiBaseUrl';
}

const CANDIDATES: readonly Candidate[] = [
  { name: 'anthropic', prefix: 'ANTHROPIC', model: 'anthropic/claude-haiku-4-5', url: 'anthropicBaseUrl' },
  { name: 'openai', prefix: 'OPENAI', model: 'openai/gpt-4o-mini', url: 'openaiBaseUrl' },
  { name: 'groq', prefix: 'GROQ', model: 'groq/llama-3.1-8b-instant', url: 'openaiBaseUrl' },
];

type Environment = Readonly<Record<string, string | undefined>>;

const hasKey = (env: Environment, { prefix }: Candidate): boolean => Boolean(env[`${prefix}_API_KEY`]);

/** What the provider remembers of one request. */
export interface BilledCall {
  readonly id: string;
  /** Which turn of the conversation was asked for, from 1. */
  readonly turn: number;
  /** The whole answer went out. */
  readonly whole: boolean;
  readonly closedByClient: boolean;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** Null where its books know no prices. */
  readonly costNano: number | null;
}

export interface ScriptedProvider {
  /** `provider/model` for agents. */
  readonly model: string;
  readonly url: string;
  /** Points the workers at it. */
  readonly env: Readonly<Record<string, string>>;
  /** Every request so far, in order. */
  ledger(): readonly BilledCall[];
  stop(): Promise<void>;
}

interface LedgerLine extends Omit<BilledCall, 'turn' | 'whole'> {
  readonly finishedAt: number | null;
  readonly aborted: boolean;
  readonly body?: { readonly messages: readonly { readonly role: string }[] };
}

/** Each request has a line when it came (with its body) and a second one when it ended. */
function readLedger(file: string): BilledCall[] {
  const calls = new Map<string, LedgerLine>();
  for (const text of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const entry = JSON.parse(text) as LedgerLine;
    calls.set(entry.id, { ...calls.get(entry.id), ...entry });
  }
  return Array.from(calls.values(), ({ body, finishedAt, aborted, ...call }) => ({
    ...call,
    turn: 1 + (body?.messages ?? []).filter(({ role }) => role === 'assistant').length,
    whole: finishedAt !== null && !aborted,
  }));
}

function listening(output: string): Record<Candidate['url'] | 'url', string> | undefined {
  const end = output.indexOf('\n');
  return end < 0 ? undefined : (JSON.parse(output.slice(0, end)) as Record<Candidate['url'] | 'url', string>);
}

/** Starts it in `dir`; it plays `script` in every conversation. */
export async function startScriptedProvider(
  dir: string,
  script: object,
  env: Environment,
): Promise<ScriptedProvider> {
  const candidate = CANDIDATES.find((one) => !hasKey(env, one));
  if (candidate === undefined) {
    const names = CANDIDATES.map(({ prefix }) => `${prefix}_API_KEY`).join(', ');
    throw new Error(`All of ${names} are set: unset one, the demo needs its place for a scripted provider.`);
  }
  const scriptFile = join(dir, 'script.json');
  const ledgerFile = join(dir, 'ledger.ndjson');
  writeFileSync(scriptFile, JSON.stringify(script, null, 2));
  writeFileSync(ledgerFile, '');
  const child = await startChild({
    name: 'scripted provider',
    command: [
      process.execPath,
      join(REPOSITORY, 'test/support/fake-provider/main.ts'),
      `--script=${scriptFile}`,
      `--ledger=${ledgerFile}`,
    ],
    cwd: REPOSITORY,
    logFile: join(dir, 'provider.log'),
  });
  const urls = await waitFor(
    () => {
      if (child.exit() !== undefined) throw new Error(`The scripted provider stopped:\n${child.output()}`);
      return listening(child.output());
    },
    { what: `the scripted provider (log: ${child.logFile})`, timeoutMs: 15_000 },
  );
  return {
    model: candidate.model,
    url: urls.url,
    env: {
      [`${candidate.prefix}_BASE_URL`]: urls[candidate.url],
      [`${candidate.prefix}_API_KEY`]: 'not-a-real-key',
    },
    ledger: () => readLedger(ledgerFile),
    stop: async () => void (await child.stop()),
  };
}

/** Cheap models of the providers whose key is set. */
export const realModels = (env: Environment): string[] =>
  CANDIDATES.filter((one) => one.name !== 'groq' && hasKey(env, one)).map(({ model }) => model);
