import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

test('a warning of Node or of a library is a line of the log', () => {
  const script = `
    import { startService } from './service.ts';
    const redactor = { text: (text) => text, json: (value) => value };
    await startService({ name: 'svc-1', logLevel: 'info', otlpEndpoint: undefined, redactor });
    process.emitWarning('first line\\nsecond line');`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  });
  assert.equal(stderr, '');
  const { level, service, error } = JSON.parse(stdout) as {
    level: string;
    service: string;
    error: { message: string };
  };
  assert.deepEqual([level, service, error.message], ['warn', 'svc-1', 'first line\nsecond line']);
});
