/**
 * What the clients saw, which is all they have a right to: what was answered, and what they do not know. An answer
 * that did not come is neither a yes nor a no.
 */
import type { RunPlan, Tenant } from './plan.ts';

export interface Submission {
  readonly plan: RunPlan;
  readonly tenant: Tenant;
  readonly startedAt: number;
  /** Ids that answers to this Idempotency-Key named; more than one is a double run. */
  readonly runIds: Set<string>;
  ackedAt: number | null;
  /** Requests without an answer, or with one that leaves open whether it was taken. */
  unanswered: number;
  /** 503 and 429: not taken, try again. */
  readonly refusals: string[];
}

export interface Abort {
  readonly runId: string;
  /** When it was sent last. */
  askedAt: number;
  /** Null: nobody knows whether it was taken. */
  ackedAt: number | null;
  /** 409: it had ended before. */
  tooLate: boolean;
}

/** An event that a client has read. */
export interface SeenEvent {
  readonly runId: string;
  readonly seq: number;
  readonly hash: string;
}

export interface History {
  readonly submissions: Submission[];
  readonly aborts: Abort[];
  readonly seen: SeenEvent[];
  /** Reads after a 202, and what was wrong with them. */
  reads: number;
  readonly badReads: string[];
  /** Answers that no client should get, whatever breaks. */
  readonly badAnswers: string[];
  /** Requests that failed without an answer, by the url of the api. */
  readonly broken: { readonly url: string; readonly at: number }[];
}

export const emptyHistory = (): History => ({
  submissions: [],
  aborts: [],
  seen: [],
  reads: 0,
  badReads: [],
  badAnswers: [],
  broken: [],
});
