import assert from 'node:assert/strict';

/**
 * Text long enough that work which grows with its square takes minutes: with a new start at each repetition of the unit
 * that each time reads to the end, 8e10 steps.
 */
const STEPS_IF_QUADRATIC = 8e10;
/**
 * Ten times what the slowest linear pattern takes. Of this process's CPU time, so that what else the machine does adds
 * nothing.
 */
const LIMIT_SECONDS = 30;

/** Asserts that the time of `work` grows with the text, not with its square, on repetitions of `unit`. */
export const assertLinear = (unit: string, work: (text: string) => unknown): void => {
  const text = unit.repeat(Math.ceil(Math.sqrt((2 * STEPS_IF_QUADRATIC) / unit.length)));
  const before = process.cpuUsage();
  work(text);
  const { user, system } = process.cpuUsage(before);
  const seconds = (user + system) / 1e6;
  assert.ok(seconds < LIMIT_SECONDS, `${text.length} characters took ${seconds} s of CPU time`);
};
