/** What of an administration event is taken out, and what no secret can change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AdminEventDraft, type AdminFact, newId } from '@signalbox/contracts';
import { createRedactor } from '@signalbox/engine';
import { redactFact } from '../src/audit/redact-fact.ts';

const RUN = newId('run');
const NAME = 'somebody wrote this';
const GONE = '[REDACTED]';

/** Each with what is left of it when every text that it holds is a secret. */
const FACTS: readonly [AdminFact, object][] = [
  [
    {
      type: 'key.created',
      data: { key_id: 'key_0123', name: NAME, scopes: ['runs:read'], expires_at: null },
    },
    { name: GONE },
  ],
  [{ type: 'key.revoked', data: { key_id: 'key_0123', name: NAME } }, { name: GONE }],
  [{ type: 'agent.changed', data: { name: NAME, version: 1, spec_digest: 'sha256:0' } }, { name: GONE }],
  [
    {
      type: 'caps.changed',
      data: { user_id: NAME, before: null, after: { time_zone: 'Europe/Berlin', run_usd: 1 } },
    },
    { user_id: GONE },
  ],
  [
    { type: 'provider_key.changed', data: { provider: 'anthropic', change: 'removed', key_id: 'pk_012' } },
    {},
  ],
  [{ type: 'provider_key.pinged', data: { provider: 'anthropic', source: 'vault', key_id: null } }, {}],
  [{ type: 'content.read', data: { run_id: RUN, by: 'stream' } }, {}],
  [{ type: 'content.erased', data: { run_id: RUN, reason: NAME } }, { reason: GONE }],
  [{ type: 'legal_hold.changed', data: { run_id: RUN, held: true, reason: null } }, {}],
  [{ type: 'audit.exported', data: { run_id: NAME, from: null, to: null } }, { run_id: GONE }],
  [
    { type: 'runs.aborted', data: { filter: { session_id: NAME, all: true }, matched: 2, reason: NAME } },
    { filter: { session_id: GONE, all: true }, reason: GONE },
  ],
  [
    {
      type: 'auth.refused',
      data: { reason: 'missing_scope', source: 'key_0123', route: 'POST /v1/keys', count: 1, since: 'today' },
    },
    {},
  ],
];

/** Names of fields too. */
const textsOf = (value: unknown): string[] => {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [name, ...textsOf(inner)]);
};

for (const [fact, changed] of FACTS) {
  test(`${fact.type}: what was written goes, what is ours stays, and it can be recorded`, () => {
    const data = redactFact(createRedactor({ secrets: textsOf(fact.data) }), fact);
    assert.deepEqual(data, { ...fact.data, ...changed });
    const by = { tenant_id: 'acme', ts: new Date(0).toISOString(), actor: { type: 'operator', id: 'key_1' } };
    AdminEventDraft.parse({ event_id: newId('evt'), ...by, type: fact.type, data });
  });
}

test('of a type that is not known every text is redacted', () => {
  const data = { key_id: `sk-ant-api03-${'k'.repeat(40)}` };
  assert.deepEqual(redactFact(createRedactor(), { type: 'not.known', data }), { key_id: GONE });
});

test('what has the form of a secret or names a person goes too, within a filter as well (R13)', () => {
  const [key, mail] = [`sk-ant-api03-${'k'.repeat(40)}`, 'ada@example.com'];
  const filter = { user_id: mail, agent: 'helper', tags: [key, { token: 'x' }] };
  const data = redactFact(createRedactor(), {
    type: 'runs.aborted',
    data: { filter, matched: 1, reason: `${mail} said ${key}` },
  });
  assert.deepEqual(data, {
    filter: { user_id: '[EMAIL]', agent: 'helper', tags: [GONE, { token: GONE }] },
    matched: 1,
    reason: `[EMAIL] said ${GONE}`,
  });
});
