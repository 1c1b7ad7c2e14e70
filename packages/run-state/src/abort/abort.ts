import { RunStatus, SignalboxError } from '@signalbox/contracts';
import { z } from 'zod';
import type { Partition } from '../redis/partition.ts';
import { Texts } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';

export const AbortFlag = z.object({
  requested_at: z.string(),
  by: z.string(),
  reason: z
    .string()
    .nullish()
    .transform((r) => r ?? null),
});
export type AbortFlag = z.infer<typeof AbortFlag>;

export interface AbortRequest {
  readonly runId: string;
  readonly tenantId: string;
  readonly flag: AbortFlag;
}

/**
 * Sets the abort flag. A repeated abort returns the first one's flag. Throws `not_found`, `run_terminal`,
 * `state_unavailable`.
 */
export const requestAbort = async (
  partition: Partition,
  request: AbortRequest,
): Promise<{ flag: AbortFlag; status: RunStatus }> => {
  const [code, flag = '', status] = Texts.parse(
    await runScript(partition, 'abort', [request.runId, request.tenantId, JSON.stringify(request.flag)]),
  );
  if (code === 'NOT_FOUND') throw new SignalboxError('not_found', `There is no run ${request.runId}.`);
  if (code === 'TERMINAL')
    throw new SignalboxError(
      'run_terminal',
      `Run ${request.runId} has already ended; there is nothing to abort.`,
    );
  return { flag: AbortFlag.parse(JSON.parse(flag)), status: RunStatus.parse(status) };
};

export const abortChannel = (partition: Partition): string => `${partition.root}:aborts`;
