import type { CapScope, Nano } from '@signalbox/contracts';

/** Where one scope stood when it had no room. */
export interface ScopeRoom {
  readonly scope: CapScope;
  readonly capNano: Nano;
  readonly spentNano: Nano;
  readonly heldNano: Nano;
}

export interface DeniedHold {
  readonly needNano: Nano;
  readonly scopes: readonly ScopeRoom[];
  readonly maxOutputTokens: number;
  /** The most output tokens that fit into an amount (0: not even the input does). */
  readonly affordable: (roomNano: Nano) => number;
}

export type DenialAnswer =
  /** Others' holds are in the way: wait for them to settle. */
  | {
      readonly type: 'park';
      readonly scope: ScopeRoom;
      /** The limit whose worst case the run waits for: a smaller one when the full one can never fit. */
      readonly maxOutputTokens: number;
    }
  /** Call with a smaller limit: near its cap a run answers shorter instead of dying. */
  | { readonly type: 'shrink'; readonly maxOutputTokens: number }
  | { readonly type: 'fail'; readonly scope: ScopeRoom };

/** A call with less room to answer than this is not worth making (Money). */
export const MIN_OUTPUT_TOKENS = 256;

const free = (scope: ScopeRoom): Nano => scope.capNano - scope.spentNano;
const room = (scope: ScopeRoom): Nano => free(scope) - scope.heldNano;

const tightest = (scopes: readonly ScopeRoom[], by: (scope: ScopeRoom) => Nano): ScopeRoom =>
  scopes.reduce((a, b) => (by(b) < by(a) ? b : a));

/** What a run does when its hold does not fit (Money). `scopes` is not empty. */
export const answerDenial = (denied: DeniedHold): DenialAnswer => {
  const leastFree = tightest(denied.scopes, free);
  const leastRoom = tightest(denied.scopes, room);
  if (free(leastFree) >= denied.needNano) {
    return { type: 'park', scope: leastRoom, maxOutputTokens: denied.maxOutputTokens };
  }
  const floor = Math.min(MIN_OUTPUT_TOKENS, denied.maxOutputTokens);
  const fitsNow = Math.min(denied.affordable(room(leastRoom)), denied.maxOutputTokens);
  if (fitsNow >= floor) return { type: 'shrink', maxOutputTokens: fitsNow };
  if (denied.affordable(free(leastFree)) >= floor) {
    return { type: 'park', scope: leastRoom, maxOutputTokens: floor };
  }
  return { type: 'fail', scope: leastFree };
};
