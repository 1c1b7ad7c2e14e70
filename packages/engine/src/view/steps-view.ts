import { type Json, type Step, type SubmissionContent, toUsd } from '@signalbox/contracts';
import { type Contents, nudgeMessages, openingMessages, turnMessages } from '../run/conversation.ts';
import {
  type Attempt,
  lastAttempt,
  type LlmStep,
  type RunState,
  type StepState,
  type ToolStep,
} from '../run/state.ts';

const sum = (attempts: readonly Attempt[], nano: (attempt: Attempt) => number | undefined): number =>
  toUsd(attempts.reduce((total, attempt) => total + (nano(attempt) ?? 0), 0));

const common = (step: StepState) => {
  const attempts: readonly Attempt[] = step.attempts;
  return {
    index: step.step,
    kind: step.kind,
    status: step.status,
    attempts: attempts.length,
    cost_estimate_usd: sum(attempts, (a) => a.hold?.amount_nano),
    cost_observed_usd: sum(attempts, (a) => a.settlement?.observed_nano),
    price_version: attempts.at(-1)?.hold?.price_version ?? null,
    taken_from: attempts[0]?.takenFrom?.run_id ?? null,
    started_at: attempts[0]?.startedAt ?? '',
    finished_at: attempts.at(-1)?.endedAt ?? null,
  };
};

const toolView = (tool: ToolStep, args: Json, contents: Contents | null): Step => {
  const result = contents === null || tool.resultRef === null ? null : contents.result(tool.resultRef);
  return { ...common(tool), name: tool.name, input: args, output: result?.text ?? null, usage: null };
};

const llmView = (step: LlmStep, input: Json, contents: Contents | null): Step => {
  const answer = contents === null || step.outputRef === null ? null : contents.answer(step.outputRef);
  return {
    ...common(step),
    name: lastAttempt(step).model,
    input,
    output: answer === null ? null : { text: answer.text, tool_calls: answer.tool_calls },
    usage: lastAttempt(step).usage,
  };
};

const toolViews = (step: LlmStep, contents: Contents | null): Step[] => {
  const answer = contents === null || step.outputRef === null ? null : contents.answer(step.outputRef);
  return step.tools.map((tool) => {
    const call = answer?.tool_calls.find(({ id }) => id === tool.callId);
    return toolView(tool, call?.arguments ?? null, contents);
  });
};

/** The steps of a run in order. `opened` is null when the caller may not read contents. */
export const stepsView = (
  state: RunState,
  opened: { readonly submission: SubmissionContent; readonly contents: Contents } | null,
): Step[] => {
  const views: Step[] = [];
  const contents = opened?.contents ?? null;
  let added: Json[] = openingMessages(opened?.submission.input ?? []);
  for (const step of state.steps) {
    if (step.kind !== 'llm') continue;
    added.push(...nudgeMessages(lastAttempt(step).nudge));
    views.push(llmView(step, opened === null ? null : added, contents), ...toolViews(step, contents));
    added = contents === null || step.status !== 'completed' ? [] : turnMessages(step, contents);
  }
  return views;
};
