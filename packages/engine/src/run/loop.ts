import type { LlmStep, RunState, ToolStep } from './state.ts';

/**
 * Loop detection: the same tool with the same arguments and the same result, over and over. Part of `fold`.
 * Calls count in call order, so those of one answer count too, whatever order their results arrived in.
 */

/** Equal calls in a row after which the model is warned, and, once warned of that call, the run fails. */
export const LOOP_LENGTH = 3;

/** Digests are HMACs under the run's key: equal exactly when the texts are. */
const keyOf = ({ name, argsDigest, resultDigest }: ToolStep): string =>
  JSON.stringify([name, argsDigest, resultDigest]);

/** Looks at the calls of an answer once all of them have a result. */
export const seeToolResults = (state: RunState, { tools }: LlmStep): void => {
  for (const tool of tools) {
    const key = keyOf(tool);
    state.row = { key, length: state.row.key === key ? state.row.length + 1 : 1 };
    if (state.row.length < LOOP_LENGTH) continue;
    const warned = state.warnedOf.includes(key);
    const known = state.loops.some((loop) => loop.key === key);
    if (!known) state.loops.push({ key, step: tool.step, name: tool.name, warned });
  }
};

/** The model is told, once for each call it repeats. */
export const warnOfLoops = (state: RunState): void => {
  state.warnedOf.push(...state.loops.map(({ key }) => key));
  state.loops = [];
};
