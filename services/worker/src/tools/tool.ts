import type { ToolDefinition, ToolName } from '@signalbox/contracts';
import type { Clock } from '@signalbox/runtime';
import type { z } from 'zod';

/** What a tool may use while it runs. */
export interface ToolContext {
  /** Aborts on an abort of the run, a lost lease, or the tool's own time limit. */
  readonly signal: AbortSignal;
  /** The same for every attempt of this call: `<run>:<step>:<call>`. */
  readonly idempotencyKey: string;
  readonly clock: Clock;
}

/**
 * A tool. A tool that throws gives the model an error result and the run goes on; the message must hold
 * no secret.
 */
export interface Tool<Args> {
  readonly name: ToolName;
  readonly description: string;
  readonly parameters: z.ZodType<Args>;
  readonly timeoutMs: number;
  /** True when the call may be made again after a crash, under the same idempotency key. */
  repeatable(args: Args): boolean;
  /**
   * True for a tool that changes nothing, asks nobody and is done at once. Nothing is lost or doubled when it runs
   * again, so it needs no write before it runs, nor one of its own for its result.
   */
  readonly inline?: boolean;
  /** For a tool that only waits: when its result is due, instead of `execute`. */
  dueAt?(args: Args, nowMs: number): number;
  execute(args: Args, context: ToolContext): Promise<string>;
}

/** A call the worker has looked at and not made yet. */
export interface PlannedCall {
  readonly repeatable: boolean;
  readonly inline: boolean;
  /** Epoch milliseconds; null when it is to be executed. */
  readonly dueAt: number | null;
  readonly timeoutMs: number;
  run(context: ToolContext): Promise<string>;
}

export class ToolError extends Error {
  override readonly name = 'ToolError';
  readonly code: 'unknown_tool' | 'invalid_arguments' | 'tool_error' | 'timeout' | 'aborted';

  constructor(code: ToolError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

export interface Toolbox {
  /** What the model is told of these tools. */
  definitions(names: readonly string[]): ToolDefinition[];
  /** Never throws: a call that cannot be made becomes one whose `run` says why. */
  plan(
    call: { name: string; arguments: string },
    options: { allowed: readonly string[]; truncated: boolean; nowMs: number },
  ): PlannedCall;
}
