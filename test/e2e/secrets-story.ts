/** What submitters, models, tools and operators say in the proof. */
import assert from 'node:assert/strict';
import { waitFor } from '@signalbox/local';
import { KNOWN_FORMS } from '../support/leaks/index.ts';
import { type ApiClient, createClient } from './client.ts';
import { allFrames } from './sse-reader.ts';
import { fields, type Scene, type World } from './secrets-world.ts';

const DONE = { text: 'done' };
const call = (id: string, name: string, args: unknown) => ({
  id,
  name,
  arguments: typeof args === 'string' ? args : JSON.stringify(args),
});

/** Three answers full of them, with calls that succeed, are refused, break off and throw. */
const talkative =
  ({ plants, toolHost }: World): Scene =>
  (_, turn) => {
    const text = plants.text(`answer ${turn + 1}`);
    if (turn === 0) {
      const sent = fields(plants, 'tool body');
      const [name] = plants.plant('name of a tool there is not', ['email']);
      const [callId, requestId] = plants.plant('ids by the provider', ['slack token', 'anthropic key']);
      return {
        text,
        headers: { 'request-id': requestId?.text ?? '', 'x-request-id': requestId?.text ?? '' },
        toolCalls: [
          call('a1', 'http_request', {
            method: 'POST',
            url: `http://${toolHost}/told?q=${encodeURIComponent(plants.text('tool query'))}`,
            headers: { authorization: plants.text('tool header', ['anthropic key']) },
            body: JSON.stringify(sent),
          }),
          call(callId?.text ?? '', 'http_request', { url: `http://${toolHost}/fails` }),
          call('a3', 'calculator', { expression: plants.text('expression', ['sentence', 'email']) }),
          call('a4', name?.core.toString() ?? '', { any: plants.text('its arguments') }),
        ],
      };
    }
    if (turn > 1) return { text };
    const [password] = plants.plant('url of a tool call', ['url password']);
    const user = password?.core.toString() ?? '';
    return {
      text,
      toolCalls: [
        call('b1', 'http_request', { url: `http://${user}:${user}@${toolHost}/throws` }),
        call('b2', 'http_request', { url: `http://${toolHost}/cut` }),
        call('b3', 'http_request', `{"broken": "${plants.text('arguments that are no JSON', ['sentence'])}`),
        call('b4', 'http_request', fields(plants, 'arguments that do not fit')),
      ],
    };
  };

const TOOLS = ['http_request', 'calculator'];

const submission = ({ plants }: World, agent: object | string, place: string) => ({
  agent,
  input: [
    { role: 'user', content: plants.text(`${place}: question`) },
    { role: 'assistant', content: plants.text(`${place}: answer`) },
    { role: 'user', content: plants.text(`${place}: input`) },
  ],
  metadata: fields(plants, `${place}: metadata`),
});

/** A named agent on one provider and an inline one on the other, each watched as it goes. */
export const tellStories = async (world: World, agentName: string): Promise<string[]> => {
  const { system, plants } = world;
  const { api } = system;
  const output_schema = { description: plants.text('output schema') };
  const named = world.agent('named', talkative(world), { tools: TOOLS });
  assert.equal((await api.request(`/v1/agents/${agentName}`, { method: 'PUT', body: named })).status, 201);
  const other = world.agent('inline', talkative(world), { tools: TOOLS, model: 'openai/gpt-4o-mini' });
  const third = world.agent('schema', () => DONE, { output_schema, limits: { max_steps: 2 } });
  const ids: string[] = [];
  for (const [place, agent] of Object.entries({ run: agentName, 'other run': other, 'erased run': third })) {
    const key = plants.text('Idempotency-Key', ['anthropic key']);
    const { id } = await api.submit(submission(world, agent, place), { 'idempotency-key': key });
    ids.push(id);
  }
  await Promise.all(ids.map((runId) => allFrames(api, { runId })));
  return ids;
};

/** What a person types besides: reasons and names. Returns the run that was aborted. */
export const operate = async (world: World, ended: string): Promise<string[]> => {
  const { system, plants } = world;
  const { api } = system;
  const hanging = world.agent('hanging', () => ({
    text: plants.text('answer of an aborted run'),
    delayMs: 60_000,
  }));
  const known = (place: string): string => plants.text(place, KNOWN_FORMS);
  const { id } = await api.submit({ agent: hanging, input: plants.text('input of an aborted run') });
  const later = {
    agent: hanging,
    input: plants.text('input of a run that waits'),
    run_at: '2099-01-01T00:00:00Z',
  };
  const waiting = await api.submit({ ...later, user_id: 'u-waits' });
  const filter = { filter: { user_id: 'u-waits' }, reason: known('reason of many aborts') };
  const orders: [string, string, object?][] = [
    ['POST', `/v1/runs/${id}/abort`, { reason: known('abort reason') }],
    ['POST', '/v1/runs/abort', filter],
    ['PUT', `/v1/runs/${ended}/legal-hold`, { held: true, reason: known('hold reason') }],
    ['PUT', `/v1/runs/${ended}/legal-hold`, { held: false, reason: known('reason to lift') }],
    ['PUT', '/v1/legal-hold', { held: true, reason: known('hold reason of all') }],
    ['PUT', '/v1/legal-hold', { held: false }],
    ['DELETE', `/v1/runs/${ended}/content?reason=${encodeURIComponent(known('erasure reason'))}`],
    [
      'POST',
      '/v1/keys',
      { name: plants.text('key name', ['email', 'anthropic key']), scopes: ['runs:read'] },
    ],
  ];
  for (const [method, path, body] of orders) {
    const { status } = await api.request(path, { method, ...(body === undefined ? {} : { body }) });
    assert.ok(status < 300, `${method} ${path.slice(0, 60)}: ${status}`);
  }
  return [id, waiting.id];
};

export const forkStory = async (world: World, origin: string): Promise<string[]> => {
  const { plants, system } = world;
  const changes = [
    {
      from_step: 1,
      changes: { input: plants.text('fork: input'), instructions: plants.text('fork: instructions') },
    },
    { from_step: 2, changes: { tool_output: plants.text('fork: tool output'), limits: { max_steps: 3 } } },
  ];
  const ids: string[] = [];
  for (const body of changes) {
    const { status, json } = await system.api.request(`/v1/runs/${origin}/fork`, { body });
    assert.equal(status, 202, JSON.stringify(json));
    ids.push(String(json['id']));
  }
  return ids;
};

interface Replayed {
  readonly status: string;
  readonly forks: readonly { readonly fork_run_id: string }[];
}

/** A paid replay of what the first agent was asked, with other words; returns the forks it made. */
export const replayStory = async ({ plants, system: { api } }: World, agent: string): Promise<string[]> => {
  const headers = { 'idempotency-key': plants.text('Idempotency-Key of a replay', ['anthropic key']) };
  const changes = { instructions: plants.text('replay: instructions') };
  const body = { filter: { agent }, changes, mode: 'paid', max_cost_usd: 5 };
  const { status, json } = await api.request('/v1/replays', { body, headers });
  assert.equal(status, 202, JSON.stringify(json));
  const look = async (): Promise<Replayed | undefined> => {
    const { json: job } = await api.request(`/v1/replays/${String(json['id'])}`);
    return job['status'] === 'done' ? (job as unknown as Replayed) : undefined;
  };
  const { forks } = await waitFor(look, { what: 'the end of the replay', timeoutMs: 30_000 });
  assert.ok(forks.length > 0);
  return forks.map(({ fork_run_id }) => fork_run_id);
};

/** A key that may not read contents, and everything it can get. */
export const auditor = async ({ system, plants }: World): Promise<ApiClient> => {
  const body = { name: 'auditor', scopes: ['runs:read', 'audit:read'] };
  const { status, json } = await system.api.request('/v1/keys', { body });
  assert.equal(status, 201);
  const secret = String(json['secret']);
  plants.hold('API key', secret);
  return createClient(system.api.url, secret);
};
