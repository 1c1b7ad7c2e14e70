/**
 * Records the stories that have no history yet: `node test/replay/record-histories.ts [story...]`. A new story goes into
 * stories.ts; what is recorded is never recorded again, since it is the past that today's code must read.
 */
import { stepsOf, viewOf } from '../../services/api/src/runs/run-view.ts';
import { replayStored } from '../../services/api/src/replays/replay-stored.ts';
import { readRun } from '@signalbox/run-state';
import { createLogger } from '@signalbox/runtime';
import { startSystem } from '../e2e/stack.ts';
import { ENCRYPTION_KEYS, keyring, storyNames, writeHistory } from './history.ts';
import { behave, STORIES } from './stories.ts';

const wanted = process.argv.slice(2);
const known = new Set(storyNames());
const stories = Object.entries(STORIES).filter(
  ([story]) => !known.has(story) && (wanted.length === 0 || wanted.includes(story)),
);
const logger = createLogger({ service: 'histories', level: 'error' });

const system = await startSystem({
  ownPostgres: true,
  leaseSeconds: 5,
  provider: { behave },
  env: { ENCRYPTION_KEYS },
});
try {
  for (const [story, play] of stories) {
    const id = await play(system);
    const run = await readRun(system.partition, { tenantId: 'default', runId: id }, 'all');
    if (run === null) throw new Error(`${story}: run ${id} is gone`);
    const { runId, tenantId, wrappedKey, entries, contents } = run;
    const deps = { keyring, logger };
    const replayed = replayStored(keyring, run);
    writeHistory({
      story,
      run: { runId, tenantId, wrappedKey, entries, contents: [...contents] },
      view: viewOf(deps, run),
      steps: stepsOf(deps, run, true),
      replayed,
    });
    process.stdout.write(`${story}: ${entries.length} events, ${JSON.stringify(replayed.divergences)}\n`);
  }
} finally {
  await system.stop();
}
