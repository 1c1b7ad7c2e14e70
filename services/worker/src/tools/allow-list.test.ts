import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allowList } from './allow-list.ts';

test('hosts as URLs name them, with or without a port', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['', []],
    ['API.Example.com, b.example:8443', ['api.example.com', 'b.example:8443']],
    ['127.0.0.1:80,[::1]:8080,[2001:DB8::1]', ['127.0.0.1:80', '[::1]:8080', '[2001:db8::1]']],
    ['bücher.example', ['xn--bcher-kva.example']],
  ];
  for (const [text, hosts] of cases) assert.deepEqual(allowList.parse(text), hosts);
  assert.deepEqual(allowList.parse(undefined), []);
});

test('what could never match is refused, by its place and not its value', () => {
  for (const entry of [
    'https://api.example.com',
    'api.example.com/path',
    '*.example.com',
    'user@example.com',
    '::1',
    'example.com:99999',
    'example.com:',
    'exa mple.com',
  ]) {
    const { error } = allowList.safeParse(`fine.example,${entry}`);
    assert.deepEqual(
      error?.issues.map(({ message }) => message.slice(0, 23)),
      ['entry 2 is no host[:por'],
      entry,
    );
  }
});
