/** Money: the provider's bill, the caps, and our own books. */
import { totalNano } from '../../support/fake-provider/index.ts';
import type { Case } from '../case.ts';
import { capsFor, planRun, type RunPlan, tagIn } from '../plan.ts';
import { type Invariant, sum, violationsOf } from './invariant.ts';

const MILLI_USD = 1_000_000;

interface CapBook {
  readonly name: string;
  readonly capNano: number;
  readonly of: (plan: RunPlan) => boolean;
}

const capBooks = ({ world, seconds }: Case): CapBook[] => {
  const caps = capsFor(seconds);
  const plans = world.history.submissions.map(({ plan }) => plan);
  const users = new Set(plans.filter(({ tenant }) => tenant === 'north').map(({ user }) => user));
  return [
    { name: 'day of south', capNano: caps.south.daily, of: ({ tenant }) => tenant === 'south' },
    ...Array.from(users, (user) => ({
      name: `day of ${user}`,
      capNano: caps.north.userDaily ?? 0,
      of: (plan: RunPlan) => plan.user === user,
    })),
    ...plans.flatMap(({ tag, capUsd }) =>
      capUsd === null
        ? []
        : [
            {
              name: `cap of ${tag}`,
              capNano: capUsd * 1000 * MILLI_USD,
              of: (plan: RunPlan) => plan.tag === tag,
            },
          ],
    ),
  ];
};

export const budget: Invariant = {
  name: 'budget (R1, R2)',
  how: "provider's bill under every cap; journal, ledger, days and counters say the same; nothing stays held",
  judge: (all) => {
    const { world } = all;
    const entries = world.provider.ledger.map((entry) => {
      const tag = tagIn(JSON.stringify(entry.body));
      return { entry, plan: planRun(world.seed, Number(tag.split('-')[1])) };
    });
    const unknownNano = all.lost.announcedNano;
    const over = capBooks(all).flatMap(({ name, capNano, of }) => {
      const billed = totalNano(entries.filter(({ plan }) => of(plan)).map(({ entry }) => entry));
      return billed > capNano + unknownNano ? [`${name}: ${billed} billed, the cap is ${capNano}`] : [];
    });
    const money = ['each hold ends', 'a call costs', 'ledger = journal', 'nothing stays held', 'run counter'];
    const violations = violationsOf(all, [...money, 'counters = ledger', 'days = ledger']);
    const holds = sum(all.evidence.runs.map(({ ledger }) => ledger.length));
    const note = `${(unknownNano / MILLI_USD).toFixed(1)} mUSD of calls were known only to what Redis lost`;
    return { checked: holds + capBooks(all).length, violations: [...violations, ...over], note };
  },
};
