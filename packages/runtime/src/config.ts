/**
 * Configuration: environment variables parsed once, at the start, into a value without surprises.
 * Every problem is reported at once, so that an operator corrects them in one go. Values are never repeated (R13).
 */
import type { z } from 'zod';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Exit code EX_CONFIG of sysexits(3): started with a bad configuration. */
const EXIT_BAD_CONFIG = 78;

/** The environment does not fit; the message has one line per problem. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(['bad configuration:', ...problems.map((problem) => `  ${problem}`)].join('\n'));
    this.problems = problems;
  }
}

/**
 * `schema` is a zod object whose keys are the variables' names; other variables are ignored.
 * Space around a value is no part of it: one that came from a file ends with a line end. An empty variable counts as
 * unset. Throws ConfigError.
 */
export function parseEnv<T>(schema: z.ZodType<T>, env: Environment): T {
  const set = Object.fromEntries(
    Object.entries(env)
      .map(([name, value]) => [name, value?.trim()] as const)
      .filter(([, value]) => value !== undefined && value !== ''),
  );
  const result = schema.safeParse(set);
  if (result.success) return result.data;
  throw new ConfigError(result.error.issues.map((issue) => describe(issue, set)));
}

/** For main.ts only: prints the one message to stderr and ends the process with code 78. */
export function loadConfigOrExit<T>(schema: z.ZodType<T>, env: Environment): T {
  try {
    return parseEnv(schema, env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return exitWith(error);
  }
}

/** For main.ts only: ends the process where what its environment names turned out not to be fit. */
export function exitOnProblems(problems: readonly string[]): void {
  if (problems.length > 0) exitWith(new ConfigError(problems));
}

function exitWith(error: ConfigError): never {
  process.stderr.write(`${error.message}\n`);
  return process.exit(EXIT_BAD_CONFIG);
}

function describe(issue: z.core.$ZodIssue, set: Environment): string {
  const expectation = issue.message.replace(/^Invalid (input|option): /, '').replace(/, received \w+$/, '');
  const [variable] = issue.path;
  if (variable === undefined) return expectation;
  const name = String(variable);
  return `${name} is ${set[name] === undefined ? 'missing' : 'malformed'}: ${expectation}`;
}
