/**
 * Runs the test files it is given, one after the other, in this process: what they test is loaded once. Each is a
 * test whose subtests are the file's own, with its hooks; and has a copy of its own of the test support that it
 * imports, so what is kept or closed there is the file's too.
 */
import { registerHooks } from 'node:module';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

const SUPPORT = /\/test\/.*\.ts$/;

registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context);
    const copy = context.parentURL === undefined ? '' : new URL(context.parentURL).search;
    return SUPPORT.test(resolved.url) ? { ...resolved, url: `${resolved.url}${copy}` } : resolved;
  },
});

for (const [n, file] of process.argv.slice(2).entries()) {
  test(file, async () => void (await import(`${pathToFileURL(file).href}?copy=${n}`)));
}
