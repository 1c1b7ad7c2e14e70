import { z } from 'zod';
import { JsonValue } from './json.ts';

/**
 * Where a replay and its recording part:
 * `journal` the recording is no journal; `spec`, `content` what is stored is not what the journal proves;
 * `model`, `request` the model would be asked otherwise; `tool`, `action`, `end` something else would be done.
 */
const DIVERGENCE_KINDS = ['journal', 'spec', 'content', 'model', 'request', 'tool', 'action', 'end'] as const;
export type DivergenceKind = (typeof DIVERGENCE_KINDS)[number];

/** Neither side holds anything that was said. */
export const Divergence = z.object({
  /** The step it is about; of an end, the last one. */
  step: z.int(),
  kind: z.enum(DIVERGENCE_KINDS),
  /** As recorded. */
  expected: JsonValue,
  /** As this version would do it. */
  got: JsonValue,
});
export type Divergence = Readonly<z.infer<typeof Divergence>>;

/** Answer of `POST /v1/runs/{id}/replay`. */
export const ReplayReport = z.object({
  identical: z.boolean(),
  steps: z.int(),
  /** In the order of the journal. */
  divergences: z.array(Divergence),
  provider_calls: z.literal(0),
});
