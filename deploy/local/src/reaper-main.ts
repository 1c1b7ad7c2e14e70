/** The helper process of reaper.ts: reads orders until its input closes, then cleans up and exits. */
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive, signalGroup } from './pids.ts';
import type { ReaperOrder, StopSignal } from './reaper.ts';

const GRACE_MS = 10_000;
const watched = new Map<number, StopSignal>();
const dirs = new Set<string>();

// Ctrl-C and the end of the terminal concern the parent; it closes the pipe when it is done.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line) as ReaperOrder;
  switch (message.op) {
    case 'watch':
      watched.set(message.pid, message.signal);
      break;
    case 'forget':
      watched.delete(message.pid);
      break;
    case 'remove':
      dirs.add(message.dir);
      break;
  }
}

for (const [pid, signal] of watched) signalGroup(pid, signal);
const deadline = Date.now() + GRACE_MS;
while ([...watched.keys()].some(isAlive) && Date.now() < deadline) await sleep(50);
for (const pid of watched.keys()) signalGroup(pid, 'SIGKILL');
for (const dir of dirs) rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
