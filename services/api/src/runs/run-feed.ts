import { type Entry, type EventType, SignalboxError } from '@signalbox/contracts';
import { type Hint, openDelta } from '@signalbox/run-state';
import { Bell } from './bell.ts';
import type { ApiDeps } from '../deps.ts';
import { countUpTo, eventJson, isEnd, lastSeqOf, lastTypeOf, peek } from './entries.ts';
import { OpenDeltas } from './open-deltas.ts';
import type { ReadableRun } from './run-reader.ts';
import { watchRun } from './watch-run.ts';

/**
 * A run's events as they come: in order, each once, none left out, whatever hints are lost. Pulled by its
 * reader, so a slow client is never more than a page ahead of what it took. Owns its position in the journal
 * and its subscription, which ends with it.
 *
 * States: reading (entries are there) -> waiting (bell, or a look each second) -> reading -> ... -> ended.
 */

export type FeedItem =
  | { readonly type: 'event'; readonly seq: number; readonly name: EventType; readonly json: string }
  | { readonly type: 'delta'; readonly step: number; readonly text: string }
  /** Nothing happened for a while; the connection should show that it lives. */
  | { readonly type: 'idle' }
  | { readonly type: 'end'; readonly name: EventType };

type FeedDeps = Pick<ApiDeps, 'runs' | 'tail' | 'partition' | 'clock' | 'logger'>;

export interface FeedRequest {
  readonly run: ReadableRun;
  /** Events behind this seq. */
  readonly after: number;
  /** Null: without deltas. */
  readonly runKey: Buffer | null;
  /** Aborted when nobody reads any more. */
  readonly signal: AbortSignal;
}

const LOOK_EVERY_MS = 1000;
const IDLE_MS = 15_000;
const PAGE = 200;

const deltaOpener =
  ({ logger }: FeedDeps, { run: { runId }, runKey }: FeedRequest) =>
  (sealed: string): string | null => {
    if (runKey === null) return null;
    try {
      const text = openDelta(runKey, runId, sealed);
      return typeof text === 'string' ? text : null;
    } catch (error) {
      logger.warn('delta cannot be opened', { run_id: runId, error });
      return null;
    }
  };

/** The next page; null while run state cannot be reached. */
const nextPage = async (
  { runs }: FeedDeps,
  { tenantId, runId }: ReadableRun,
  after: number,
): Promise<readonly Entry[] | null> => {
  try {
    return await runs.entries(tenantId, { runId, after, limit: PAGE });
  } catch (error) {
    if (error instanceof SignalboxError && error.retryable) return null;
    throw error;
  }
};

type EventItem = FeedItem & { readonly type: 'event' };

const readItem = (entry: Entry): { readonly step: number; readonly item: EventItem } => {
  const { seq, type, data } = peek(entry);
  return { step: data.step ?? 0, item: { type: 'event', seq, name: type, json: eventJson(entry) } };
};

/** Of pages that several follow at once: each is read once for all of them. */
const readPages = new WeakMap<readonly Entry[], readonly ReturnType<typeof readItem>[]>();

const itemsOf = (page: readonly Entry[]): readonly ReturnType<typeof readItem>[] => {
  const known = readPages.get(page) ?? page.map(readItem);
  readPages.set(page, known);
  return known;
};

function* shown(page: readonly Entry[], deltas: OpenDeltas): Generator<FeedItem> {
  for (const { step, item } of itemsOf(page)) {
    const { name } = item;
    // What was generated before the result belongs before it.
    if (name === 'llm.completed' || name === 'llm.failed') yield* deltas.close(step);
    yield item;
    if (name === 'llm.requested') deltas.open(step);
    if (isEnd(name)) yield { type: 'end', name };
  }
  yield* deltas.take();
}

/** Pages behind `after`, the first from what was read already; an empty one at least each second. */
async function* pages(
  deps: FeedDeps,
  { run, signal }: FeedRequest,
  { after, bell }: { after: number; bell: Bell },
): AsyncGenerator<readonly Entry[]> {
  let page: readonly Entry[] | null = run.entries.slice(countUpTo(run.entries, after));
  let at = after;
  while (!signal.aborted) {
    yield page ?? [];
    at = Math.max(at, lastSeqOf(page ?? []));
    if ((page?.length ?? 0) < PAGE) await bell.wait(deps.clock, LOOK_EVERY_MS);
    page = await nextPage(deps, run, at);
  }
}

async function* items(
  deps: FeedDeps,
  request: FeedRequest,
  { bell, deltas }: { bell: Bell; deltas: OpenDeltas },
): AsyncGenerator<FeedItem> {
  const { clock } = deps;
  const { entries } = request.run;
  // A position behind the journal's end would never be reached.
  const after = Math.min(request.after, lastSeqOf(entries));
  deltas.resume(entries.slice(0, countUpTo(entries, after)));
  const ended = lastTypeOf(entries);
  if (after === lastSeqOf(entries) && isEnd(ended)) {
    yield { type: 'end', name: ended ?? 'run.failed' };
    return;
  }
  let shownAt = clock.monotonic();
  for await (const page of pages(deps, request, { after, bell })) {
    for (const item of shown(page, deltas)) {
      yield item;
      if (item.type === 'end') return;
      shownAt = clock.monotonic();
    }
    if (clock.monotonic() - shownAt < IDLE_MS) continue;
    yield { type: 'idle' };
    shownAt = clock.monotonic();
  }
}

/** Ends after `end`, or when `signal` is aborted. Throws what cannot pass by itself. */
export async function* followRun(deps: FeedDeps, request: FeedRequest): AsyncGenerator<FeedItem> {
  const bell = new Bell();
  const deltas = new OpenDeltas(deltaOpener(deps, request));
  const onHint = (hint: Hint): void => {
    if (hint.type === 'delta' && request.runKey !== null) deltas.add(hint.step, hint.sealed);
    bell.ring();
  };
  request.signal.addEventListener('abort', bell.ring, { once: true });
  const { tail, partition } = deps;
  const unwatch = watchRun(tail.watch(partition, request.run.runId, onHint), bell.ring);
  try {
    yield* items(deps, request, { bell, deltas });
  } finally {
    unwatch();
    request.signal.removeEventListener('abort', bell.ring);
  }
}
