import assert from 'node:assert/strict';
import { test } from 'node:test';
import { endOfDayIn, knownZone, tenantDay } from './day.ts';

const at = (iso: string): number => Date.parse(iso);
const ends = (zone: string, iso: string): string => new Date(endOfDayIn(zone, at(iso))).toISOString();

test('a day ends at midnight of its zone, whatever the clocks do in it', () => {
  assert.equal(ends('UTC', '2026-11-21T23:59:59.999Z'), '2026-11-22T00:00:00.000Z');
  assert.equal(ends('UTC', '2026-11-21T00:00:00.000Z'), '2026-11-22T00:00:00.000Z');
  assert.equal(ends('Asia/Kathmandu', '2026-11-21T12:00:00Z'), '2026-11-21T18:15:00.000Z');
  assert.equal(ends('Europe/Berlin', '2026-03-29T00:00:00Z'), '2026-03-29T22:00:00.000Z', '23 hours');
  assert.equal(ends('Europe/Berlin', '2026-10-25T00:00:00Z'), '2026-10-25T23:00:00.000Z', '25 hours');
});

const day = (timeZone: string, iso: string, next: { timeZone: string; from: string } | null = null) => {
  const nextTimeZone = next === null ? null : { timeZone: next.timeZone, fromMs: at(next.from) };
  const { day: name, dayEndsMs, monthEndsMs } = tenantDay({ timeZone, nextTimeZone }, at(iso));
  return [name, new Date(dayEndsMs).toISOString(), new Date(monthEndsMs).toISOString()];
};

test('the month ends with its last day', () => {
  assert.deepEqual(day('America/New_York', '2026-11-01T03:59:00Z'), [
    '2026-10-31',
    '2026-11-01T04:00:00.000Z',
    '2026-11-01T04:00:00.000Z',
  ]);
  assert.deepEqual(day('UTC', '2028-02-01T00:00:00Z').slice(1), [
    '2028-02-02T00:00:00.000Z',
    '2028-03-01T00:00:00.000Z',
  ]);
});

test('a zone ahead never brings the next day before the midnight of the old zone', () => {
  const from = '2026-11-22T00:00:00Z';
  const east = { timeZone: 'Asia/Tokyo', from };
  assert.deepEqual(day('UTC', '2026-11-21T20:00:00Z', east).slice(0, 2), [
    '2026-11-21',
    '2026-11-22T00:00:00.000Z',
  ]);
  assert.equal(day('UTC', '2026-11-22T00:00:00Z', east)[0], '2026-11-22');
  // Westward the day goes on until its midnight there.
  const west = { timeZone: 'America/Los_Angeles', from };
  for (const instant of ['2026-11-21T20:00:00Z', '2026-11-22T07:59:59Z']) {
    assert.deepEqual(day('UTC', instant, west).slice(0, 2), ['2026-11-21', '2026-11-22T08:00:00.000Z']);
  }
});

test('zones are known by their names only', () => {
  assert.equal(knownZone('europe/berlin'), 'Europe/Berlin');
  for (const name of ['', '+01:00', '-08:00', 'Mars/Olympus', 'a b', 'Europe/Berlin 5']) {
    assert.equal(knownZone(name), undefined, name);
  }
});
