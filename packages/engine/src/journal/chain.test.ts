import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { type Entry, GENESIS } from '@signalbox/contracts';
import fc from 'fast-check';
import { abortRequested, isoAt, RUN_ID, submitted } from '../../test/drafts.ts';
import { journeyOf } from '../../test/simulation.ts';
import { worlds } from '../../test/world.ts';
import { appendDrafts, bodyOf, chainBreak, EMPTY_HEAD, hashOf, hashMatches, readEntry } from './chain.ts';

const context = { runId: RUN_ID, epoch: 1, ts: isoAt(0), actor: { type: 'system', id: 'w' } } as const;
const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

/** A journal of at least two entries, and a place in it. */
const places = fc.tuple(worlds, fc.nat(), fc.nat()).map(([world, at, other]) => {
  const { entries } = journeyOf(world);
  return { entries, at: at % entries.length, other: other % entries.length };
});

const forAll = (check: (place: { entries: Entry[]; at: number; other: number }) => void): void =>
  fc.assert(fc.property(places, check), { numRuns: 300 });

const entryAt = (entries: readonly Entry[], at: number): Entry => {
  const entry = entries[at];
  assert.ok(entry !== undefined);
  return entry;
};

test('what the engine writes is an unbroken chain that reads back as it was written (R5)', () => {
  fc.assert(
    fc.property(worlds, (world) => {
      const { entries, events } = journeyOf(world);
      assert.equal(chainBreak(entries), null);
      assert.deepEqual(entries.map(readEntry), events);
      assert.equal(events[0]?.prev, GENESIS);
    }),
    { numRuns: 200 },
  );
});

test('a chain can be checked from any head on', () => {
  forAll(({ entries, at }) => {
    const head = at === 0 ? EMPTY_HEAD : { seq: at, hash: hashOf(entryAt(entries, at - 1)) };
    assert.equal(chainBreak(entries.slice(at), head), null);
  });
});

test('batches and single drafts give the same entries', () => {
  const drafts = [submitted(), abortRequested(), abortRequested()];
  const batch = appendDrafts(EMPTY_HEAD, drafts, context);
  let head = EMPTY_HEAD;
  const single = drafts.flatMap((draft) => {
    const appended = appendDrafts(head, [draft], context);
    head = appended.head;
    return appended.entries;
  });
  assert.deepEqual(single, batch.entries);
  assert.deepEqual(head, batch.head);
});

test('a hash is SHA-256 of the exact body', () => {
  forAll(({ entries, at }) => {
    const entry = entryAt(entries, at);
    assert.equal(hashOf(entry), sha256(bodyOf(entry)));
    assert.ok(hashMatches(entry));
  });
});

const anyText = fc.string({
  unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
});

test('NUL, lone surrogates and anything else in a text survive hashing and reading', () => {
  fc.assert(
    fc.property(anyText, (reason) => {
      const data = { requested_at: isoAt(0), by: 'u', reason };
      const { entries, events } = appendDrafts(EMPTY_HEAD, [{ type: 'run.abort_requested', data }], context);
      // As it travels: UTF-8 bytes.
      const moved = entries.map((entry) => Buffer.from(entry, 'utf8').toString('utf8'));
      assert.equal(chainBreak(moved), null);
      assert.deepEqual(moved.map(readEntry), events);
    }),
  );
});

test('any single changed character is found where it is', () => {
  fc.assert(
    fc.property(places, fc.nat(), fc.integer({ min: 0x20, max: 0x7e }), ({ entries, at }, nat, code) => {
      const entry = entryAt(entries, at);
      const position = nat % entry.length;
      const changed = String.fromCharCode(code);
      fc.pre(entry[position] !== changed);
      const tampered = entry.slice(0, position) + changed + entry.slice(position + 1);
      assert.equal(chainBreak(entries.with(at, tampered))?.seq, at + 1);
    }),
    { numRuns: 1000 },
  );
});

test('a dropped entry is found at its place; a dropped end needs the head to compare with', () => {
  forAll(({ entries, at }) => {
    const found = chainBreak(entries.toSpliced(at, 1));
    assert.equal(found?.seq ?? null, at === entries.length - 1 ? null : at + 1);
  });
});

test('two swapped entries are found at the first', () => {
  forAll(({ entries, at, other }) => {
    fc.pre(at !== other);
    const swapped = entries.with(at, entryAt(entries, other)).with(other, entryAt(entries, at));
    assert.equal(chainBreak(swapped)?.seq, Math.min(at, other) + 1);
  });
});

test('an inserted copy of an entry is found', () => {
  forAll(({ entries, at, other }) => {
    const inserted = entries.toSpliced(at, 0, entryAt(entries, other));
    // In front of itself, the copy takes the place of the original.
    assert.equal(chainBreak(inserted)?.seq, other === at ? at + 2 : at + 1);
  });
});

test('an entry rewritten together with its hash is found at the next entry', () => {
  forAll(({ entries, at }) => {
    const body = bodyOf(entryAt(entries, at)).replace(/"epoch":\d+/, '"epoch":999');
    const forged = entries.with(at, sha256(body) + body);
    assert.equal(chainBreak(forged)?.seq ?? null, at === entries.length - 1 ? null : at + 2);
  });
});

test('a last entry renumbered together with its hash is found (R5)', () => {
  forAll(({ entries }) => {
    const last = entries.length - 1;
    const body = bodyOf(entryAt(entries, last)).replace(/"seq":\d+/, '"seq":777');
    const found = chainBreak(entries.with(last, sha256(body) + body));
    assert.deepEqual(found, { seq: last + 1, why: `expected seq ${last + 1}, found 777` });
  });
});

test('entries of another run are found where they begin', () => {
  fc.assert(
    fc.property(worlds, worlds, fc.nat(), (world, otherWorld, nat) => {
      const [mine, other] = [journeyOf(world).entries, journeyOf(otherWorld).entries];
      const at = 1 + (nat % (Math.min(mine.length, other.length) - 1));
      fc.pre(mine[at - 1] !== other[at - 1]);
      const spliced = [...mine.slice(0, at), ...other.slice(at)];
      assert.equal(chainBreak(spliced)?.seq, at + 1);
    }),
    { numRuns: 200 },
  );
});

const NO_EVENT: readonly [string, string][] = [
  ['no JSON', 'not json'],
  ['JSON of something else', '{"hello":1}'],
  ['an event of an unknown type', '{"seq":1,"type":"run.exploded"}'],
];

for (const [what, body] of NO_EVENT) {
  test(`an authentic body that is ${what} is a break, not an exception`, () => {
    assert.deepEqual(chainBreak([sha256(body) + body]), { seq: 1, why: 'the body is no event' });
  });
}

test('an empty or short entry is a break', () => {
  assert.equal(chainBreak([''])?.seq, 1);
  assert.equal(chainBreak(['abc'])?.seq, 1);
  assert.equal(chainBreak([]), null);
});
