/** What providers say in the proof when they fail: each message is full of keys, people, or the prompt itself. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ALL_KINDS } from '../support/leaks/index.ts';
import { inPieces, type Scene, type World } from './secrets-world.ts';

const DONE = { text: 'done' };

/** Every status a provider fails with, its message full of keys and personal data; what may be tried again then works. */
export const failProviders = async (world: World): Promise<string[]> => {
  const { system, plants } = world;
  const ids: string[] = [];
  for (const status of [400, 401, 403, 413, 429, 500, 529]) {
    const models = { 400: 'openai/gpt-4o-mini', 500: 'openai/gpt-4o-mini' } as Readonly<
      Record<number, string>
    >;
    for (const [n, said] of inPieces(plants, `message of HTTP ${status}`).entries()) {
      let failed = false;
      const scene: Scene = () => {
        if (failed) return DONE;
        failed = true;
        return { status, text: said, headers: { 'retry-after-ms': '1' } };
      };
      const model = models[status] ?? 'anthropic/claude-haiku-4-5';
      const agent = world.agent(`http-${status}-${n}`, scene, { model });
      ids.push((await system.api.submit({ agent, input: 'go on' })).id);
    }
  }
  return ids;
};

/** The first attempt breaks in the given way; the second answers. */
const BREAKS: Readonly<Record<string, Partial<ReturnType<Scene>>>> = {
  'cut off': { breakAfterBytes: 900 },
  'stream said to be JSON': { headers: { 'content-type': 'application/json' } },
  'JSON said to be a stream': { json: true, headers: { 'content-type': 'text/event-stream' } },
  'no type at all': { headers: { 'content-type': '' } },
};

export const breakStreams = async (world: World): Promise<string[]> => {
  const { system, plants } = world;
  const ids: string[] = [];
  for (const model of ['anthropic/claude-haiku-4-5', 'openai/gpt-4o-mini']) {
    for (const [n, [way, how]] of Object.entries(BREAKS).entries()) {
      let tries = 0;
      const scene: Scene = () => (++tries > 1 ? DONE : { text: plants.text(`answer, ${way}`), ...how });
      const agent = world.agent(`broken-${n}-${model.split('/')[0]}`, scene, { model });
      ids.push((await system.api.submit({ agent, input: plants.text(`input, ${way}`) })).id);
    }
  }
  return ids;
};

/** A provider that quotes what it was sent. */
export const quoteContents = async (world: World): Promise<string[]> => {
  const { system, plants } = world;
  const ids: string[] = [];
  for (const kind of ALL_KINDS) {
    const scene: Scene = ({ messages }) => ({
      status: 400,
      text: `Invalid 'messages[0].content': '${messages.at(-1)?.content}' is not allowed here`,
    });
    const input = plants.text('input that the provider quotes', [kind]);
    const agent = world.agent(`quoted-${kind.replaceAll(' ', '-')}`, scene);
    ids.push((await system.api.submit({ agent, input })).id);
  }
  return ids;
};

/** From when on every worker calls with a key that a tenant has set. */
const KEY_IN_USE_MS = 5000;

/** Keys of no known form: a tenant's own, and that of the environment, each quoted by its provider. */
export const quoteKeys = async (world: World): Promise<string[]> => {
  const { system, plants } = world;
  const own = randomBytes(24).toString('hex');
  plants.hold('provider key of the tenant', own);
  const set = await system.api.request('/v1/providers/openai/key', { method: 'PUT', body: { key: own } });
  assert.equal(set.status, 200);
  await sleep(KEY_IN_USE_MS);
  const quoted = { openai: own, anthropic: system.env['ANTHROPIC_API_KEY'] ?? '' };
  const models = { openai: 'openai/gpt-4o-mini', anthropic: 'anthropic/claude-haiku-4-5' };
  const ids: string[] = [];
  for (const provider of ['openai', 'anthropic'] as const) {
    const scene: Scene = () => ({ status: 400, text: `The account of ${quoted[provider]} is closed` });
    const agent = world.agent(`key-quoted-${provider}`, scene, { model: models[provider] });
    ids.push((await system.api.submit({ agent, input: 'go on' })).id);
  }
  return ids;
};
