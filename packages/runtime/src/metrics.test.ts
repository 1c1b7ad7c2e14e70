import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { systemClock } from './clock.ts';
import { ManualClock } from './manual-clock.ts';
import { createMetrics } from './metrics.ts';

/** The value of one sample, or undefined when the scrape does not hold it. */
function sample(text: string, name: string): number | undefined {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}

test('counters, gauges and histograms are rendered under the prefix, the process metrics without it', async () => {
  const metrics = createMetrics({ prefix: 'app_' });
  const plain = metrics.counter({ name: 'plain_total', help: 'h' });
  plain.inc();
  plain.inc(2);
  metrics.counter({ name: 'by_kind_total', help: 'h', labels: ['kind'] }).inc({ kind: 'a' }, 5);
  const level = metrics.gauge({ name: 'level', help: 'h' });
  level.set(7);
  level.dec();
  metrics
    .histogram({ name: 'took_seconds', help: 'h', labels: ['op'], buckets: [1, 2] })
    .observe({ op: 'x' }, 1.5);

  const text = await metrics.render();
  assert.equal(sample(text, 'app_plain_total'), 3);
  assert.equal(sample(text, 'app_by_kind_total{kind="a"}'), 5);
  assert.equal(sample(text, 'app_level'), 6);
  assert.equal(sample(text, 'app_took_seconds_bucket{le="1",op="x"}'), 0);
  assert.equal(sample(text, 'app_took_seconds_bucket{le="2",op="x"}'), 1);
  assert.ok((sample(text, 'process_resident_memory_bytes') ?? 0) > 0);
  assert.match(metrics.contentType, /^text\/plain/);
});

test('two sets of metrics in one process do not meet', async () => {
  const [one, two] = [createMetrics({ prefix: 'app_' }), createMetrics({ prefix: 'app_' })];
  one.counter({ name: 'same_total', help: 'h' }).inc();
  two.counter({ name: 'same_total', help: 'h' });
  assert.equal(sample(await two.render(), 'app_same_total'), 0);
});

test('a collected gauge is read at each scrape; one that fails is left out and counted', async () => {
  const metrics = createMetrics({ prefix: 'app_' });
  let depth = 1;
  let broken = false;
  const collected = async () => {
    if (broken) throw new Error('store unreachable');
    return depth;
  };
  metrics.gauge({ name: 'depth', help: 'h', collect: async (gauge) => gauge.set(await collected()) });
  metrics.gauge({
    name: 'depth_by',
    help: 'h',
    labels: ['state'],
    collect: async (gauge) => gauge.set({ state: 'x' }, await collected()),
  });
  assert.equal(sample(await metrics.render(), 'app_depth'), 1);
  depth = 2;
  const text = await metrics.render();
  assert.equal(sample(text, 'app_depth'), 2);
  assert.equal(sample(text, 'app_depth_by{state="x"}'), 2);

  broken = true;
  const failing = await metrics.render();
  assert.equal(sample(failing, 'app_depth'), undefined);
  assert.equal(sample(failing, 'app_depth_by{state="x"}'), undefined);
  broken = false;
  const recovered = await metrics.render();
  assert.equal(sample(recovered, 'app_depth'), 2);
  assert.equal(sample(recovered, 'app_metric_collect_errors_total{metric="depth"}'), 1);
  assert.equal(sample(recovered, 'app_metric_collect_errors_total{metric="depth_by"}'), 1);
});

test('a gauge whose source hangs does not make the scrape hang', async () => {
  const clock = new ManualClock();
  const metrics = createMetrics({ prefix: 'app_', clock });
  metrics.gauge({ name: 'stuck', help: 'h', collect: () => new Promise(() => undefined) });
  const rendering = metrics.render();
  await clock.whenSleeping();
  await clock.advance(2_000);
  assert.equal(sample(await rendering, 'app_stuck'), undefined);
});

test('event_loop_lag_seconds is near zero on an idle loop and shows a blocked one', async () => {
  const metrics = createMetrics({ prefix: 'app_' });
  await systemClock.sleep(50);
  const idle = sample(await metrics.render(), 'app_event_loop_lag_seconds');
  assert.ok(idle !== undefined && idle >= 0);

  await systemClock.sleep(50); // the monitor needs one undisturbed tick after each scrape
  const until = performance.now() + 200;
  while (performance.now() < until);
  await systemClock.sleep(50);
  const blocked = sample(await metrics.render(), 'app_event_loop_lag_seconds');
  assert.ok(blocked !== undefined && blocked > 0.15, `${blocked}`);
});

test('metrics alone do not keep a process alive', () => {
  const script = `import { createMetrics } from './metrics.ts'; createMetrics({ prefix: 'a_' });`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: import.meta.dirname,
    timeout: 20_000,
  });
  assert.equal(child.status, 0);
});
