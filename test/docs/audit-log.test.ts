/** The page on the audit log says what the code does: its names exist, its lists are whole, its examples parse. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  ADMIN_EVENT_TYPES,
  AdminEvent,
  CATEGORIES,
  type Category,
  categoryOf,
  Event,
  EVENT_TYPES,
  type EventType,
} from '@signalbox/contracts';
import { AuditEvent } from '../../services/api/src/audit/audit-query.ts';
import { list, readText } from '../deploy/files.ts';
import { ENVELOPE, isKnown } from './known-names.ts';
import { namesIn, readPage, rowsOf, type Section } from './page.ts';

const page = readPage('packages/contracts/docs/audit-log.md');
const section = (title: string): Section =>
  page.find((part) => part.title === title) ?? assert.fail(`no section ${title}`);

const RUN_TYPES: ReadonlySet<string> = new Set(EVENT_TYPES);
const TYPES: readonly string[] = [...EVENT_TYPES, ...ADMIN_EVENT_TYPES];
const classOf = (type: string): Category => (RUN_TYPES.has(type) ? categoryOf(type as EventType) : 'admin');

const [whole] = section('An event').examples;
const { event_id, category, ...envelope } = AuditEvent.strict().parse(whole);

/** Throws for what is no event, once it has its envelope. */
const parseExample = (example: { readonly type: string }): void => {
  if (RUN_TYPES.has(example.type)) return void Event.parse({ ...envelope, ...example });
  const place = { event_id: `evt_${'0'.repeat(32)}`, tenant_id: 'default', epoch: 0 };
  AdminEvent.parse({ ...envelope, ...place, ...example });
};

/** What makes events; tests and what only reads them do not count. */
const WRITERS = list('{services,packages}/*/src/**/*.ts')
  .filter((path) => !path.startsWith('packages/contracts/') && !path.endsWith('.test.ts'))
  .map(readText)
  .join('\n');
const isWritten = (type: string): boolean => WRITERS.includes(`type: '${type}'`);

describe('the page on the audit log', () => {
  test('names only what there is', () => {
    const names = page.flatMap(({ text }) => namesIn(text));
    assert.ok(names.length > 50);
    assert.deepEqual(
      names.filter((name) => !isKnown(name)),
      [],
    );
  });

  test('shows a whole event, and says what each field of it is', () => {
    assert.equal(category, categoryOf(Event.parse(envelope).type));
    assert.equal(event_id, `${envelope.run_id}.${envelope.seq}`);
    const described = rowsOf(section('An event').text).flatMap(([fields = '']) => namesIn(fields));
    assert.deepEqual(described.toSorted(), ENVELOPE.toSorted());
  });

  test('has a section for each category, which names its types and shows one of them', () => {
    const titles = page.filter(({ level }) => level === 3).map(({ title }) => title);
    assert.deepEqual(titles.toSorted(), [...CATEGORIES, 'Not written yet'].toSorted());
    for (const name of CATEGORIES) {
      const { text, examples } = section(name);
      const named = new Set(namesIn(text));
      const types = TYPES.filter((type) => classOf(type) === name);
      assert.deepEqual(
        types.filter((type) => !named.has(type)),
        [],
        name,
      );
      assert.ok(examples.length > 0, name);
      for (const example of examples as { type: string }[]) {
        assert.equal(classOf(example.type), name);
        parseExample(example);
      }
    }
  });

  test('an example that is no event is found out', () => {
    assert.throws(() => parseExample({ type: 'handoff' }));
    assert.throws(() => parseExample({ type: 'key.lost' }));
  });

  test('claims no type that nothing writes', () => {
    const admitted = new Set(namesIn(section('Not written yet').text));
    assert.deepEqual(
      TYPES.filter((type) => !isWritten(type) && !admitted.has(type)),
      [],
    );
  });
});
