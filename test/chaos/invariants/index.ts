import type { Case } from '../case.ts';
import { aborts, notRepeated, policyFirst, toolEffects } from './acts.ts';
import type { Invariant, Verdict } from './invariant.ts';
import {
  ends,
  gapFree,
  hashChain,
  noDuplicates,
  nothingUnstored,
  oneOwner,
  replaysAlike,
  verifies,
  zombies,
} from './journals.ts';
import { budget } from './money.ts';
import { endings, isolation, lostRuns, phantomRuns, readYourAccept } from './runs.ts';
import { concurrency, liveness, memory, nothingLeft, parkedHoldsNothing, wakeUps } from './waiting.ts';

export type { Verdict } from './invariant.ts';

const INVARIANTS: readonly Invariant[] = [
  lostRuns,
  phantomRuns,
  ends,
  gapFree,
  nothingUnstored,
  noDuplicates,
  hashChain,
  verifies,
  replaysAlike,
  zombies,
  oneOwner,
  notRepeated,
  aborts,
  concurrency,
  budget,
  wakeUps,
  parkedHoldsNothing,
  toolEffects,
  policyFirst,
  isolation,
  memory,
  liveness,
  readYourAccept,
  endings,
  nothingLeft,
];

export const judgeAll = (all: Case): Verdict[] =>
  INVARIANTS.map((invariant, n) => ({
    number: n + 1,
    name: invariant.name,
    how: invariant.how,
    ...invariant.judge(all),
  }));
