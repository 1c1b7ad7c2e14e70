import { join } from 'node:path';
import { type Child, REPOSITORY, startChild, temporaryDir, waitFor } from '@signalbox/local';

/** A service as a process of its own, with nothing in its environment but what is given. */
export interface ServiceProcess extends Child {
  /** Lines of its log that are JSON. */
  lines(): Record<string, unknown>[];
  /** GET on its health server. */
  get(path: string): Promise<{ status: number; body: string }>;
}

const parsed = (line: string): Record<string, unknown>[] => {
  try {
    return [JSON.parse(line) as Record<string, unknown>];
  } catch {
    return [];
  }
};

export const startMain = async (
  service: 'audit-writer' | 'scheduler',
  env: Record<string, string>,
): Promise<ServiceProcess> => {
  const dir = await temporaryDir();
  const inherited = ['PATH', 'NODE_OPTIONS'].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const child = await startChild({
    name: service,
    command: [process.execPath, join(REPOSITORY, `services/${service}/src/main.ts`)],
    logFile: join(dir, 'service.log'),
    cwd: REPOSITORY,
    env: { ...Object.fromEntries(inherited), METRICS_PORT: '0', ...env },
  });
  const lines = (): Record<string, unknown>[] => child.output().split('\n').flatMap(parsed);
  const get = async (path: string): Promise<{ status: number; body: string }> => {
    const port = await waitFor(() => lines().find(({ msg }) => msg === 'listening')?.['port'], {
      what: `it to listen: ${child.output()}`,
      timeoutMs: 60_000,
    });
    const response = await fetch(`http://127.0.0.1:${String(port)}${path}`);
    return { status: response.status, body: await response.text() };
  };
  return { ...child, lines, get };
};
