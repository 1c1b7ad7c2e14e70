import type { Divergence, EventOf, Event } from '@signalbox/contracts';
import type { CallModel } from '../run/action.ts';
import { loopsTripped, modelRequested, toolRequested } from '../run/announcement.ts';
import { actionSummary, modelSummary, sameJson, toolsSummary } from './divergence.ts';
import { next } from '../run/next.ts';
import type { ReplayPoint } from './replay-point.ts';
import { addedMessages, argsDigest, requestDigest } from '../run/request.ts';
import { lastAttempt } from '../run/state.ts';

/** What the recorded calls, and what came of them, are compared with. */

/** Events of one type that stand in a row from this point on. */
const inARow = <T extends Event['type']>({ events, index }: ReplayPoint, type: T): EventOf<T>[] => {
  const behind = events.slice(index);
  const end = behind.findIndex((event) => event.type !== type);
  return (end < 0 ? behind : behind.slice(0, end)) as EventOf<T>[];
};

const digestOf = ({ state, recording }: ReplayPoint, call: Pick<CallModel, 'step' | 'nudge'>): string =>
  requestDigest(state, addedMessages(state, call, recording), recording.digest);

/** The steps whose loops were told of in the same write as this call. */
const trippedBefore = ({ events, index }: ReplayPoint): number[] => {
  const steps: number[] = [];
  for (let at = index - 1; at >= 0; at -= 1) {
    const event = events[at];
    if (event?.type !== 'guardrail.tripped' || event.data.name !== 'loop') break;
    steps.unshift(event.data.step ?? 0);
  }
  return steps;
};

const FIELDS = ['nudge', 'request_digest', 'tools', 'temperature', 'max_output_tokens'] as const;

/** A limit that was lowered to fit under a cap stays low; else it is the run's. */
const outputLimit = ({ events, state }: ReplayPoint, recorded: number): number => {
  const [first] = events;
  const allowed = first?.type === 'run.submitted' ? first.data.limits.max_output_tokens : recorded;
  const { max_output_tokens } = state.limits;
  return recorded < allowed ? Math.min(recorded, max_output_tokens) : max_output_tokens;
};

function* request(
  at: ReplayPoint,
  { data }: EventOf<'llm.requested'>,
  action: CallModel,
): Iterable<Divergence> {
  const { data: today } = modelRequested(action, at.recording.spec, {
    max_output_tokens: outputLimit(at, data.max_output_tokens),
    input_bound: data.input_bound,
    request_digest: digestOf(at, action),
    hold: data.hold,
  });
  const field = FIELDS.find((name) => !sameJson(data[name], today[name]));
  if (field === undefined) return;
  yield {
    step: data.step,
    kind: 'request',
    expected: { [field]: data[field] },
    got: { [field]: today[field] },
  };
}

function* takenRequest(at: ReplayPoint, { data }: EventOf<'llm.requested'>): Iterable<Divergence> {
  const got = digestOf(at, data);
  if (got === data.request_digest) return;
  const expected = { request_digest: data.request_digest };
  yield { step: data.step, kind: 'request', expected, got: { request_digest: got } };
}

export function* modelCall(at: ReplayPoint, event: EventOf<'llm.requested'>): Iterable<Divergence> {
  const { data } = event;
  if (data.taken_from !== undefined) return yield* takenRequest(at, event);
  const action = next(at.state);
  const { step } = data;
  if (action.type !== 'call_model' || action.step !== step || action.attempt !== data.attempt) {
    yield { step, kind: 'action', expected: modelSummary(data), got: actionSummary(action) };
    return;
  }
  if (action.model !== data.model) yield { step, kind: 'model', expected: data.model, got: action.model };
  const expected = trippedBefore(at);
  const got = loopsTripped(at.state).map(({ data: { step: looping } }) => looping);
  if (!sameJson(expected, got))
    yield { step, kind: 'action', expected: { loops: expected }, got: { loops: got } };
  yield* request(at, event, action);
}

const callsOf = (at: ReplayPoint): EventOf<'tool.requested'>['data'][] =>
  inARow(at, 'tool.requested').map(({ data }) => data);

/** All calls of an answer are announced in one write, so they are compared at the first of them. */
export function* toolCalls(at: ReplayPoint, { data }: EventOf<'tool.requested'>): Iterable<Divergence> {
  if (data.taken_from !== undefined) return;
  const before = at.events[at.index - 1];
  if (before?.type === 'tool.requested' && before.data.taken_from === undefined) return;
  const action = next(at.state);
  const recorded = callsOf(at);
  const [expected, got] = [toolsSummary(recorded), actionSummary(action)];
  if (action.type !== 'call_tools' || !sameJson(expected, got)) {
    yield { step: data.step, kind: action.type === 'call_tools' ? 'tool' : 'action', expected, got };
    return;
  }
  for (const [index, call] of action.calls.entries()) {
    const told = recorded[index] ?? data;
    const today = toolRequested(at.state, call, told).data.idempotency_key;
    if (told.idempotency_key === today) continue;
    yield { step: told.step, kind: 'tool', expected: told.idempotency_key, got: today };
  }
}

export function* answer(
  { recording }: ReplayPoint,
  { data, refs }: EventOf<'llm.completed'>,
): Iterable<Divergence> {
  const ref = refs['output'];
  if (ref === undefined) return;
  const { text, tool_calls } = recording.contents.answer(ref);
  const expected = {
    has_text: data.has_text,
    tool_calls: data.tool_calls.map(({ call_id, args_digest }) => ({ call_id, args_digest })),
  };
  const got = {
    has_text: text.trim() !== '',
    tool_calls: tool_calls.map((call) => ({
      call_id: call.id,
      args_digest: argsDigest(call, recording.digest),
    })),
  };
  if (!sameJson(expected, got)) yield { step: data.step, kind: 'content', expected, got };
}

/** The result of a `wait` is the engine's own doing; every other came from a tool. */
function* waitEnd({ state }: ReplayPoint, { data }: EventOf<'tool.completed'>): Iterable<Divergence> {
  const step = state.steps[data.step - 1];
  if (step?.kind !== 'tool' || step.dueAt === null || lastAttempt(step).takenFrom !== null) return;
  const action = next(state);
  if (action.type === 'end_wait' && action.steps.includes(step)) return;
  const expected = { type: 'end_wait', steps: [data.step] };
  yield { step: data.step, kind: 'action', expected, got: actionSummary(action) };
}

export function* result(
  at: ReplayPoint,
  event: EventOf<'tool.completed'> | EventOf<'tool.failed'>,
): Iterable<Divergence> {
  const { data, refs } = event;
  const ref = refs['result'];
  if (event.type === 'tool.completed') yield* waitEnd(at, event);
  if (ref === undefined) return;
  const { contents, digest } = at.recording;
  const got = digest(contents.result(ref).text);
  if (got !== data.result_digest)
    yield { step: data.step, kind: 'content', expected: data.result_digest, got };
}
