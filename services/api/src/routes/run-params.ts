import { z } from '@hono/zod-openapi';
import { RunId } from '@signalbox/contracts';

/** The path of everything below a run. */
export const RunParams = z.strictObject({ id: RunId });
