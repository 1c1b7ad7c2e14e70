import type { EventDraft } from '@signalbox/contracts';
import { abortReceipt } from '../src/run/abort-receipt.ts';
import { answerDenial } from '../src/run/denial.ts';
import { loopsTripped, modelRequested, succeeded, toolRequested } from '../src/run/announcement.ts';
import type { Action } from '../src/run/action.ts';
import { addedMessages, argsDigest, requestDigest } from '../src/run/request.ts';
import { decideRetry } from '../src/run/retry.ts';
import { lastAttempt } from '../src/run/state.ts';
import { holdOf, llmCompleted, llmFailed, RUN_ID, toolCompleted, toolFailed } from './drafts.ts';
import {
  announce,
  contentsOf,
  digest,
  INPUT,
  type Journey,
  maybeLose,
  record,
  release,
  specOf,
  tick,
} from './journey.ts';

/** The worker of the simulation: what it does with each action of `next`. Announces, acts, records. */
type Of<T extends Action['type']> = Extract<Action, { type: T }>;

const TOKEN_NANO = 10;
const INPUT_NANO = 3000;
const needOf = (maxOutputTokens: number): number => INPUT_NANO + maxOutputTokens * TOKEN_NANO;

/** Leaves the run when the announcement that says so was written. */
const leaveAfter = (journey: Journey, drafts: readonly EventDraft[]): void => {
  if (announce(journey, drafts)) release(journey);
};

/** The output tokens to ask for; null when the run parked or failed instead. */
const findRoom = (journey: Journey, step: number): number | null => {
  const wanted = journey.state.limits.max_output_tokens;
  if (!journey.dice.chance(journey.world.denials)) return wanted;
  const capNano = needOf(journey.dice.below(2 * wanted));
  const heldNano = Math.max(0, capNano - journey.dice.below(needOf(wanted)));
  const scope = { scope: 'tenant_day', capNano, spentNano: 0, heldNano } as const;
  const answer = answerDenial({
    needNano: needOf(wanted),
    scopes: [scope],
    maxOutputTokens: wanted,
    affordable: (roomNano) => Math.max(0, Math.floor((roomNano - INPUT_NANO) / TOKEN_NANO)),
  });
  if (answer.type === 'shrink') return answer.maxOutputTokens;
  if (answer.type === 'park') {
    leaveAfter(journey, [{ type: 'run.parked', data: { reason: 'capacity', until: null } }]);
    return null;
  }
  const { capNano: cap_nano, heldNano: held_nano } = answer.scope;
  const code = 'cost_cap_exceeded';
  const denial = { step, code, scope: 'tenant_day', cap_nano, held_nano } as const;
  leaveAfter(journey, [
    {
      type: 'cost.denied',
      data: { ...denial, spent_nano: 0, need_nano: needOf(wanted), resets_at: null },
    },
    { type: 'run.failed', data: { code, message: 'no room' } },
  ]);
  return null;
};

const ANSWERS = ['empty', 'truncated', 'refusal', 'schema'] as const;

/** The provider answered: a result, whatever it is worth. */
const answered = (journey: Journey, { step, attempt }: Of<'call_model'>, paidNano: number): void => {
  const { dice, world } = journey;
  const kind = dice.chance(world.badAnswers) ? dice.pick(ANSWERS) : 'good';
  const names = ['calculator', 'http_request', 'wait'] as const;
  const wantsTools = dice.chance(world.toolTurns) && kind !== 'refusal' && kind !== 'empty';
  const tool_calls = wantsTools
    ? Array.from({ length: 1 + dice.below(3) }, (_, i) => {
        const id = `call-${step}-${i}`;
        return dice.chance(world.loops)
          ? { id, name: 'calculator', arguments: 'same' }
          : { id, name: dice.pick(names), arguments: id };
      })
    : [];
  const text = kind === 'empty' || wantsTools ? '' : `answer ${step}`;
  const finish = { truncated: 'length', refusal: 'refusal' } as const;
  const draft = llmCompleted(step, {
    attempt,
    tool_calls: tool_calls.map((call) => ({
      call_id: call.id,
      name: call.name,
      args_digest: argsDigest(call, digest),
    })),
    has_text: text !== '',
    output_valid: kind !== 'schema',
    settlement: {
      hold_id: `${RUN_ID}:${step}:${attempt}`,
      observed_nano: paidNano,
      estimated: dice.chance(10),
    },
    ...(kind === 'truncated' || kind === 'refusal' ? { finish_reason: finish[kind] } : {}),
  });
  journey.answers.set(`sha256:output-${step}`, {
    text,
    tool_calls,
  });
  record(journey, [draft]);
};

const callModel = (journey: Journey, action: Of<'call_model'>): void => {
  const { dice, world, state } = journey;
  const { step, attempt, model } = action;
  if (action.notBefore !== null) tick(journey, Math.max(0, Date.parse(action.notBefore) - journey.nowMs));
  const max_output_tokens = findRoom(journey, step);
  if (max_output_tokens === null) return;
  const amount = needOf(max_output_tokens);
  const hold = holdOf(step, attempt, amount);
  const said = { input: INPUT, contents: contentsOf(journey) };
  const request = modelRequested(action, specOf(world), {
    max_output_tokens,
    input_bound: 2000,
    request_digest: requestDigest(state, addedMessages(state, action, said), digest),
    hold,
  });
  if (!announce(journey, [...loopsTripped(state), request])) return;
  tick(journey, dice.below(5000));
  maybeLose(journey);
  journey.abortFlag ||= dice.chance(world.aborts);
  const paidNano = dice.below(amount + 1);
  const settlement = { hold_id: hold.id, observed_nano: paidNano, estimated: false };
  const stopped = journey.abortFlag && dice.chance(70);
  if (!stopped && !dice.chance(world.failures)) return answered(journey, action, paidNano);
  const decision = decideRetry(state, {
    retryable: dice.chance(70),
    awayMs: 0,
    stopped: stopped ? 'for_run' : null,
  });
  const retry_at = decision === 'retry' ? new Date(journey.nowMs + dice.below(2000)).toISOString() : null;
  const code = stopped ? 'aborted' : 'provider_error';
  record(journey, [llmFailed(step, { attempt, model, settlement, decision, retry_at, code })]);
};

/** Runs the calls of one answer side by side: results are committed in the order they arrive. */
const callTools = (journey: Journey, { calls }: Of<'call_tools'>): void => {
  const { dice } = journey;
  const requests = calls.map((call) =>
    toolRequested(journey.state, call, {
      repeatable: call.name === 'calculator',
      // A wait whose arguments were cut off gives an error at once, like any other tool.
      due_at:
        call.name === 'wait' && !call.truncated
          ? new Date(journey.nowMs + dice.below(60_000)).toISOString()
          : null,
    }),
  );
  if (!announce(journey, requests)) return;
  for (const { data } of dice.shuffled(requests)) {
    if (data.due_at !== null) continue;
    tick(journey, dice.below(1000));
    maybeLose(journey);
    journey.abortFlag ||= dice.chance(journey.world.aborts);
    endTool(journey, data, journey.abortFlag ? 'aborted' : dice.chance(20) ? 'tool_error' : null);
  }
};

const argumentsOf = ({ answers }: Journey, callId: string): string => {
  const calls = [...answers.values()].flatMap(({ tool_calls }) => tool_calls);
  return calls.find(({ id }) => id === callId)?.arguments ?? '';
};

const endTool = (
  journey: Journey,
  { step, call_id, attempt }: { readonly step: number; readonly call_id: string; readonly attempt: number },
  code: string | null,
): void => {
  const text = `result of ${argumentsOf(journey, call_id)}`;
  journey.results.set(`sha256:result-${step}`, { text, is_error: code !== null });
  const draft =
    code === null ? toolCompleted(step, call_id, attempt) : toolFailed(step, call_id, attempt, code);
  // A draft pairs type and data, and the spread keeps the pair.
  record(journey, [{ ...draft, data: { ...draft.data, result_digest: digest(text) } } as EventDraft]);
};

const expireCall = (journey: Journey, { step }: Of<'expire_call'>): void => {
  const { attempt, model, hold } = lastAttempt(step);
  const settlement = {
    hold_id: `${RUN_ID}:${step.step}:${attempt}`,
    observed_nano: hold?.amount_nano ?? 0,
    estimated: true,
  };
  record(journey, [{ type: 'cost.expired', data: { step: step.step, attempt, model, settlement } }]);
};

const park = (journey: Journey, { reason, until }: Of<'park'>): void => {
  journey.wakeAtMs = until === null ? 0 : Date.parse(until);
  leaveAfter(journey, [{ type: 'run.parked', data: { reason, until } }]);
};

const abort = (journey: Journey): void =>
  record(journey, [{ type: 'run.aborted', data: abortReceipt(journey.state) }]);

const isStep = (action: Action): boolean => action.type === 'call_model' || action.type === 'call_tools';

export const performAction = (journey: Journey, action: Action): void => {
  if (isStep(action) && journey.dice.chance(journey.world.handOvers)) {
    return leaveAfter(journey, [{ type: 'run.handed_over', data: { reason: 'drain' } }]);
  }
  switch (action.type) {
    case 'call_model':
      return callModel(journey, action);
    case 'call_tools':
      return callTools(journey, action);
    case 'end_wait':
      for (const tool of action.steps) {
        endTool(journey, { step: tool.step, call_id: tool.callId, attempt: lastAttempt(tool).attempt }, null);
      }
      return;
    case 'expire_call':
      return expireCall(journey, action);
    case 'park':
      return park(journey, action);
    case 'succeed':
      return leaveAfter(journey, [succeeded(journey.state)]);
    case 'fail':
      return leaveAfter(journey, [
        {
          type: 'run.failed',
          data: {
            code: action.code,
            message: action.message,
            ...(action.failedStep === undefined ? {} : { step: action.failedStep }),
          },
        },
      ]);
    case 'abort':
      return abort(journey);
    case 'none':
      throw new Error('a run that ended has no owner');
  }
};
