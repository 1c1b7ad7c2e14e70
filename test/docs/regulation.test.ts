/** The map from fields and functions to laws and standards: what it names exists, and nothing that is recorded lacks. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ADMIN_EVENT_TYPES, EVENT_TYPES } from '@signalbox/contracts';
import { SCOPES } from '../../services/api/src/http/scopes.ts';
import { ENVELOPE, isKnown } from './known-names.ts';
import { namesIn, readPage, rowsOf, type Section } from './page.ts';

const PAGE = 'packages/contracts/docs/regulation.md';
const page = readPage(PAGE);
const section = (title: string): Section =>
  page.find((part) => part.title === title) ?? assert.fail(`no section ${title}`);
const mapped = (title: string): string[] =>
  rowsOf(section(title).text).flatMap(([names = '']) => namesIn(names));

/** How a cell of each column is written; a dash: it serves nothing there. */
const REFERENCES = {
  2: /^(12|14|19|26|73)(\(\d\))?(\([a-e]\))?$/,
  3: /^A\.\d{1,2}\.\d(\.\d)?$/,
  4: /^(MEASURE |MANAGE )?\d\.\d{1,2}$/,
};

describe('the map to laws and standards', () => {
  test('names only what there is', () => {
    const names = page.flatMap(({ text }) => namesIn(text));
    assert.ok(names.length > 50);
    assert.deepEqual(
      names.filter((name) => !isKnown(name)),
      [],
    );
  });

  test('has each field of an event, each type once, and each function of the audit log', () => {
    const fields = new Set(mapped('Fields'));
    assert.deepEqual(
      ENVELOPE.filter((name) => !fields.has(name)),
      [],
    );
    assert.deepEqual(mapped('Events').toSorted(), [...EVENT_TYPES, ...ADMIN_EVENT_TYPES].toSorted());
    const functions = new Set(mapped('Functions'));
    const ofAudit = Object.keys(SCOPES).filter((route) => SCOPES[route] === 'audit:read');
    assert.ok(ofAudit.length > 0);
    assert.deepEqual(
      ofAudit.filter((route) => !functions.has(route)),
      [],
    );
  });

  test('every row refers to an article, a control and an outcome as they are numbered', () => {
    const rows = ['Fields', 'Events', 'Functions'].flatMap((title) => rowsOf(section(title).text));
    for (const row of rows) {
      assert.equal(row.length, 5, row.join(' | '));
      for (const [column, pattern] of Object.entries(REFERENCES)) {
        const cell = row[Number(column)] ?? '';
        if (cell === '-') continue;
        for (const reference of cell.split(', ')) assert.match(reference, pattern, row.join(' | '));
      }
    }
    const articles = new Set(rows.flatMap((row) => row[2]?.match(/\b\d\d\b/g) ?? []));
    assert.deepEqual([...articles].toSorted(), ['12', '14', '19', '26', '73']);
  });

  test('what it links to is there', () => {
    const text = page.map((part) => part.text).join('');
    for (const [, anchor = ''] of text.matchAll(/\]\(audit-log\.md#([\w-]+)\)/g)) {
      const titles = readPage('packages/contracts/docs/audit-log.md').map(({ title }) =>
        title.toLowerCase().replaceAll(' ', '-'),
      );
      assert.ok(titles.includes(anchor), anchor);
    }
  });
});
