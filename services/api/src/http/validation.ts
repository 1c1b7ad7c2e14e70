import { type FieldProblem, type Json, SignalboxError } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import type { z } from 'zod';
import type { ApiContext } from '../deps.ts';

/** Turns what zod says into the errors of a problem, and reads bodies. */

const MAX_PROBLEMS = 20;
/** Far above any honest request, far below what exhausts the call stack. */
const MAX_DEPTH = 100;

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

const textOf = (message: string): string =>
  message
    .replace(/^Invalid (input|option|string): /, '')
    .replace(/^(expected .*), received undefined$/, 'missing, $1');

const NO_FORM = 'fits none of the accepted forms';

/** Of a value whose very type no branch takes: which types they do. */
const typesOf = (branches: readonly (readonly Issue[])[]): string => {
  const firsts = branches.map(([first]) => first);
  const types = firsts.flatMap((issue) => (issue?.code === 'invalid_type' ? [issue.expected] : []));
  const received = /, received \w+$/.exec(firsts[0]?.message ?? '')?.[0];
  if (received === undefined || types.length < branches.length) return NO_FORM;
  return textOf(`expected ${types.join(' or ')}${received}`);
};

const messageOf = (issue: Issue): string => {
  if (issue.code === 'invalid_union') return typesOf(issue.errors);
  if (issue.code === 'invalid_key') return `of this name: ${textOf(issue.issues[0]?.message ?? '')}`;
  return textOf(issue.message);
};

/** Of a union, the one branch that the value was meant for: the others refuse its very type, or all but some values. */
const meantBranch = (branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined => {
  const without = (refusal: Issue['code'], among: typeof branches): typeof branches =>
    among.filter((issues) => !issues.some(({ code, path }) => code === refusal && path.length === 0));
  const ofItsType = without('invalid_type', branches);
  const meant = ofItsType.length > 1 ? without('invalid_value', ofItsType) : ofItsType;
  return meant.length === 1 ? meant[0] : undefined;
};

/** One after the other: of very many, none is made but those that are told. */
function* problemsOf(issues: readonly Issue[], at: Path): Generator<FieldProblem> {
  let mistyped: string | null = null;
  for (const issue of issues) {
    const path = [...at, ...issue.path];
    // zod goes on to measure what is of another type: a text in the place of a list has too many signs for one.
    if (mistyped === path.join('.')) continue;
    mistyped = issue.code === 'invalid_type' ? path.join('.') : null;
    const branch = issue.code === 'invalid_union' ? meantBranch(issue.errors) : undefined;
    if (branch !== undefined) {
      yield* problemsOf(branch, path);
    } else if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys) yield { path: [...path, key].join('.'), message: 'unknown field' };
    } else {
      yield { path: path.join('.'), message: messageOf(issue) };
    }
  }
}

export const invalidRequest = (errors: readonly FieldProblem[]): SignalboxError => {
  const first = errors[0];
  const where = first === undefined || first.path === '' ? '' : `${first.path}: `;
  return new SignalboxError('invalid_request', `${where}${first?.message ?? 'the request does not fit'}`, {
    errors,
  });
};

export const invalidFromZod = (error: { readonly issues: readonly Issue[] }): SignalboxError => {
  const told: FieldProblem[] = [];
  for (const problem of problemsOf(error.issues, [])) {
    if (told.push(problem) === MAX_PROBLEMS) break;
  }
  return invalidRequest(told);
};

/** Throws `invalid_request` naming the first fields that do not fit. */
export const parseAs = <S extends z.ZodType>(schema: S, value: unknown): z.output<S> => {
  const result = schema.safeParse(value);
  if (!result.success) throw invalidFromZod(result.error);
  return result.data;
};

/** zod's records and JSON leave it out without a word. */
const DROPPED = '__proto__';

/** The first name that is another one too, once what no store can hold is replaced in both; undefined: there is none. */
const mergedName = (names: readonly string[]): string | undefined => {
  if (names.every((name) => wellFormed(name) === name)) return undefined;
  const kept = new Set<string>();
  return names.find((name) => kept.size === kept.add(wellFormed(name)).size);
};

interface Fault {
  readonly path: readonly string[];
  readonly message: string;
}

/**
 * What no schema may see; null: nothing. Its path is made on the way back, so that looking costs no more than walking.
 */
const faultIn = (value: unknown, levels: number): Fault | null => {
  if (typeof value !== 'object' || value === null) return null;
  if (levels === 0) return { path: [], message: `nested deeper than ${MAX_DEPTH} levels` };
  if (Object.hasOwn(value, DROPPED)) return { path: [DROPPED], message: 'a name that cannot be kept' };
  const merged = Array.isArray(value) ? undefined : mergedName(Object.keys(value));
  if (merged !== undefined) return { path: [merged], message: 'would become the same name as another' };
  for (const [index, item] of Object.values(value).entries()) {
    const fault = faultIn(item, levels - 1);
    if (fault !== null) return { ...fault, path: [Object.keys(value)[index] ?? '', ...fault.path] };
  }
  return null;
};

const parseJson = (c: ApiContext, text: string): Json => {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (cause) {
    const hint = c.req.header('content-encoding') === undefined ? '' : ' Send it without Content-Encoding.';
    throw new SignalboxError('invalid_json', `The body is not JSON.${hint}`, { cause });
  }
  const fault = faultIn(value, MAX_DEPTH);
  if (fault === null) return value;
  throw invalidRequest([{ path: fault.path.join('.'), message: fault.message }]);
};

/** The body as it came and as the schema reads it. Throws `invalid_json`, `invalid_request`. */
export const readBody = async <S extends z.ZodType>(
  c: ApiContext,
  schema: S,
): Promise<{ raw: Json; body: z.output<S> }> => {
  const raw = parseJson(c, await c.req.text());
  return { raw, body: parseAs(schema, raw) };
};

/** The same where no body at all means an empty object. */
export const readOptionalBody = async <S extends z.ZodType>(
  c: ApiContext,
  schema: S,
): Promise<z.output<S>> => {
  const text = await c.req.text();
  return parseAs(schema, text.trim() === '' ? {} : parseJson(c, text));
};

/** What zod-openapi calls with the outcome of checking a path or a query. */
export const onParameters = (
  result: { target: string } & ({ success: true } | { success: false; error: z.ZodError }),
  c: Pick<ApiContext, 'req'>,
): void => {
  if (result.success) return;
  const invalid = invalidFromZod(result.error);
  // A malformed id names nothing, like an unknown one.
  if (result.target === 'param') {
    throw new SignalboxError('not_found', `There is nothing at this address: ${invalid.message}.`);
  }
  const repeated = Object.entries(c.req.queries()).filter(([, values]) => values.length > 1);
  if (repeated.length === 0) throw invalid;
  throw invalidRequest(
    repeated.slice(0, MAX_PROBLEMS).map(([path]) => ({ path, message: 'given more than once' })),
  );
};
