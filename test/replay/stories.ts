import { until } from '@signalbox/local';
import type { System } from '../e2e/stack.ts';
import type { Behave } from '../support/fake-provider/index.ts';

/** Runs worth keeping, each played on a whole system; every one is to go through something that the others do not. */
export type Story = (system: System) => Promise<string>;

const HAIKU = 'anthropic/claude-haiku-4-5';
const MINI = 'openai/gpt-4o-mini';

/** What the provider does where the script of a conversation cannot say it. */
export const behave: Behave = ({ instructions, messages, model }) => {
  if (instructions.includes('#down') && model === 'claude-haiku-4-5')
    return { status: 529, text: 'overloaded' };
  if (instructions.includes('#empty')) return { text: messages.length === 1 ? '' : 'Now I have words.' };
  if (instructions.includes('#cut')) return { text: 'It goes on and', finishReason: 'length' };
  return undefined;
};

const script = (...turns: readonly object[]): string => JSON.stringify({ turns });
const call = (name: string, args: object): object => ({ name, arguments: args });
const sum = (expression: string): object => call('calculator', { expression });

const agent = (spec: object = {}): object => ({
  instructions: 'You are recorded.',
  model: HAIKU,
  tools: ['calculator', 'current_time', 'wait'],
  ...spec,
});

const submit = async ({ api }: System, body: object): Promise<string> =>
  (await api.submit({ agent: agent(), input: 'Say something.', user_id: 'teller', ...body })).id;

const play = async (system: System, body: object): Promise<string> => {
  const id = await submit(system, body);
  await system.api.end(id);
  return id;
};

const fork = async (system: System, origin: string, body: object): Promise<string> => {
  const { json } = await system.api.request(`/v1/runs/${origin}/fork`, { body });
  const id = String(json['id']);
  await system.api.end(id);
  return id;
};

const typesOf = async ({ api }: System, id: string): Promise<string[]> =>
  (await api.events(id)).map(({ type }) => type);

const reached = (system: System, id: string, type: string): Promise<unknown> =>
  until(`${type} of ${id}`, async () => (await typesOf(system, id)).includes(type));

const SIDE_BY_SIDE = script(
  { tool_calls: [sum('6 * 7'), call('current_time', {}), sum('1 / 0')] },
  { text: 'There: {{tool_results}}.' },
);
const SLOW = script({ delay_ms: 1500, tool_calls: [sum('1 + 1')] }, { delay_ms: 1500, text: 'Done slowly.' });

/** Several runs at once, so that whoever is stopped has one in hand; the first that met `type` is told of. */
const amongMany = async (system: System, type: string, disturb: () => Promise<unknown>): Promise<string> => {
  const ids = await Promise.all(Array.from({ length: 6 }, () => submit(system, { input: SLOW })));
  await Promise.all(ids.map((id) => reached(system, id, 'llm.requested')));
  await disturb();
  await Promise.all(ids.map((id) => system.api.end(id)));
  for (const id of ids) if ((await typesOf(system, id)).includes(type)) return id;
  throw new Error(`no run met ${type}`);
};

const lastWorker = ({ stack }: System): number =>
  stack.workers.findLastIndex((worker) => worker.exit() === undefined);

export const STORIES: Readonly<Record<string, Story>> = {
  plain: (system) => play(system, {}),
  'conversation-as-input': (system) =>
    play(system, {
      input: [
        { role: 'user', content: 'Grüße 🚂' },
        { role: 'assistant', content: 'Grüße zurück.' },
        { role: 'user', content: 'Und nun?' },
      ],
      metadata: { order: '17' },
    }),
  'tools-side-by-side': (system) => play(system, { input: SIDE_BY_SIDE }),
  'fallback-after-failures': (system) =>
    play(system, { agent: agent({ instructions: '#down', fallbacks: [MINI] }), input: SIDE_BY_SIDE }),
  'given-up': (system) => play(system, { agent: agent({ instructions: '#down' }) }),
  'nudge-after-empty': (system) => play(system, { agent: agent({ instructions: '#empty' }) }),
  'nudges-in-vain': (system) => play(system, { agent: agent({ instructions: '#cut' }) }),
  loop: (system) => play(system, { input: script({ tool_calls: [sum('1 + 1')] }) }),
  'max-steps': (system) =>
    play(system, {
      input: script({ tool_calls: [sum('1 + 1')] }, { tool_calls: [sum('2 + 2')] }, { text: 'never' }),
      limits: { max_steps: 3 },
    }),
  'unknown-tool': (system) =>
    play(system, {
      input: script({ tool_calls: [call('teleport', {}), sum('not a sum')] }, { text: 'It failed.' }),
    }),
  'timer-wait': (system) =>
    play(system, {
      input: script({ tool_calls: [call('wait', { seconds: 1 }), sum('2 + 2')] }, { text: 'Waited.' }),
    }),
  denied: (system) => play(system, { limits: { cost_usd: 0.0001 } }),
  'lowered-limit': (system) => play(system, { limits: { cost_usd: 0.004 } }),
  'capacity-park': async (system) => {
    const body = { daily_usd: 0.009 };
    await system.api.request('/v1/caps/users/narrow', { method: 'PUT', body });
    const slow = script({ delay_ms: 1500, text: 'First.' });
    const first = await submit(system, { input: slow, user_id: 'narrow' });
    await reached(system, first, 'llm.requested');
    const id = await play(system, { user_id: 'narrow', input: script({ text: 'Second.' }) });
    await system.api.end(first);
    return id;
  },
  'abort-in-flight': async (system) => {
    const id = await submit(system, { input: script({ delay_ms: 20_000, text: 'never' }) });
    await reached(system, id, 'llm.requested');
    await system.api.request(`/v1/runs/${id}/abort`, { body: { reason: 'enough' } });
    await system.api.end(id);
    return id;
  },
  'abort-while-parked': async (system) => {
    const input = script({ tool_calls: [call('wait', { seconds: 600 })] });
    const id = await submit(system, { input });
    await reached(system, id, 'run.parked');
    await system.api.request(`/v1/runs/${id}/abort`, { method: 'POST' });
    await system.api.end(id);
    return id;
  },
  'hand-over': (system) =>
    amongMany(
      system,
      'run.handed_over',
      () => system.stack.workers[lastWorker(system)]?.stop() ?? Promise.resolve(),
    ),
  'crash-and-expired-call': async (system) => {
    await system.stack.startWorker();
    return amongMany(system, 'cost.expired', () => system.stack.killWorker(lastWorker(system)));
  },
  'fork-with-a-given-output': async (system) => {
    const origin = await play(system, { input: SIDE_BY_SIDE });
    const changes = { tool_output: 'forty-two', model: MINI };
    return fork(system, origin, { from_step: 2, changes });
  },
  'fork-of-a-cut-off-answer': async (system) => {
    const input = script({ text: 'It goes on and', finish_reason: 'length' }, { text: 'All of it.' });
    const origin = await play(system, { input, limits: { max_output_tokens: 300, max_steps: 1 } });
    const changes = { limits: { max_output_tokens: 2000, max_steps: 2 } };
    return fork(system, origin, { from_step: 2, changes });
  },
};
