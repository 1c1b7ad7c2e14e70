import { z } from 'zod';
import { LimitsInput } from './agent.ts';
import { JsonValue } from './json.ts';
import { ModelRef } from './model-ref.ts';
import { RunInput } from './run.ts';

/** An output with the step it is for. Any other value is the output of step `from_step`. */
export const StepOutput = z.strictObject({ step: z.int().min(1), output: JsonValue });

/** Body of `POST /v1/runs/{id}/fork`. */
export const ForkRequest = z.strictObject({
  /** The first step that is made anew; those before it are taken over. */
  from_step: z.int().min(1),
  changes: z
    .strictObject({
      model: ModelRef.optional(),
      instructions: z.string().max(200_000).optional(),
      /** With from_step 1 only: later steps answered the recorded input. */
      input: RunInput.optional(),
      /** What a tool gave back, in place of what was recorded. Text as it is, anything else as JSON. */
      tool_output: z.union([StepOutput, JsonValue]).optional(),
      /** At most what the agent allows. What is not named stays as it was. */
      limits: LimitsInput.optional(),
    })
    .default({}),
});
export type ForkRequest = z.infer<typeof ForkRequest>;
