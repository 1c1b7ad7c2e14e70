/**
 * R13 to the byte: after runs whose input, answers, tool results and errors are full of secrets and personal data,
 * none of it lies in clear in Postgres, Redis, the logs, the telemetry, the metrics, or what an auditor is answered.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { createSearch, type Find, type Search } from '../support/leaks/index.ts';
import {
  answersTo,
  dumpUncompressed,
  gather,
  listenToRedis,
  metricsPages,
  type Store,
} from './secrets-evidence.ts';
import { breakStreams, failProviders, quoteContents, quoteKeys } from './secrets-failures.ts';
import { beRefused } from './secrets-refusals.ts';
import { auditor, forkStory, operate, replayStory, tellStories } from './secrets-story.ts';
import { startWorld } from './secrets-world.ts';
import { settled } from './stack.ts';

const world = await startWorld();
after(() => world.stop());
const { system, plants } = world;
/** Not secret: whatever works on an agent names it, so a store without it was not searched. */
const AGENT = `control-${randomBytes(8).toString('hex')}`;

const bytesOf = ({ pieces }: Store): number =>
  pieces.reduce((sum, { data }) => sum + Buffer.byteLength(data), 0);

const report = (line: string | readonly (string | number)[]): void => {
  const text =
    typeof line === 'string'
      ? line
      : line.map((cell, n) => (n === 0 ? String(cell).padEnd(34) : String(cell).padStart(16))).join(' ');
  process.stdout.write(`${text}\n`);
};

interface Searched {
  readonly store: Store;
  readonly finds: readonly Find[];
}

const searchAll = (search: Search, stores: readonly Store[]): Searched[] =>
  stores.map((store) => ({
    store,
    finds: store.pieces.flatMap(({ where, data }) => search.in(`${store.name}: ${where}`, data)),
  }));

const tell = (finds: readonly Find[]): string[] =>
  finds.map(
    ({ canary, encoding, where, around }) =>
      `${canary.place}, ${canary.kind}, as ${encoding} in ${where}: ${around}`,
  );

/** All that the submitter of these runs may read of them. */
const readableContents = async (ids: readonly string[]): Promise<string> => {
  const texts: string[] = [];
  for (const id of ids) {
    for (const path of [`/v1/runs/${id}`, `/v1/runs/${id}/steps`]) {
      texts.push(JSON.stringify((await system.api.request(path)).json));
    }
  }
  return texts.join('\n');
};

const SAID =
  /^(run: |other run: |answer \d|tool result of|url of|tool (body|query|header)|expression|arguments|its arguments)/;

const tellAll = async () => {
  const stories = await tellStories(world, AGENT);
  const runs = [
    ...stories,
    ...(await failProviders(world)),
    ...(await breakStreams(world)),
    ...(await quoteContents(world)),
    ...(await quoteKeys(world)),
  ];
  await settled(system, runs);
  const [named = '', inline = '', erased = ''] = stories;
  const readable = await readableContents([named, inline]);
  runs.push(...(await forkStory(world, named)), ...(await replayStory(world, AGENT)));
  runs.push(...(await operate(world, erased)));
  await settled(system, runs);
  return { runs, readable };
};

/** An answer may name to its sender the field, the parameter or the address that it refuses. */
const NAMED_TO_THE_SENDER = /^refused: (unknown fields|parameter|path)$|^request id$/;

const isLeak = ({ canary, where }: Find): boolean =>
  !(where.startsWith(REFUSED) && NAMED_TO_THE_SENDER.test(canary.place));
const REFUSED = 'answers to refused requests';

const collect = async (): Promise<{ stores: Store[]; runs: number; readable: string; audited: string }> => {
  const traffic = await listenToRedis(system.redis.url);
  const { runs, readable } = await tellAll();
  const refused = await beRefused(world, AGENT);
  const audited = await answersTo(await auditor(world), runs);
  const metrics = await metricsPages(world);
  const stores: Store[] = [
    ...(await gather(world, traffic)),
    { name: 'answers to an auditor', pieces: audited },
    { name: REFUSED, pieces: refused },
    { name: 'metrics', pieces: metrics },
  ];
  return { stores, runs: runs.length, readable, audited: audited.map(({ data }) => data).join('\n') };
};

test('no secret, nothing personal and nothing that was said lies anywhere in clear (R13)', async () => {
  await dumpUncompressed(world);
  const { stores, runs, readable, audited } = await collect();
  const search = createSearch(plants.all);
  const searched = searchAll(search, stores);
  const leaks = searched.map(({ finds }) => finds.filter(isLeak));
  const control = { place: 'control', kind: 'agent', text: AGENT, core: Buffer.from(AGENT) };
  const controls = searchAll(createSearch([control]), stores).map(({ finds }) => finds.length);
  report(`${plants.all.length} canaries, ${search.needles} with their encodings, planted in ${runs} runs`);
  report(['store', 'pieces', 'bytes', 'hits', 'control found in']);
  for (const [n, store] of stores.entries()) {
    report([store.name, store.pieces.length, bytesOf(store), leaks[n]?.length ?? 0, controls[n] ?? 0]);
  }
  assert.deepEqual(tell(leaks.flat()), []);
  // That nothing is found says something only where something could be found.
  assert.ok(controls.every((found) => found > 0));
  const said = plants.all.filter(({ place }) => SAID.test(place));
  assert.ok(said.length > 250);
  const read = new Set(
    createSearch(said)
      .in('contents', readable)
      .map(({ canary }) => canary),
  );
  const lost = said.filter((canary) => !read.has(canary)).map(({ place, kind }) => `${place}: ${kind}`);
  assert.deepEqual(lost, [], 'who may read contents reads what was said');
  for (const token of ['[REDACTED]', '[EMAIL:', '[CARD:', '[SSN:', '[PHONE:', '[CONTENT]']) {
    assert.ok(audited.includes(token), `${token} stands where something was taken out`);
  }
});
