/** The harness from end to end on a handful of runs, so that it cannot rot. How fast anything is, no test says. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { temporaryDir } from '@signalbox/local';
import { profileTop } from './cpu-profile.ts';
import { cpuSeconds } from './process-tree.ts';
import { toJson, toMarkdown } from './report.ts';
import { runBench } from './run-bench.ts';
import { spreadOf } from './statistics.ts';
import { WORKS } from './works.ts';

const RUNS = 40;
const linux = { skip: process.platform === 'linux' ? false : 'reads /proc' };

describe('the figures', () => {
  test('a spread is the median and both ends', () => {
    assert.deepEqual(spreadOf([9, 1, 4]), { median: 4, least: 1, most: 9 });
    assert.deepEqual(spreadOf([8, 2, 4, 6]), { median: 5, least: 2, most: 8 });
    assert.throws(() => spreadOf([]), /at least one/);
  });

  test('a profile: self time, time with what is called, recursion once, idle not at all', () => {
    const frame = (functionName: string, url = '') => ({ functionName, url, lineNumber: 6 });
    const nodes = [
      { id: 1, callFrame: frame('(root)'), children: [2, 5] },
      { id: 2, callFrame: frame('walk', 'file:///r/packages/engine/src/fold.ts'), children: [3] },
      { id: 3, callFrame: frame('walk', 'file:///r/packages/engine/src/fold.ts'), children: [4] },
      { id: 4, callFrame: frame('', 'file:///r/node_modules/.pnpm/a@1/node_modules/a/b.js') },
      { id: 5, callFrame: frame('(idle)') },
    ];
    const profile = { nodes, startTime: 100, samples: [2, 3, 4, 5], timeDeltas: [1000, 2000, 1000, 9000] };
    const { busyMs, self, total } = profileTop(profile, 2);
    assert.equal(busyMs, 4);
    assert.deepEqual(self, [
      { name: 'walk packages/engine/src/fold.ts:7', ms: 3, share: 0.75 },
      { name: '(anonymous) a/b.js:7', ms: 1, share: 0.25 },
    ]);
    assert.equal(total[0]?.ms, 4);
    assert.equal(profileTop(profile, 2, { from: 1101, to: 3100 }).busyMs, 2);
  });

  test('processor time that this process used is counted', linux, () => {
    const group = { name: 'this', roots: [process.pid], alone: true };
    const before = cpuSeconds(group);
    const until = process.cpuUsage().user + 60_000;
    while (process.cpuUsage().user < until);
    assert.ok(cpuSeconds(group) > before);
  });
});

test(`W5 with ${RUNS} runs: every subject does it, with profiles and a report`, linux, async () => {
  // The neighbours are not installed for tests.
  const trials = (WORKS.find(({ name }) => name === 'W5')?.trials ?? []).filter(({ subject }) =>
    /Signalbox|BullMQ/.test(subject),
  );
  assert.equal(trials.length, 3);
  const measured = await runBench({
    trials,
    repetitions: 1,
    dir: join(await temporaryDir(), 'bench'),
    context: { until: { runs: RUNS }, appendfsync: 'everysec', profile: true },
    onFailure: ({ subject }, error) => {
      throw new Error(subject, { cause: error });
    },
    onSample: () => undefined,
  });
  for (const { trial, samples } of measured) {
    const { figures = {}, cpuParts } = samples[0] ?? {};
    assert.equal(figures['runs'], RUNS, trial.subject);
    // Linux counts processor time in hundredths of a second: those that do least may have used none.
    const { 'CPU ms/run': cpu, ...others } = figures;
    assert.ok(
      Object.values(others).every((value) => value > 0),
      trial.subject,
    );
    assert.ok(Number(cpu) > 0 || trial.subject !== 'Signalbox', trial.subject);
    assert.ok(cpuParts !== undefined && 'redis' in cpuParts, trial.subject);
  }
  const ours = measured.find(({ trial }) => trial.subject === 'Signalbox');
  const profiles = ours?.samples[0]?.profiles ?? {};
  assert.deepEqual(Object.keys(profiles).toSorted(), ['api', 'audit-writer', 'worker']);
  assert.ok(Object.values(profiles).every(({ self, total }) => self.length > 0 && total.length > 0));

  const result = {
    circumstances: { at: 'now', machine: 'this', settings: 'few' },
    titles: new Map([['W5', 'a title']]),
    measured,
  };
  const markdown = toMarkdown(result);
  const rows = markdown.split('\n').filter((line) => /^\| \w/.test(line));
  assert.deepEqual(
    rows.map((row) => row.split('|')[1]?.trim()),
    trials.map(({ subject }) => subject),
  );
  const json = JSON.parse(toJson(result)) as { measured: { spreads: Record<string, { median: number }> }[] };
  assert.equal(json.measured[0]?.spreads['runs']?.median, RUNS);
});
