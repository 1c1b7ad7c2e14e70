import { z } from 'zod';
import type { Partition } from './partition.ts';
import { runScript } from './scripts.ts';

const Held = z.literal([0, 1]).transform((held) => held === 1);

/** Takes the lead or keeps it. False: another process leads. Throws `state_unavailable`. */
export const holdLeadership = async (
  partition: Partition,
  { token, leaseMs }: { token: string; leaseMs: number },
): Promise<boolean> => Held.parse(await runScript(partition, 'leadership', ['hold', token, leaseMs]));

/** Gives the lead back, so that another can take it at once. False: it was not ours any more. */
export const releaseLeadership = async (partition: Partition, token: string): Promise<boolean> =>
  Held.parse(await runScript(partition, 'leadership', ['release', token, 0]));
