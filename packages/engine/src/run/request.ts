import type { AgentSpec, Json, Message, Nudge, RunInput, ToolCall } from '@signalbox/contracts';
import { canonicalJson } from '../journal/canonical-json.ts';
import { type Contents, nudgeMessages, openingMessages, turnMessages } from './conversation.ts';
import type { RunState } from './state.ts';

/**
 * What a model is sent, as the journal proves it: digests under the run's key, each taking in only what is new
 * Live, replayed and forked runs make them here, so that equal digests mean equal requests (R12).
 */
export type Digest = (text: string) => string;

/** What was said in a run, opened. */
export interface Said {
  readonly input: RunInput;
  readonly contents: Contents;
}

/** A spec as one text, whatever order its fields came in: its digest stands in `run.submitted`. */
export const specText = (spec: AgentSpec | Json): string => canonicalJson(spec as Json);

/** The messages a call adds to those sent before; none where it tries a step again. */
export const addedMessages = (
  { steps, turn }: RunState,
  call: { readonly step: number; readonly nudge: Nudge | null },
  { input, contents }: Said,
): Message[] => {
  if (call.step <= steps.length) return [];
  const before = turn === null ? openingMessages(input) : turnMessages(turn, contents);
  return [...before, ...nudgeMessages(call.nudge)];
};

/** The rolling digest of a request: of the spec first, then of all that was added since. */
export const requestDigest = (
  { requestDigest: before }: RunState,
  added: readonly Message[],
  digest: Digest,
): string => (added.length === 0 ? before : digest(`${before}\n${JSON.stringify(added)}`));

export const argsDigest = ({ name, arguments: args }: Omit<ToolCall, 'id'>, digest: Digest): string =>
  digest(`${name}\n${args}`);
