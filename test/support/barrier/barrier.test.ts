/** The barriers themselves: what passes is not changed, and what is stopped is stopped where it is said to be. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, describe, test } from 'node:test';
import { createPool, ping, raiseIncarnation } from '@signalbox/audit-store';
import { createTestDatabase, runToEnd, startRedis, temporaryDir } from '@signalbox/local';
import {
  connect,
  disconnect,
  openActivationQueue,
  openPartition,
  readServerId,
  wakeRun,
} from '@signalbox/run-state';
import { type Gate, through, type Verdict } from './barrier.ts';
import { type HttpStage, startHttpBarrier } from './http-barrier.ts';
import { startPostgresBarrier, type Statement } from './postgres-barrier.ts';
import { type RedisPassing, startRedisBarrier } from './redis-barrier.ts';

const quiet = { onError: () => undefined };
const redis = await startRedis({ dir: await temporaryDir() });
after(() => redis.stop());
const direct = connect(redis.url, 'state', quiet);
after(() => disconnect(direct));

const behind = async (gate: Gate<RedisPassing>) => {
  const barrier = await startRedisBarrier(redis.url, gate);
  const client = connect(through(barrier, redis.url), 'queue', quiet);
  after(async () => {
    client.disconnect();
    await barrier.close();
  });
  return { barrier, client };
};

/** Holds the first that `matches` and tells of it. */
const stopAt = <T>(matches: (passing: T, position: string) => boolean) => {
  const stopped = Promise.withResolvers<void>();
  const verdict = Promise.withResolvers<Verdict>();
  let armed = true;
  const gate: Gate<T> = (passing, position) => {
    if (!armed || !matches(passing, position)) return undefined;
    armed = false;
    stopped.resolve();
    return verdict.promise;
  };
  return { gate, stopped: stopped.promise, go: verdict.resolve };
};

describe('before Redis', () => {
  test('scripts are known by name, replies of any shape and size pass', async () => {
    const seen: string[] = [];
    const { client } = await behind(({ command, reply }) => {
      if (reply === null) seen.push(command.script ?? command.name);
      return undefined;
    });
    const long = 'ä'.repeat(300_000);
    await client.set('long', long);
    assert.equal(await client.get('long'), long);
    assert.deepEqual(await client.hgetall('nothing'), {});
    assert.deepEqual(await client.multi().set('a', '1').get('a').get('none').exec(), [
      [null, 'OK'],
      [null, '1'],
      [null, null],
    ]);
    const partition = openPartition(client);
    await client.hset(`${partition.root}:trust`, { ...(await readServerId(partition)), incarnation: 1 });
    assert.equal((await wakeRun(partition, 'run_x', 'timer')).woken, false);
    assert.equal((await wakeRun(partition, 'run_x', 'timer')).woken, false);
    assert.equal(seen.filter((name) => name === 'wake').length, 3, 'by its SHA, as text, and by its SHA');
    assert.ok(seen.includes('EXEC'));
  });

  test('before: the command was not carried out; after: it was, and its client does not know', async () => {
    for (const position of ['before', 'after'] as const) {
      const key = `at-${position}`;
      const stop = stopAt<RedisPassing>(({ command }, at) => command.words[1] === key && at === position);
      const { client, barrier } = await behind(stop.gate);
      let answered = false;
      void client
        .multi()
        .set(key, '1')
        .exec()
        .then(
          () => (answered = true),
          () => undefined,
        );
      await stop.stopped;
      assert.equal(await direct.get(key), position === 'before' ? null : '1');
      assert.equal(answered, false);
      client.disconnect();
      await barrier.close();
      stop.go('drop');
      assert.equal(await direct.get(key), position === 'before' ? null : '1');
    }
  });

  test('what waited may go on', async () => {
    const stop = stopAt<RedisPassing>(({ command }, at) => command.words[1] === 'patience' && at === 'after');
    const { client } = await behind(stop.gate);
    const answer = client.set('patience', '1');
    await stop.stopped;
    stop.go('pass');
    assert.equal(await answer, 'OK');
    assert.equal(await client.get('patience'), '1');
  });

  test('a queue works behind it', async () => {
    const { client } = await behind(() => undefined);
    const partition = openPartition(direct);
    const queue = openActivationQueue(partition, client);
    await queue.add([{ runId: 'run_q', wakeSeq: 1 }]);
    assert.equal(await direct.exists(`${partition.root}:activations:run_q_1`), 1);
    await queue.close();
  });
});

test('before Postgres: a statement that was stopped was not carried out, or was', async () => {
  const dir = await temporaryDir();
  const url = await createTestDatabase(`barrier_${randomUUID().replaceAll('-', '')}`);
  const migrate = { name: 'migrate', entry: 'packages/audit-store/src/migrate.ts', logDir: dir };
  await runToEnd({ ...migrate, env: { ...process.env, DATABASE_URL: url } });
  const pool = createPool({ databaseUrl: url, role: 'scheduler', ...quiet });
  after(() => pool.destroy());
  const isInsert = ({ sql }: Statement): boolean => /insert into "?incarnations/.test(sql);
  // Each raise answers how many came before it.
  for (const [position, next] of [
    ['before', 0],
    ['after', 2],
  ] as const) {
    const stop = stopAt<Statement>((statement, at) => isInsert(statement) && at === position);
    const barrier = await startPostgresBarrier(url, stop.gate);
    const client = createPool({ databaseUrl: through(barrier, url), role: 'scheduler', ...quiet });
    await ping(client);
    const raising = raiseIncarnation(client, 0).then(
      () => 'done',
      () => 'lost',
    );
    await stop.stopped;
    await barrier.close();
    stop.go('drop');
    assert.equal(await raising, 'lost');
    assert.equal(await raiseIncarnation(pool, 0), next);
    await client.destroy();
  }
});

test('before an HTTP server: a request, its answer, and the middle of it', async () => {
  let got = 0;
  const server = createServer((req, res) => {
    got += 1;
    req.resume();
    res.end('0123456789');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => server.close());
  const stages: HttpStage[] = [];
  let stopAtStage: HttpStage | null = null;
  const barrier = await startHttpBarrier(
    `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    (_, stage) => {
      stages.push(stage);
      return stage === stopAtStage ? Promise.resolve('drop') : undefined;
    },
  );
  after(() => barrier.close());
  const ask = async (): Promise<string> => {
    const response = await fetch(`${barrier.url}/x`, { method: 'POST', body: 'b' });
    return await response.text();
  };
  assert.equal(await ask(), '0123456789');
  assert.deepEqual(stages, ['request', 'answer', 'stream']);
  for (const [stage, requests] of [
    ['request', 1],
    ['answer', 2],
    ['stream', 3],
  ] as const) {
    stopAtStage = stage;
    await assert.rejects(ask());
    assert.equal(got, requests);
  }
});
