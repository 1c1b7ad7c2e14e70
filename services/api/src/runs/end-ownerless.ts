import { abortOwnerless } from '@signalbox/run-state';
import type { ApiDeps } from '../deps.ts';

/** Ends an aborted run at once, if nobody owns it. Never rejects: the flag stands, and whoever owns it next ends it. */
export const endOwnerless = (deps: ApiDeps, runId: string): Promise<void> =>
  abortOwnerless({ ...deps, service: 'api' }, runId).catch((error: unknown) =>
    deps.logger.warn('abort left to the next owner', { run_id: runId, error }),
  );
