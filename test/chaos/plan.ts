/**
 * What the clients of a chaos run ask for, and how model and tool target answer: from the seed alone, so that a
 * failing seed asks for the same again. Each run has a tag, which is its session id and stands in its instructions.
 */
import type { ToolCall } from '@signalbox/contracts';
import { seeded } from '../e2e/cap-race-plan.ts';
import type { Behave, FakeReply } from '../support/fake-provider/index.ts';

export type Tenant = 'north' | 'south' | 'east';
export const TENANTS: readonly Tenant[] = ['north', 'south', 'east'];

/** `read` and `rewrite` may be repeated after a crash, `write` may not. */
export type Tool = 'calculator' | 'wait' | 'read' | 'write' | 'rewrite';

export interface RunPlan {
  readonly tag: string;
  readonly tenant: Tenant;
  readonly user: string;
  readonly priority: 'high' | 'normal' | 'low';
  /** Tools that each answer but the last asks for. */
  readonly turns: readonly (readonly Tool[])[];
  /** http_request is declared safe to repeat. */
  readonly repeatable: boolean;
  readonly runInMs: number | null;
  /** After it was taken. */
  readonly abortAfterMs: number | null;
  readonly capUsd: number | null;
  readonly maxOutputTokens: number;
}

const MILLI_USD = 1_000_000;
/** Doing every fault once takes about so long. */
const LEAST_SECONDS = 60;
export const MAX_OUTPUT_TOKENS = 2000;

/** The tenant with few runs at once. */
export const CAPPED: Tenant = 'east';
export const MAX_RUNS = 4;

interface Caps {
  readonly daily: number;
  readonly userDaily: number | null;
  readonly maxRuns: number | null;
}

/** `north`: users with little money. `south`: a day with little money. `east`: money, and few runs at once. */
export const capsFor = (seconds: number): Readonly<Record<Tenant, Caps>> => {
  const plenty = 100_000 * MILLI_USD;
  const perSecond = Math.max(seconds, LEAST_SECONDS) * MILLI_USD;
  return {
    north: { daily: plenty, userDaily: 40 * MILLI_USD + 2.5 * perSecond, maxRuns: null },
    south: { daily: 100 * MILLI_USD + 15 * perSecond, userDaily: null, maxRuns: null },
    east: { daily: plenty, userDaily: null, maxRuns: MAX_RUNS },
  };
};

const USERS = 6;
const TOOLS: readonly Tool[] = ['calculator', 'calculator', 'wait', 'read', 'write', 'rewrite'];

/** So little is of `east` that it does not pile up behind its cap. */
const SHARES: readonly Tenant[] = ['north', 'north', 'north', 'south', 'south', 'south', 'east'];

const pick = <T>(random: () => number, from: readonly T[]): T => {
  const chosen = from[Math.floor(random() * from.length)];
  if (chosen === undefined) throw new Error('nothing to choose from');
  return chosen;
};

const chance = (random: () => number, share: number): boolean => random() < share;

/** The n-th run that is asked for. */
export const planRun = (seed: number, n: number): RunPlan => {
  const random = seeded(seed, 'run', n);
  const tenant = pick(random, SHARES);
  const repeatable = chance(random, 0.3);
  const tools = TOOLS.filter((tool) => (tool === 'write' ? !repeatable : tool !== 'rewrite' || repeatable));
  const turns = Array.from({ length: Math.floor(random() * 4) }, () =>
    Array.from({ length: chance(random, 0.25) ? 2 : 1 }, () => pick(random, tools)),
  );
  return {
    tag: `c${seed}-${n}`,
    tenant,
    user: `${tenant}-${Math.floor(random() * USERS)}`,
    priority: pick(random, ['high', 'normal', 'normal', 'low'] as const),
    turns,
    repeatable,
    runInMs: chance(random, 0.08) ? 300 + random() * 1500 : null,
    abortAfterMs: chance(random, 0.12) ? random() * 1200 : null,
    capUsd: chance(random, 0.1) ? 0.02 : null,
    maxOutputTokens: chance(random, 0.5) ? MAX_OUTPUT_TOKENS : 400,
  };
};

/** As it is submitted; `runAt` is decided once, so that a retry is the same request. */
export const bodyOf = (plan: RunPlan, runAt: string | null): object => ({
  agent: {
    instructions: `You are tested. #tag ${plan.tag}`,
    model: 'anthropic/claude-haiku-4-5',
    tools: [
      'calculator',
      'wait',
      plan.repeatable ? { name: 'http_request', repeatable: true } : 'http_request',
    ],
    limits: {
      max_steps: 40,
      max_output_tokens: plan.maxOutputTokens,
      ...(plan.capUsd === null ? {} : { cost_usd: plan.capUsd }),
    },
  },
  input: `Do what you are told. #tag ${plan.tag}`,
  user_id: plan.user,
  session_id: plan.tag,
  priority: plan.priority,
  ...(runAt === null ? {} : { run_at: runAt }),
});

const TAG = /#tag ([\w-]+)/;
export const tagIn = (text: string): string => TAG.exec(text)?.[1] ?? '';

const toolCall = (tool: Tool, url: string, at: { id: string; random: () => number }): ToolCall => {
  const { id, random } = at;
  const call = (name: string, args: object): ToolCall => ({ id, name, arguments: JSON.stringify(args) });
  if (tool === 'calculator') return call('calculator', { expression: `${Math.floor(random() * 1e6)} * 7` });
  if (tool === 'wait') return call('wait', { seconds: Math.round(random() * 20) / 10 });
  return call('http_request', { method: tool === 'read' ? 'GET' : 'POST', url: `${url}/${id}` });
};

const failure = (random: () => number): FakeReply | null => {
  if (!chance(random, 0.08)) return null;
  return pick<FakeReply>(random, [
    { status: 429, text: 'slow down', headers: { 'retry-after': '0' } },
    { status: 500, text: 'we broke' },
    { status: 529, text: 'overloaded' },
    { text: 'this will not arrive in one piece', breakAfterBytes: 400 },
  ]);
};

/** Random delays, usage up to what was promised, and failures; every attempt at a call its own. */
export const behaviour = (seed: number, target: string): Behave => {
  const asked = new Map<string, number>();
  return ({ instructions, messages, maxTokens }) => {
    const tag = tagIn(instructions);
    const plan = planRun(seed, Number(tag.split('-')[1]));
    if (plan.tag !== tag || maxTokens === null) return { status: 400, text: 'not a run of this test' };
    const call = messages.filter(({ role }) => role === 'assistant').length + 1;
    const name = `${tag}/${call}`;
    asked.set(name, (asked.get(name) ?? 0) + 1);
    const random = seeded(seed, 'answer', name, asked.get(name) ?? 0);
    const common = {
      delayMs: 20 + random() * (chance(random, 0.15) ? 1500 : 300),
      chunkDelayMs: random() * 15,
      usage: { input_tokens: 100, output_tokens: 1 + Math.floor(random() * Math.min(maxTokens - 1, 700)) },
      ...(chance(random, 0.04) ? { omitUsage: true } : {}),
    };
    const failed = failure(random);
    if (failed !== null) return { ...common, ...failed };
    const tools = plan.turns[call - 1];
    if (tools === undefined) return { ...common, text: `done: ${tag}` };
    // The same for every attempt: what a run does depends on its plan alone.
    const same = seeded(seed, 'tools', name);
    const calls = tools.map((tool, n) => toolCall(tool, target, { id: `${tag}-${call}-${n}`, random: same }));
    return { ...common, text: 'Let me see.', toolCalls: calls };
  };
};
