/** The functions that took a process's time, from the file that `node --cpu-prof` writes. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Window } from './meter.ts';

const CpuProfile = z.object({
  nodes: z.array(
    z.object({
      id: z.int(),
      callFrame: z.object({ functionName: z.string(), url: z.string(), lineNumber: z.int() }),
      children: z.array(z.int()).default([]),
    }),
  ),
  startTime: z.number(),
  samples: z.array(z.int()),
  timeDeltas: z.array(z.number()),
});
type CpuProfile = z.infer<typeof CpuProfile>;

export interface ProfileLine {
  readonly name: string;
  readonly ms: number;
  /** Of the time in which the process did anything. */
  readonly share: number;
}

export interface ProfileTop {
  readonly busyMs: number;
  /** In the function itself. */
  readonly self: readonly ProfileLine[];
  /** In it and in what it calls, until it first waits; without the functions of Node itself. */
  readonly total: readonly ProfileLine[];
}

const IDLE = '(idle)';

/** Frames that everything is called through say nothing. */
const isOfNode = ({ url }: CpuProfile['nodes'][number]['callFrame']): boolean =>
  url === '' || url.startsWith('node:');

/** A path from the repository's root, or from the package. */
const placeOf = (url: string): string =>
  url
    .replace(/^file:\/\//, '')
    .replace(/^.*\/node_modules\//, '')
    .replace(/^.*\/(?=(packages|services|test)\/)/, '');

const labelOf = ({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string => {
  const name = functionName === '' ? '(anonymous)' : functionName;
  return url === '' ? name : `${name} ${placeOf(url)}:${lineNumber + 1}`;
};

/** Microseconds by node. */
const selfTimes = (
  { startTime, samples, timeDeltas }: CpuProfile,
  { from, to }: Window,
): Map<number, number> => {
  const times = new Map<number, number>();
  let at = startTime;
  for (const [n, id] of samples.entries()) {
    const delta = Math.max(0, timeDeltas[n] ?? 0);
    at += delta;
    if (at >= from && at <= to) times.set(id, (times.get(id) ?? 0) + delta);
  }
  return times;
};

const top = (times: ReadonlyMap<string, number>, busy: number, count: number): ProfileLine[] =>
  [...times]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, micros]) => ({ name, ms: micros / 1000, share: micros / busy }));

const add = (times: Map<string, number>, name: string, micros: number): void =>
  void times.set(name, (times.get(name) ?? 0) + micros);

const EVER: Window = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY };

export const profileTop = (json: unknown, count: number, window: Window = EVER): ProfileTop => {
  const profile = CpuProfile.parse(json);
  const labels = new Map(profile.nodes.map(({ id, callFrame }) => [id, labelOf(callFrame)]));
  const ofNode = new Set(profile.nodes.flatMap(({ id, callFrame }) => (isOfNode(callFrame) ? [id] : [])));
  const parents = new Map(profile.nodes.flatMap(({ id, children }) => children.map((child) => [child, id])));
  const [self, total] = [new Map<string, number>(), new Map<string, number>()];
  let busy = 0;
  for (const [id, micros] of selfTimes(profile, window)) {
    const name = labels.get(id) ?? '';
    if (name === IDLE) continue;
    busy += micros;
    add(self, name, micros);
    // A function that calls itself counts once.
    const stack = new Set<string>();
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at))
      if (!ofNode.has(at)) stack.add(labels.get(at) ?? '');
    for (const one of stack) add(total, one, micros);
  }
  return { busyMs: busy / 1000, self: top(self, busy, count), total: top(total, busy, count) };
};

export const readProfile = (file: string, count: number, window?: Window): ProfileTop =>
  profileTop(JSON.parse(readFileSync(file, 'utf8')), count, window);
