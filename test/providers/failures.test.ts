/** What goes wrong on the way to a provider, over real sockets: code, retry, and what may have been billed. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, it } from 'node:test';
import { ModelError, type ModelPort, type ModelRequest } from '@signalbox/contracts';
import { createModels } from '@signalbox/providers';
import { systemClock } from '@signalbox/runtime';
import { ask, HAIKU, KEY, OURS, MINI, modelsAt, requestTo, until, withFake } from './calls.ts';

const failureOf = async (models: ModelPort, request: ModelRequest): Promise<ModelError> => {
  try {
    await ask(models, request);
  } catch (error) {
    assert.ok(error instanceof ModelError, String(error));
    return error;
  }
  return assert.fail('the call succeeded');
};

const LONG = 'The quick brown fox jumps over the lazy dog. '.repeat(20);

for (const model of [HAIKU, MINI]) {
  describe(model, () => {
    it('a socket closed in the middle is a partial answer', () =>
      withFake({ behave: () => ({ text: LONG, breakAfterBytes: 2500 }) }, async (fake, models) => {
        const error = await failureOf(models, requestTo(model));
        assert.deepEqual(
          { code: error.code, retryable: error.retryable, billed: error.billed, aborted: error.aborted },
          { code: 'provider_error', retryable: true, billed: 'partial', aborted: false },
        );
        assert.ok(error.outputBytes > 0 && error.outputBytes < LONG.length, `${error.outputBytes} bytes`);
        // Anthropic names the input at the start of a stream, OpenAI names nothing before its end.
        assert.equal(error.usage?.input_tokens, model === HAIKU ? fake.ledger[0]?.inputTokens : undefined);
        assert.equal(fake.ledger.length, 1, 'no retry behind our back');
        await until(() => fake.ledger[0]?.finishedAt !== null);
        assert.deepEqual([fake.ledger[0]?.aborted, fake.ledger[0]?.closedByClient], [true, false]);
      }));

    it('broken at any byte it never hangs and never passes for an answer', () =>
      withFake(
        { behave: ({ maxTokens }) => ({ text: 'abc', breakAfterBytes: maxTokens ?? 1 }) },
        async (_, models) => {
          for (let bytes = 1; bytes < 450; bytes += 41) {
            const error = await failureOf(models, requestTo(model, { maxOutputTokens: bytes }));
            assert.ok(error.billed !== 'none', `${bytes} bytes: ${error.billed}`);
          }
        },
      ));

    it('an abort closes the socket and reports what was seen', () =>
      withFake({ behave: () => ({ text: LONG, chunkDelayMs: 5 }) }, async (fake, models) => {
        const stop = new AbortController();
        let seen = '';
        const call = models.call(requestTo(model), {
          key: OURS,
          signal: stop.signal,
          onDelta: (text) => {
            seen += text;
            if (seen.length > 40) stop.abort();
          },
        });
        const error: unknown = await call.catch((thrown: unknown) => thrown);
        assert.ok(error instanceof ModelError);
        assert.deepEqual([error.aborted, error.billed, error.retryable], [true, 'partial', false]);
        assert.equal(error.outputBytes, seen.length);
        await until(() => fake.ledger[0]?.finishedAt !== null);
        assert.equal(fake.ledger[0]?.closedByClient, true);
        assert.ok((fake.ledger[0].outputTokens ?? 0) < LONG.length / 4);
      }));

    it('an abort before the first byte closes the socket too', () =>
      withFake({ behave: () => ({ delayMs: 60_000 }) }, async (fake, models) => {
        const stop = new AbortController();
        const call = models.call(requestTo(model), {
          key: OURS,
          signal: stop.signal,
          onDelta: () => undefined,
        });
        const failed = assert.rejects(call, { aborted: true, billed: 'partial' });
        await until(() => fake.ledger.length === 1);
        stop.abort();
        await failed;
        await until(() => fake.ledger[0]?.finishedAt !== null);
        assert.equal(fake.ledger[0]?.closedByClient, true);
      }));

    it('an abort before the call sends nothing', () =>
      withFake({}, async (fake, models) => {
        const call = models.call(requestTo(model), {
          key: OURS,
          signal: AbortSignal.abort(),
          onDelta: () => undefined,
        });
        await assert.rejects(call, { aborted: true, billed: 'none' });
        assert.equal(fake.ledger.length, 0);
      }));

    it('too slow an answer is given up and may be retried', () =>
      withFake({ behave: () => ({ text: LONG, delayMs: 60_000 }) }, async (fake) => {
        // Long enough for a busy machine to have sent the request.
        const error = await failureOf(modelsAt(fake, 1000), requestTo(model));
        assert.deepEqual([error.retryable, error.billed, error.aborted], [true, 'unknown', false]);
        await until(() => fake.ledger[0]?.closedByClient === true);
      }));

    const statuses: readonly {
      status: number;
      text: string;
      code: string;
      retryable: boolean;
      billed: string;
      headers?: Record<string, string>;
      retryAfterMs?: number;
    }[] = [
      { status: 401, text: `bad key ${KEY}`, code: 'provider_auth', retryable: false, billed: 'none' },
      { status: 403, text: 'no', code: 'provider_auth', retryable: false, billed: 'none' },
      {
        status: 429,
        text: 'slow',
        code: 'provider_error',
        retryable: true,
        billed: 'none',
        headers: { 'retry-after': '7' },
        retryAfterMs: 7000,
      },
      {
        status: 429,
        text: 'slow',
        code: 'provider_error',
        retryable: true,
        billed: 'none',
        headers: { 'retry-after-ms': '250' },
        retryAfterMs: 250,
      },
      // What says nothing of a time is no time: the pause is ours to choose.
      ...[
        { 'retry-after': '-5' },
        { 'retry-after': '1,5' },
        { 'retry-after': '' },
        { 'retry-after-ms': '-1', 'retry-after': 'soon' },
      ].map((headers) => ({
        status: 429,
        text: `slow ${JSON.stringify(headers)}`,
        code: 'provider_error',
        retryable: true,
        billed: 'none',
        headers,
      })),
      {
        status: 429,
        text: 'slow',
        code: 'provider_error',
        retryable: true,
        billed: 'none',
        headers: { 'retry-after-ms': '', 'retry-after': '2' },
        retryAfterMs: 2000,
      },
      { status: 409, text: 'conflict', code: 'provider_error', retryable: true, billed: 'none' },
      { status: 425, text: 'too early', code: 'provider_error', retryable: true, billed: 'none' },
      { status: 500, text: 'oops', code: 'provider_error', retryable: true, billed: 'unknown' },
      { status: 502, text: 'oops', code: 'provider_error', retryable: true, billed: 'unknown' },
      { status: 504, text: 'oops', code: 'provider_error', retryable: true, billed: 'unknown' },
      { status: 408, text: 'oops', code: 'provider_error', retryable: true, billed: 'unknown' },
      { status: 503, text: 'Overloaded', code: 'provider_error', retryable: true, billed: 'none' },
      {
        status: 503,
        text: 'upstream connect error or disconnect/reset before headers',
        code: 'provider_error',
        retryable: true,
        billed: 'unknown',
      },
      { status: 529, text: 'Overloaded', code: 'provider_error', retryable: true, billed: 'none' },
      {
        status: 400,
        text: 'prompt is too long: 210000 tokens > 200000 maximum',
        code: 'context_too_long',
        retryable: false,
        billed: 'none',
      },
      {
        status: 400,
        text: "This model's maximum context length is 128000 tokens",
        code: 'context_too_long',
        retryable: false,
        billed: 'none',
      },
      { status: 400, text: 'temperature: too hot', code: 'provider_error', retryable: false, billed: 'none' },
      { status: 404, text: 'model not found', code: 'provider_error', retryable: false, billed: 'none' },
    ];
    for (const { status, text, headers, retryAfterMs, ...expected } of statuses) {
      it(`HTTP ${status} ${text.slice(0, 40)}: ${expected.code}`, () =>
        withFake(
          { behave: () => ({ status, text, ...(headers === undefined ? {} : { headers }) }) },
          async (fake, models) => {
            const error = await failureOf(models, requestTo(model));
            assert.deepEqual(
              { code: error.code, retryable: error.retryable, billed: error.billed },
              expected,
            );
            assert.equal(error.httpStatus, status);
            assert.equal(error.retryAfterMs, retryAfterMs ?? null);
            assert.ok(!error.message.includes(KEY));
            assert.equal(fake.ledger.length, 1, 'no retry behind our back');
          },
        ));
    }

    for (const status of [301, 302, 307, 308]) {
      it(`a redirect (HTTP ${status}) is not followed, with a key least of all`, () =>
        withFake({}, (elsewhere) =>
          withFake(
            {
              behave: () => ({ status, headers: { location: `${elsewhere.anthropicBaseUrl}/v1/messages` } }),
            },
            async (_, models) => {
              const error = await failureOf(models, requestTo(model));
              assert.deepEqual([error.retryable, error.billed, error.httpStatus], [false, 'none', status]);
              assert.match(error.message, /correct its base URL/);
              assert.deepEqual([elsewhere.ledger.length, elsewhere.pings.length], [0, 0]);
            },
          ),
        ));
    }

    it('a message of the provider is shown short, on one line, without our key', () =>
      withFake(
        { behave: () => ({ status: 400, text: `what\nis ${KEY}${'x'.repeat(5000)}` }) },
        async (_, models) => {
          const { message } = await failureOf(models, requestTo(model));
          assert.ok(message.includes('what is') && !message.includes(KEY) && message.length < 500, message);
        },
      ));

    it('a web page in the place of an answer is said to be one, by its title', async () => {
      const page =
        '<!DOCTYPE html>\n<html><head><title> 404 Not Found </title></head><body>nginx</body></html>';
      const answering = (status: number): ModelPort => {
        const headers = { 'content-type': 'text/html; charset=utf-8' };
        return createModels({
          clock: systemClock,
          fetch: async () => new Response(page, { status, headers }),
        });
      };
      const refused = await failureOf(answering(404), requestTo(model));
      assert.match(
        refused.message,
        /refused the request \(HTTP 404\): a web page answered, not the API \(title "404 Not Found"\): look at the base URL/,
      );
      const broken = await failureOf(answering(200), requestTo(model));
      assert.match(broken.message, /broke off after 0 bytes: .* a web page, so look at the base URL/);
      assert.notEqual(broken.billed, 'none');
    });

    it('a message of megabytes is looked at no further than what is shown of it', () =>
      withFake({ behave: () => ({ status: 400, text: 'eyJ'.repeat(2_000_000) }) }, async (_, models) => {
        const before = process.cpuUsage();
        const { message } = await failureOf(models, requestTo(model));
        assert.ok(message.length < 500);
        // Looked at for secrets, all of it takes half a minute.
        assert.ok(process.cpuUsage(before).user < 10_000_000);
      }));

    it('no server there: certainly nothing billed', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      const address = server.address();
      assert.ok(typeof address === 'object' && address !== null);
      await new Promise((resolve) => server.close(resolve));
      const url = `http://127.0.0.1:${address.port}`;
      const error = await failureOf(
        modelsAt({ anthropicBaseUrl: url, openaiBaseUrl: url }),
        requestTo(model),
      );
      assert.deepEqual([error.retryable, error.billed, error.code], [true, 'none', 'provider_error']);
    });

    it('a server that hangs up without a word: perhaps billed', async () => {
      const server = createServer((socket) => socket.once('data', () => socket.destroy())).listen(
        0,
        '127.0.0.1',
      );
      await new Promise((resolve) => server.once('listening', resolve));
      const address = server.address();
      assert.ok(typeof address === 'object' && address !== null);
      const url = `http://127.0.0.1:${address.port}`;
      const error = await failureOf(
        modelsAt({ anthropicBaseUrl: url, openaiBaseUrl: url }),
        requestTo(model),
      );
      assert.deepEqual([error.retryable, error.billed], [true, 'unknown']);
      await new Promise((resolve) => server.close(resolve));
    });

    it('rubbish in place of an answer is an error, not a crash', () =>
      withFake(
        { behave: () => ({ text: 'x', headers: { 'content-type': 'text/html' }, json: true }) },
        async (_, models) => {
          const error = await failureOf(models, requestTo(model));
          assert.deepEqual([error.code, error.billed], ['provider_error', 'partial']);
        },
      ));
  });
}
