/** The ceiling of the submit path: Hono and `queue.add`, nothing else. */
import { join } from 'node:path';
import { freePort, REPOSITORY, startChild, waitFor } from '@signalbox/local';
import { httpClient } from '../http-client.ts';
import { benchRedis, withStops } from '../servers.ts';
import { CLIENT, type Context } from '../trial.ts';
import { submitRun } from './signalbox-agent.ts';
import { saturate, type Saturation } from './submits.ts';

const READY_MS = 60_000;

export const measureCeiling = (context: Context): Promise<Saturation> =>
  withStops(async (onStop) => {
    const redis = await benchRedis(context);
    onStop(() => redis.stop());
    const port = await freePort();
    const child = await startChild({
      name: 'hono-queue',
      command: [
        process.execPath,
        join(REPOSITORY, 'test/bench/programs/hono-queue.ts'),
        redis.url,
        String(port),
      ],
      logFile: join(context.dir, 'logs', 'hono-queue.log'),
    });
    onStop(() => child.stop());
    const api = httpClient(`http://127.0.0.1:${port}`, {});
    onStop(async () => api.close());
    const ready = (): Promise<true | undefined> =>
      api.send('GET', '/').then(
        () => true,
        () => undefined,
      );
    await waitFor(ready, { what: `Hono to listen (log: ${child.logFile})`, timeoutMs: READY_MS });
    const groups = [
      { name: 'api', roots: [child.pid] },
      redis.group,
      { name: CLIENT, roots: [process.pid], alone: true },
    ];
    return saturate(context.until, { groups, send: () => submitRun({ api }) });
  });
