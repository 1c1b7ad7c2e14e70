import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { METRICS } from './contract-environment.ts';
import { isInstalled, readYaml, run } from './files.ts';

const RULES = 'deploy/prometheus/signalbox.rules.yaml';
const TESTS = 'deploy/prometheus/signalbox.rules.test.yaml';

interface Rule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly labels?: { readonly severity?: string };
  readonly annotations?: { readonly summary?: string; readonly description?: string };
}
const { groups } = readYaml(RULES) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const alerts = rules.filter((rule) => rule.alert !== undefined);

describe('the Prometheus rules', () => {
  test('name only metrics of the contract and recorded ones', () => {
    const recorded = new Set(rules.flatMap(({ record }) => record ?? []));
    for (const { expr } of rules) {
      for (const [name] of expr.matchAll(/\bsignalbox_\w+/g)) {
        const metric = name.slice('signalbox_'.length);
        const known = METRICS.has(metric) || METRICS.has(metric.replace(/_(bucket|sum|count)$/, ''));
        assert.ok(known, `${name} in ${expr}`);
      }
      for (const [name] of expr.matchAll(/\bsignalbox:[\w:]+/g))
        assert.ok(recorded.has(name), `${name} in ${expr}`);
    }
  });

  test('every alert says how urgent it is, what happened and what to do', () => {
    for (const { alert, labels, annotations } of alerts) {
      assert.match(labels?.severity ?? '', /^(page|ticket)$/, alert);
      assert.ok(annotations?.summary && annotations.description, alert);
    }
  });

  test('every alert is shown to fire', () => {
    const fired = JSON.stringify(readYaml(TESTS));
    for (const { alert } of alerts)
      assert.ok(fired.includes(`alertname=\\"${alert}\\"`), `no test for ${alert}`);
  });

  test('promtool accepts them and their tests pass', (t) => {
    if (!isInstalled('promtool')) return t.skip('no promtool on the PATH');
    assert.match(run('promtool', ['check', 'rules', RULES]), /SUCCESS/);
    assert.match(run('promtool', ['test', 'rules', TESTS]), /SUCCESS/);
  });
});
