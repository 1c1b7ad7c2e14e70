import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { FakeRates, FakeRequest, LedgerEntry, ResolvedReply } from './types.ts';

/**
 * The provider's own books. Owns the list of requests and, if a file is named, an NDJSON copy that is on disk
 * (fsync) before the first byte of an answer and again when it ended, so it survives any crash of the test.
 */
export interface Ledger {
  readonly entries: readonly LedgerEntry[];
  open(request: FakeRequest, reply: ResolvedReply): LedgerEntry;
  /** Bills output by the share that went out (all of it: exactly the reply's usage), and closes the entry. */
  close(
    entry: LedgerEntry,
    end: { readonly sentBytes: number; readonly reply: ResolvedReply; readonly whole: boolean },
  ): void;
  end(): void;
}

/** Published rates, USD per million tokens. */
export const KNOWN_RATES: Readonly<Record<string, FakeRates>> = {
  'claude-haiku-4-5': { input: 1, output: 5, cacheRead: 0.1, cacheWrite: 1.25 },
  'gpt-4o-mini': { input: 0.15, output: 0.6, cacheRead: 0.075, cacheWrite: 0.15 },
};

export const createLedger = (
  rates: Readonly<Record<string, FakeRates>>,
  file: string | null,
  now: () => number,
): Ledger => {
  const entries: LedgerEntry[] = [];
  const handle = file === null ? null : openSync(file, 'a');
  const write = (line: object): void => {
    if (handle === null) return;
    writeSync(handle, `${JSON.stringify(line)}\n`);
    fsyncSync(handle);
  };
  return {
    entries,
    open: (request, reply) => {
      const status = reply.status ?? 200;
      const accepted = status < 400;
      const entry: LedgerEntry = {
        id: request.id,
        api: request.api,
        model: request.model,
        startedAt: now(),
        finishedAt: null,
        status,
        closedByClient: false,
        aborted: false,
        inputTokens: accepted ? reply.usage.input_tokens : 0,
        outputTokens: 0,
        cacheReadTokens: accepted ? reply.usage.cache_read_tokens : 0,
        cacheWriteTokens: accepted ? reply.usage.cache_write_tokens : 0,
        costNano: null,
        maxTokens: request.maxTokens,
        key: request.key,
        headers: request.headers,
        body: request.body,
      };
      entry.costNano = costOf(entry, rates[request.model]);
      entries.push(entry);
      write(entry);
      return entry;
    },
    close: (entry, { sentBytes, reply, whole }) => {
      entry.finishedAt = now();
      const full = entry.status < 400 ? reply.usage.output_tokens : 0;
      entry.outputTokens = whole ? full : Math.min(full, Math.ceil(sentBytes / 4));
      entry.costNano = costOf(entry, rates[entry.model]);
      const { body: _body, headers: _headers, ...rest } = entry;
      write(rest);
    },
    end: () => {
      if (handle !== null) closeSync(handle);
    },
  };
};

/** The requests of a ledger file; a request without an end has `finishedAt: null`. */
export const readLedger = (file: string): LedgerEntry[] => {
  const byId = new Map<string, LedgerEntry>();
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    if (line === '') continue;
    const entry = JSON.parse(line) as LedgerEntry;
    byId.set(entry.id, { ...byId.get(entry.id), ...entry });
  }
  return [...byId.values()];
};

/** What the provider bills in all, nano-USD; requests without rates count nothing. */
export const totalNano = (entries: readonly LedgerEntry[]): number =>
  entries.reduce((sum, { costNano }) => sum + (costNano ?? 0), 0);

/** A rate of 1 USD per million tokens is 1,000,000 pico-USD a token; begun nano-USD are billed. */
const costOf = (entry: LedgerEntry, rates: FakeRates | undefined): number | null => {
  if (rates === undefined) return null;
  const plain = entry.inputTokens - entry.cacheReadTokens - entry.cacheWriteTokens;
  const pico =
    plain * Math.round(rates.input * 1e6) +
    entry.cacheReadTokens * Math.round(rates.cacheRead * 1e6) +
    entry.cacheWriteTokens * Math.round(rates.cacheWrite * 1e6) +
    entry.outputTokens * Math.round(rates.output * 1e6);
  return Math.ceil(pico / 1000);
};
