/** Everything that can be measured, by the name that `--only` takes. */
import { NEIGHBOURS } from './subjects/neighbours.ts';
import { FLOOR, PARTS, programTrial } from './subjects/program.ts';
import { auditTrial } from './subjects/signalbox-audit.ts';
import { growthTrial } from './subjects/signalbox-growth.ts';
import { latencyTrial } from './subjects/signalbox-latency.ts';
import { memoryTrial } from './subjects/signalbox-memory.ts';
import { replayTrial } from './subjects/signalbox-replay.ts';
import { sseTrial } from './subjects/signalbox-sse.ts';
import { submitTrials } from './subjects/signalbox-submit.ts';
import { signalboxTrial } from './subjects/signalbox-runs.ts';
import type { Trial } from './trial.ts';
import type { Shape } from './work.ts';

export interface Work {
  readonly name: string;
  readonly title: string;
  readonly trials: readonly Trial[];
}

const runs = (shape: Shape, inFlight: number): Work => {
  const { steps, latencyMs } = shape;
  const name = latencyMs === 0 ? `W${steps}` : `W${steps}@${latencyMs}`;
  const load = { shape, inFlight };
  return {
    name,
    title: `${steps} model calls (2 KB), each with a tool call (0.5 KB); a model takes ${latencyMs} ms; ${inFlight} runs at a time, of ours on one worker`,
    trials: [
      signalboxTrial({ work: name, ...load }),
      ...[...PARTS, ...NEIGHBOURS].map((subject) => programTrial(name, subject, load)),
    ],
  };
};

const FIVE: Shape = { steps: 5, latencyMs: 0 };
const AT_RATE = { shape: FIVE, inFlight: 100, perSecond: 20 };

export const WORKS: readonly Work[] = [
  runs(FIVE, 200),
  runs({ steps: 5, latencyMs: 200 }, 1000),
  {
    name: 'submit',
    title:
      'submissions by 32 clients, then half as many per second; no worker; the ceiling is Hono and queue.add alone',
    trials: submitTrials('submit', FIVE),
  },
  {
    name: 'latency',
    title: 'W5 at 20 runs/s, from the submission to the answer; of ours on one worker',
    trials: [
      latencyTrial('latency', AT_RATE),
      ...[FLOOR, ...NEIGHBOURS].map((subject) => programTrial('latency', subject, AT_RATE)),
    ],
  },
  {
    name: 'growth',
    title: 'model call and tool call in turn, short answers; linear if a step costs the same in every row',
    trials: [10, 100, 1000].map((steps) => growthTrial('growth', steps)),
  },
  {
    name: 'memory',
    title: 'runs whose model thinks',
    trials: [memoryTrial('memory', 1000), memoryTrial('memory', 5000)],
  },
  {
    name: 'audit',
    title: 'a full audit stream into Postgres',
    trials: [auditTrial('audit')],
  },
  {
    name: 'sse',
    title: '500 events per second of 100 runs, each run watched by 10 clients',
    trials: [sseTrial('sse')],
  },
  {
    name: 'replay',
    title: 'W5 runs replayed by 16 clients through the api, and by one job',
    trials: [replayTrial('replay')],
  },
];
