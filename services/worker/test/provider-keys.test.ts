/** Whose key a run's calls are made with, from what the mirror of the vault says at the time. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SignalboxError } from '@signalbox/contracts';
import { createKeyVault, type TenantKeys } from '@signalbox/providers';
import { HeldSecrets } from '@signalbox/engine';
import { replaceProviderKeys } from '@signalbox/run-state';
import { createKeyring, newDataKey, sha256Hex, systemClock } from '@signalbox/runtime';
import { type FakeReply, fakeProvider, HAIKU, inTurn } from './fake.ts';
import { KEYS, openWorld, type RunSeen, TENANT, type World } from './harness.ts';
import { LeapClock } from './leap-clock.ts';

const OWN = 'own-key-of-acme-number-one';
const ENV = 'sk-test-0123456789abcdefghij';

/** As the api does it: seals the key, and mirrors it. */
const setKey = async ({ partition, keyring }: World, secret: string | null): Promise<string | null> => {
  if (secret === null) {
    await replaceProviderKeys(partition, TENANT, []);
    return null;
  }
  const find = async (): Promise<Map<string, string>> => new Map();
  const secrets = new HeldSecrets([]);
  const vault = createKeyVault({ keyring, clock: systemClock, secrets, keys: {}, find });
  const { id, sealed } = vault.seal(TENANT, 'anthropic', secret);
  await replaceProviderKeys(partition, TENANT, [{ provider: 'anthropic', sealedKey: sealed }]);
  return id;
};

const keysOf = (run: RunSeen) => run.all('llm.requested').map((data) => data.provider_key);

const open = async (reply: FakeReply = { text: 'done' }) => {
  const world = await openWorld();
  const fake = await fakeProvider(() => reply);
  const worker = await world.worker({ provider: fake });
  const play = (): Promise<RunSeen> => world.play(worker, { spec: { model: HAIKU } });
  return { world, fake, worker, play };
};

test('its own while it has one, else that of the environment; each call says which', async () => {
  const { world, fake, play } = await open();
  const before = await play();
  const first = await setKey(world, OWN);
  const own = await play();
  const second = await setKey(world, `${OWN}-2`);
  const changed = await play();
  await setKey(world, null);
  const after = await play();
  assert.deepEqual(
    fake.ledger.map(({ key }) => key),
    [ENV, OWN, `${OWN}-2`, ENV].map(sha256Hex),
  );
  assert.deepEqual(
    [keysOf(own), keysOf(changed)],
    [[{ source: 'vault', id: first }], [{ source: 'vault', id: second }]],
  );
  const [ofEnv] = keysOf(before);
  assert.equal(ofEnv?.source, 'env');
  assert.match(ofEnv.id ?? '', /^pk_[0-9a-f]{16}$/);
  assert.deepEqual(keysOf(after), [ofEnv]);
});

test('a run of the mock uses none', async () => {
  const { world, worker } = await open();
  const run = await world.play(worker, { input: '{"turns":[{"text":"x"}]}' });
  assert.deepEqual([run.output, keysOf(run)], ['x', [undefined]]);
});

test('a provider that repeats the key in its answer brings it into no event and no log', async () => {
  const { world, play } = await open({ status: 400, text: `the key ${OWN} is odd, ${ENV} too` });
  await setKey(world, OWN);
  const run = await play();
  assert.equal(run.state.error?.code, 'provider_error');
  assert.match(run.state.error?.message ?? '', /the key \[REDACTED\] is odd/);
  const seen = JSON.stringify([run.events, world.logs]);
  for (const secret of [OWN, ENV]) assert.ok(!seen.includes(secret), seen);
});

test('a key that is damaged ends the run as refused, and the other key is not touched', async () => {
  const { world, fake, play } = await open();
  await replaceProviderKeys(world.partition, TENANT, [{ provider: 'anthropic', sealedKey: 'k1.AAAA' }]);
  const run = await play();
  assert.deepEqual([run.state.error?.code, run.state.observedNano], ['provider_auth', 0]);
  assert.match(run.state.error?.message ?? '', /ENCRYPTION_KEYS/);
  assert.deepEqual([keysOf(run), fake.ledger], [[{ source: 'vault', id: null }], []]);
});

describe('a key that was sealed under one that this worker lacks, while ENCRYPTION_KEYS are replaced', () => {
  const ROTATED = [{ id: 'k2', key: newDataKey() }, ...KEYS];

  test('the run goes to a worker that has it, without time of its own being spent', async () => {
    const { world, fake } = await open();
    await setKey({ ...world, keyring: createKeyring(ROTATED) }, OWN);
    const clock = new LeapClock();
    const lacking = await world.worker({ provider: fake, clock });
    const runId = await world.submit({ spec: { model: HAIKU }, limits: { timeout_seconds: 30 } });
    for (let claim = 1; claim <= 10; claim += 1) {
      for (const one of world.pending.splice(0)) await lacking.work(one);
    }
    assert.deepEqual([await world.field(runId, 'status'), lacking.opens.isUnfit], ['queued', false]);
    assert.ok(clock.slept.reduce((sum, ms) => sum + ms) > 30_000);
    await world.settle(await world.worker({ provider: fake, keyring: createKeyring(ROTATED) }));
    const run = await world.read(runId);
    assert.deepEqual([run.output, run.broken, run.all('run.claimed').length], ['done', null, 1]);
    assert.deepEqual(
      fake.ledger.map(({ key }) => key),
      [sha256Hex(OWN)],
    );
  });

  test('also in the middle of a run, with what was done already', async () => {
    const world = await openWorld();
    const answers = inTurn(
      async () => {
        await setKey({ ...world, keyring: createKeyring(ROTATED) }, OWN);
        return { toolCalls: [{ id: 'call_1', name: 'calculator', arguments: '{"expression":"6 * 7"}' }] };
      },
      { text: 'done' },
    );
    const provider = await fakeProvider(answers.behave);
    const lacking = await world.worker({ provider, clock: new LeapClock() });
    const runId = await world.submit({ spec: { model: HAIKU, tools: ['calculator'] } });
    for (let claim = 1; claim <= 10; claim += 1) {
      for (const one of world.pending.splice(0)) await lacking.work(one);
    }
    assert.equal(await world.field(runId, 'status'), 'queued');
    await world.settle(await world.worker({ provider, keyring: createKeyring(ROTATED) }));
    const run = await world.read(runId);
    assert.deepEqual([run.output, run.broken, run.all('tool.completed').length], ['done', null, 1]);
    assert.deepEqual(
      provider.ledger.map(({ key }) => key),
      [ENV, OWN].map(sha256Hex),
    );
  });
});

test('while run state is away or being verified a call waits rather than be charged to another', async () => {
  const world = await openWorld();
  const fake = await fakeProvider(() => ({ text: 'done' }));
  const failures = ['state_unavailable', 'state_untrusted', 'state_untrusted'] as const;
  const left = [...failures];
  const own = new Map([['anthropic', { source: 'vault', id: 'pk_1', secret: OWN } as const]]);
  const keysNow = async (): Promise<TenantKeys> => {
    const code = left.shift();
    return code === undefined ? own : Promise.reject(new SignalboxError(code, 'not now'));
  };
  const worker = await world.worker({ provider: fake, keysOf: keysNow });
  const run = await world.play(worker, { spec: { model: HAIKU } });
  assert.deepEqual([run.output, left.length], ['done', 0]);
  assert.deepEqual(
    fake.ledger.map(({ key }) => key),
    [sha256Hex(OWN)],
  );
});
