import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Partition, setTenantCaps } from '../src/index.ts';
import { completed, requested } from './drafts.ts';
import { money } from './inspect.ts';
import { freshPartition, lease, type Owner, running, settle, TENANT } from './support.ts';

const DAYS = ['2026-01-01', '2026-01-31', '2026-02-01'] as const;
const USERS = ['u1', 'u2', null] as const;
const CAPS = {
  run: 60,
  user: 100,
  own: 40,
  tenant: 150,
  userMonth: 120,
  ownMonth: 50,
  tenantMonth: 200,
} as const;

const CapChange = fc.record({ kind: fc.constant('cap' as const), nano: fc.integer({ min: 0, max: 200 }) });
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('hold' as const),
      run: fc.nat(5),
      amount: fc.nat(50),
      day: fc.constantFrom(...DAYS),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('settle' as const, 'expire' as const),
      hold: fc.nat(60),
      part: fc.nat(100),
    }),
  },
  { weight: 1, arbitrary: CapChange },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The rules of money said again, plainly. */
interface ModelHold {
  readonly run: number;
  readonly amount: number;
  readonly scopes: readonly string[];
  state: 'held' | 'expired' | 'settled';
  charged: number;
}
interface Model {
  readonly holds: ModelHold[];
  tenantCap: number;
}

const counters = ({ holds }: Model, scope: string): { spent: number; held: number } => {
  const mine = holds.filter(({ scopes }) => scopes.includes(scope));
  const sum = (of: (hold: ModelHold) => number): number => mine.reduce((total, hold) => total + of(hold), 0);
  return { spent: sum((h) => h.charged), held: sum((h) => (h.state === 'held' ? h.amount : 0)) };
};

const userOf = (run: number): (typeof USERS)[number] => USERS[run % 3] ?? null;

const makeRuns = async (partition: Partition): Promise<Owner[]> => {
  const leaseId = await lease(partition);
  return Promise.all(
    Array.from({ length: 6 }, (_, run) =>
      running(partition, { userId: userOf(run), capNano: CAPS.run }, leaseId),
    ),
  );
};

const setTenantCap = (partition: Partition, tenantDailyNano: number): Promise<void> =>
  setTenantCaps(partition, TENANT, {
    runNano: null,
    userDailyNano: CAPS.user,
    userMonthlyNano: CAPS.userMonth,
    tenantDailyNano,
    tenantMonthlyNano: CAPS.tenantMonth,
    timeZone: 'UTC',
  });

const scopesOf = (owner: Owner, run: number, day: string): string[] => {
  const [user, month] = [userOf(run), day.slice(0, 7)];
  return [
    `run:${owner.run.runId}`,
    ...(user === null ? [] : [`spend:user:acme:${day}:${user}`, `spend:user_month:acme:${month}:${user}`]),
    `spend:tenant:acme:${day}`,
    `spend:tenant_month:acme:${month}`,
  ];
};

const capOf = (model: Model, scope: string): number => {
  if (scope.startsWith('run:')) return CAPS.run;
  const [, kind] = scope.split(':');
  if (kind === 'tenant') return model.tenantCap;
  if (kind === 'tenant_month') return CAPS.tenantMonth;
  if (kind === 'user_month') return scope.endsWith(':u1') ? CAPS.ownMonth : CAPS.userMonth;
  return scope.endsWith(':u1') ? CAPS.own : CAPS.user;
};

const holdOne = async (
  model: Model,
  owners: readonly Owner[],
  s: Step & { kind: 'hold' },
): Promise<string[]> => {
  const owner = owners[s.run];
  assert.ok(owner);
  const scopes = scopesOf(owner, s.run, s.day);
  const fits = scopes.every((scope) => {
    const { spent, held } = counters(model, scope);
    return spent + held + s.amount <= capOf(model, scope);
  });
  const hold = { id: `h${model.holds.length}`, amount: s.amount, day: s.day };
  const reply = await owner.write({ announce: [requested(1)], hold });
  assert.equal(reply.code, fits ? 'OK' : 'DENIED');
  if (fits) model.holds.push({ run: s.run, amount: s.amount, scopes, state: 'held', charged: 0 });
  return fits ? scopes : [];
};

const settleOne = async (
  model: Model,
  owners: readonly Owner[],
  s: Step & { kind: 'settle' | 'expire' },
): Promise<void> => {
  const index = s.hold % Math.max(1, model.holds.length);
  const hold = model.holds[index];
  if (hold === undefined) return;
  const expired = s.kind === 'expire';
  const observed = expired ? hold.amount : Math.floor((hold.amount * s.part) / 100);
  const reply = await owners[hold.run]?.write({
    results: [completed(1)],
    settlements: [settle(`h${index}`, observed, expired)],
  });
  assert.equal(reply?.code, 'OK');
  if (hold.state === 'settled' || (hold.state === 'expired' && expired)) return;
  hold.state = expired ? 'expired' : 'settled';
  hold.charged = observed;
};

test('whatever is held, settled and expired, counters are those of the model and no hold passes a cap (R1, R2)', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80, size: 'max' }), async (steps) => {
      const partition = await freshPartition();
      const model: Model = { holds: [], tenantCap: CAPS.tenant };
      await setTenantCap(partition, CAPS.tenant);
      await partition.redis.hset(`${partition.root}:caps:acme`, {
        'user:u1': CAPS.own,
        'user_month:u1': CAPS.ownMonth,
      });
      const owners = await makeRuns(partition);
      for (const s of steps) {
        if (s.kind === 'cap') {
          model.tenantCap = s.nano;
          await setTenantCap(partition, s.nano);
        } else if (s.kind === 'hold') {
          for (const scope of await holdOne(model, owners, s)) {
            const { spent, held } = await money(partition, scope);
            assert.ok(spent + held <= capOf(model, scope), scope);
          }
        } else await settleOne(model, owners, s);
      }
      for (const [run, owner] of owners.entries()) {
        for (const scope of DAYS.flatMap((day) => scopesOf(owner, run, day))) {
          assert.deepEqual(await money(partition, scope), counters(model, scope), scope);
        }
      }
    }),
    { numRuns: 25 },
  );
});

test('many runs that hold at once never pass a cap, whatever their amounts (R1)', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 20, maxLength: 40, size: 'max' }),
      async (amounts) => {
        const partition = await freshPartition();
        await setTenantCap(partition, CAPS.tenant);
        const leaseId = await lease(partition);
        const owners = await Promise.all(amounts.map(() => running(partition, {}, leaseId)));
        const replies = await Promise.all(
          owners.map((owner, i) =>
            owner.write({
              announce: [requested(1)],
              hold: { id: 'h', amount: amounts[i] ?? 0, day: DAYS[0] },
            }),
          ),
        );
        const held = amounts.filter((_, i) => replies[i]?.code === 'OK').reduce((a, b) => a + b, 0);
        assert.ok(held <= CAPS.tenant);
        assert.deepEqual(await money(partition, `spend:tenant:acme:${DAYS[0]}`), { spent: 0, held });
        const least = Math.min(...amounts.filter((_, i) => replies[i]?.code !== 'OK'));
        assert.ok(held + least > CAPS.tenant, 'nobody is refused who fits');
      },
    ),
    { numRuns: 10 },
  );
});
