import type { Event, Json, ReplayChanges, RunLimits } from '@signalbox/contracts';
import type { Recording } from './recording.ts';
import { specText } from '../run/request.ts';

export interface Tried {
  readonly first: Event;
  readonly recording: Recording;
  /** A recorded event as the tried run is to take it in. */
  readonly takeIn: (event: Event) => Event;
}

/** Whether a limit was lowered is told by the recorded limits, not by those that are tried. */
const judgedBy =
  ({ max_output_tokens }: RunLimits): Tried['takeIn'] =>
  (event) => {
    if (event.type !== 'llm.requested') return event;
    const limit_lowered = event.data.max_output_tokens < max_output_tokens;
    return { ...event, data: { limit_lowered, ...event.data } };
  };

/**
 * "What if": a recorded run as if it had been submitted with another model, other instructions or other limits. Its
 * recorded answers go on as far as today's engine would ask the same; from there on only real calls (a fork) know more.
 * Caps are not tried: they meet real calls alone.
 */
export const withChanges = (first: Event, recording: Recording, changes: ReplayChanges): Tried => {
  if (first.type !== 'run.submitted') return { first, recording, takeIn: (event) => event };
  const { spec, storedSpec, digest } = recording;
  const said = {
    model: changes.model ?? spec.model,
    instructions: changes.instructions ?? spec.instructions,
  };
  const stored = { ...(storedSpec as { readonly [field: string]: Json }), ...said };
  const { limits } = first.data;
  const data = {
    ...first.data,
    model: said.model,
    spec_digest: digest(specText(stored)),
    limits: {
      max_steps: changes.limits?.max_steps ?? limits.max_steps,
      max_output_tokens: changes.limits?.max_output_tokens ?? limits.max_output_tokens,
      timeout_seconds: changes.limits?.timeout_seconds ?? limits.timeout_seconds,
    },
  };
  return {
    first: { ...first, data },
    recording: { ...recording, spec: { ...spec, ...said }, storedSpec: stored },
    takeIn: judgedBy(limits),
  };
};
