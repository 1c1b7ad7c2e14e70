/** W as a DBOS workflow: each model call and each tool call is a step, recorded in Postgres. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DBOS } from '@dbos-inc/dbos-sdk';
import { offer } from '../offer.ts';
import { serveProgram } from '../program.ts';
import type { ProgramSettings } from '../subjects/program.ts';
import { MODEL_BYTES, prose, type Shape, TOOL_BYTES } from '../work.ts';

const run = async ({ steps, latencyMs }: Shape): Promise<number> => {
  for (let n = 0; n < steps; n += 1) {
    const model = async (): Promise<string> => {
      if (latencyMs > 0) await sleep(latencyMs);
      return prose(MODEL_BYTES, n);
    };
    await DBOS.runStep(model, { name: 'model' });
    await DBOS.runStep(async () => prose(TOOL_BYTES, n), { name: 'tool' });
  }
  return steps;
};
const workflow = DBOS.registerWorkflow(run, { name: 'run' });

let launched: Promise<void> | undefined;

const launch = (url: string): Promise<void> => {
  DBOS.setConfig({ name: 'bench', systemDatabaseUrl: url, runAdminServer: false, logLevel: 'warn' });
  return DBOS.launch();
};

serveProgram<ProgramSettings>(async ({ load, settings }) => {
  await (launched ??= launch(settings.url));
  return await offer(load, async () => (await DBOS.startWorkflow(workflow)(load.shape)).getResult());
});
