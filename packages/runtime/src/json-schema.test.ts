import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createJsonSchemas, type JsonSchemas } from './json-schema.ts';

const schemas = createJsonSchemas();
after(() => schemas.close());

const verdict = async (schema: unknown, text: string): Promise<string> =>
  (await schemas.judge('me', { schema: JSON.stringify(schema), text })).type;

const NAMED = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] };

describe('a schema', () => {
  test('fits or does not; what is no JSON fits nothing', async () => {
    assert.equal(await verdict(NAMED, '{"name":"a"}'), 'fits');
    assert.equal(await verdict(NAMED, '{"name":1}'), 'misfits');
    assert.equal(await verdict(NAMED, 'name: a'), 'misfits');
    assert.equal(await verdict({}, 'null'), 'fits');
  });

  test('is read in the dialect it names', async () => {
    const tuple = { type: 'array', items: [{ type: 'string' }, { type: 'number' }] };
    for (const $schema of [
      'http://json-schema.org/draft-07/schema#',
      'https://json-schema.org/draft/2019-09/schema',
    ]) {
      assert.equal(await verdict({ $schema, ...tuple }, '["a",1]'), 'fits');
      assert.equal(await verdict({ $schema, ...tuple }, '[1,"a"]'), 'misfits');
    }
    const latest = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      prefixItems: [{ type: 'string' }],
    };
    assert.equal(await verdict(latest, '[1]'), 'misfits');
  });

  test('that is none says why', async () => {
    for (const schema of [
      { type: 'strin' },
      { $ref: '#/nope' },
      { $ref: 'http://elsewhere.example/schema' },
      { properties: { a: { type: 'string', pattern: '(' } } },
      { properties: null },
      { required: 'a' },
      { minItems: -1 },
      { $async: true, type: 'object' },
      { $schema: 'http://json-schema.org/draft-04/schema#' },
    ]) {
      const answer = await schemas.judge('me', { schema: JSON.stringify(schema), text: 'null' });
      assert.equal(answer.type, 'unusable', JSON.stringify(schema));
      assert.ok(answer.type === 'unusable' && answer.why.length > 10);
    }
  });
});

/** Enough for a schema of ours, however busy the machine is. */
const LIMIT_MS = 1000;

const BACKTRACKING = { type: 'string', pattern: '^(a+)+$' };
const ENDLESS = JSON.stringify(`${'a'.repeat(40)}!`);

/** Each level holds the next one twice. */
const multiplying = (levels: number): unknown => ({
  $ref: '#/$defs/a0',
  $defs: Object.fromEntries(
    Array.from({ length: levels }, (_, n) => {
      const next = n + 1 === levels ? { not: {} } : { $ref: `#/$defs/a${n + 1}` };
      return [`a${n}`, { anyOf: [next, next] }];
    }),
  ),
});

test('a process that stands still for longer than an answer may take condemns no schema', async () => {
  const impatient = createJsonSchemas({ limitMs: 100 });
  after(() => impatient.close());
  const ask = (title: string) =>
    impatient.judge('me', { schema: JSON.stringify({ ...NAMED, title }), text: '{"name":"a"}' });
  await ask('the thread is there');
  const asked = ask('meanwhile');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
  assert.equal((await asked).type, 'fits');
});

describe('what takes for ever', () => {
  test('is given up, and holds up neither this thread nor the next question', async () => {
    const impatient = createJsonSchemas({ limitMs: LIMIT_MS });
    after(() => impatient.close());
    let turns = 0;
    const ticking = setInterval(() => (turns += 1), 5);
    for (const [schema, text] of [
      [BACKTRACKING, ENDLESS],
      [multiplying(60), '1'],
    ] as const) {
      const asked = impatient.judge('me', { schema: JSON.stringify(schema), text });
      const next = impatient.judge('me', { schema: JSON.stringify(NAMED), text: '{"name":"a"}' });
      assert.equal((await asked).type, 'too_slow');
      assert.equal((await next).type, 'fits');
    }
    clearInterval(ticking);
    assert.ok(turns > 10, `the event loop had ${turns} turns`);
  });

  test('keeps others waiting for one question and no more', async () => {
    const impatient = createJsonSchemas({ limitMs: LIMIT_MS });
    after(() => impatient.close());
    const told: string[] = [];
    const slow = Array.from({ length: 2 }, (_, n) =>
      impatient
        .judge('busy', { schema: JSON.stringify({ ...BACKTRACKING, title: `${n}` }), text: ENDLESS })
        .then(({ type }) => told.push(type)),
    );
    const mine = impatient
      .judge('other', { schema: JSON.stringify(NAMED), text: '{"name":"a"}' })
      .then(({ type }) => told.push(type));
    await Promise.all([...slow, mine]);
    assert.deepEqual(told, ['too_slow', 'fits', 'too_slow']);
  });

  test('is not tried again, whatever the text', async () => {
    const impatient = createJsonSchemas({ limitMs: LIMIT_MS });
    after(() => impatient.close());
    const schema = JSON.stringify(BACKTRACKING);
    assert.equal((await impatient.judge('me', { schema, text: ENDLESS })).type, 'too_slow');
    assert.equal((await impatient.judge('me', { schema, text: '"aaa"' })).type, 'too_slow');
  });
});

const waitUntil = async (holds: () => boolean): Promise<void> => {
  for (let looks = 0; !holds(); looks += 1) {
    assert.ok(looks < 3000, 'it did not come about within 30 s');
    await sleep(10);
  }
};

const linux = { skip: process.platform === 'linux' ? false : 'reads /proc' };

describe('the process it is done in', linux, () => {
  const children = (pid = process.pid): number[] =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  const madeBy = async (schemas: JsonSchemas): Promise<number> => {
    const before = new Set(children());
    await schemas.judge('me', { schema: '{}', text: '1' });
    const [pid = 0, ...others] = children().filter((child) => !before.has(child));
    assert.ok(pid > 0 && others.length === 0);
    return pid;
  };
  const isThere = (pid: number): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };

  test('may be killed by somebody else: what it was asked is asked again', async () => {
    const mortal = createJsonSchemas({ limitMs: 60_000 });
    after(() => mortal.close());
    const pid = await madeBy(mortal);
    const asked = mortal.judge('me', { schema: JSON.stringify(NAMED), text: '{"name":"a"}' });
    process.kill(pid, 'SIGKILL');
    assert.equal((await asked).type, 'fits');
  });

  /** Beyond what it takes to start. */
  const computes = (pid: number): boolean => {
    const [, times = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ');
    return Number(times.split(' ')[11]) > 100;
  };

  test('may die twice: what it was asked is condemned, and the next question makes another', async () => {
    const mortal = createJsonSchemas({ limitMs: 60_000 });
    after(() => mortal.close());
    const others = new Set(children());
    const schema = JSON.stringify(BACKTRACKING);
    const asked = mortal.judge('me', { schema, text: ENDLESS });
    for (const _ of [1, 2]) {
      await waitUntil(() => children().some((pid) => !others.has(pid) && computes(pid)));
      const [pid = 0] = children().filter((child) => !others.has(child));
      process.kill(pid, 'SIGKILL');
      others.add(pid);
    }
    assert.equal((await asked).type, 'too_slow');
    assert.equal((await mortal.judge('me', { schema, text: '"aaa"' })).type, 'too_slow');
    const next = await madeBy(mortal);
    process.kill(next, 'SIGKILL');
    await waitUntil(() => !isThere(next));
    await madeBy(mortal);
  });

  test('hears not of what a whole group is told, knows no secret, and ends when it is closed', async () => {
    const own = createJsonSchemas();
    const pid = await madeBy(own);
    process.kill(pid, 'SIGTERM');
    process.kill(pid, 'SIGINT');
    assert.equal((await own.judge('me', { schema: '{"type":"string"}', text: '1' })).type, 'misfits');
    assert.ok(isThere(pid));
    const told = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);
    assert.deepEqual(
      told.filter((one) => !one.startsWith('NODE_CHANNEL_')),
      [],
    );
    await own.close();
    assert.ok(!isThere(pid));
  });

  test('keeps no process from ending, and ends with it', async () => {
    const script = `
      import { createJsonSchemas } from ${JSON.stringify(new URL('./json-schema.ts', import.meta.url).href)};
      import { readFileSync } from 'node:fs';
      await createJsonSchemas().judge('me', { schema: '{}', text: '1' });
      console.log(readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8'));`;
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    assert.match(stdout, /^\d+ \n$/);
    await waitUntil(() => !isThere(Number(stdout)));
    const closing = spawnSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        script
          .replace('await createJsonSchemas()', 'const own = createJsonSchemas(); await own')
          .concat('await own.close();'),
      ],
      { encoding: 'utf8' },
    );
    assert.equal(closing.status, 0, closing.stderr);
  });
});
