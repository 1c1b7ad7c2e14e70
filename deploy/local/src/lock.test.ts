import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { lockDir } from './lock.ts';
import { temporaryDir } from './test-services.ts';

test('one stack at a time in a directory; a dead one does not hold it', async () => {
  const dir = await temporaryDir();
  const unlock = await lockDir(dir);
  await assert.rejects(lockDir(dir), new RegExp(`process ${process.pid}\\) uses`));
  unlock();

  const { pid } = spawnSync(process.execPath, ['-e', '0']);
  await writeFile(join(dir, 'stack.json'), JSON.stringify({ pid, reaper: pid }));
  (await lockDir(dir))();
});
