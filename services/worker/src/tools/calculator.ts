import { messageOf } from '@signalbox/runtime';
import { Decimal } from 'decimal.js';
import jsep from 'jsep';
import { z } from 'zod';
import { type Tool, ToolError } from './tool.ts';

const Arguments = z.strictObject({ expression: z.string().min(1).max(1000) });

/**
 * Decimal, so that sums of money and long integers are exact, where a double's are not. Logarithms and powers that are
 * no integer are computed as doubles, and what a double cannot hold is not finite: so no expression takes long.
 */

const Exact = Decimal.clone({ precision: 40, maxE: 308, minE: -324 });
type Exact = InstanceType<typeof Exact>;

const NOT_A_NUMBER = new Exact(Number.NaN);

const ofOne =
  (f: (value: Exact) => Exact) =>
  (value: Exact = NOT_A_NUMBER): Exact =>
    f(value);

const asDouble = (f: (value: number) => number): ((value?: Exact) => Exact) =>
  ofOne((value) => new Exact(f(value.toNumber())));

const pow = (base: Exact, exponent: Exact): Exact =>
  exponent.isInteger() ? base.pow(exponent) : new Exact(base.toNumber() ** exponent.toNumber());

const BINARY: Record<string, (a: Exact, b: Exact) => Exact> = {
  '+': (a, b) => a.plus(b),
  '-': (a, b) => a.minus(b),
  '*': (a, b) => a.times(b),
  '/': (a, b) => a.div(b),
  '%': (a, b) => a.mod(b),
};

const FUNCTIONS: Record<string, (...args: Exact[]) => Exact> = {
  abs: ofOne((value) => value.abs()),
  ceil: ofOne((value) => value.ceil()),
  exp: asDouble(Math.exp),
  floor: ofOne((value) => value.floor()),
  ln: asDouble(Math.log),
  log10: asDouble(Math.log10),
  log2: asDouble(Math.log2),
  max: (first = NOT_A_NUMBER, ...others) => Exact.max(first, ...others),
  min: (first = NOT_A_NUMBER, ...others) => Exact.min(first, ...others),
  pow: (base = NOT_A_NUMBER, exponent = NOT_A_NUMBER) => pow(base, exponent),
  round: ofOne((value) => value.round()),
  sqrt: ofOne((value) => value.sqrt()),
};

const CONSTANTS: Record<string, Exact> = { pi: Exact.acos(-1), e: Exact.exp(1) };

// `^` means power here, as people write it, and binds like `**`.
jsep.addBinaryOp('^', 11, true);
jsep.addBinaryOp('**', 11, true);

// A power binds tighter than a sign before it: -2^2 is -4, but (-2)^2 is 4. jsep drops parentheses, so keep them.
const OPENING = '('.charCodeAt(0);
jsep.hooks.add('gobble-token', function (env) {
  if (this.code !== OPENING) return;
  const argument = this.gobbleGroup();
  if (!argument) this.throwError('Nothing between parentheses');
  env.node = { type: 'Group', argument };
});

const own = <T>(table: Record<string, T>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

const unsupported = (what: string): ToolError =>
  new ToolError(
    'invalid_arguments',
    `The calculator does not know ${what}. It knows numbers, + - * / % ^, parentheses, ${Object.keys(FUNCTIONS).join(', ')}, pi and e.`,
  );

interface Node {
  readonly type: string;
  readonly [key: string]: unknown;
}

const nodeOf = (value: unknown): Node => value as Node;

const call = (node: Node): Exact => {
  const name = String(nodeOf(node['callee'])['name']);
  const fn = own(FUNCTIONS, name);
  if (fn === undefined) throw unsupported(`the function ${name.slice(0, 40)}`);
  return fn(...(node['arguments'] as unknown[]).map((argument) => evaluate(nodeOf(argument))));
};

const signed = (operator: unknown, value: Exact): Exact => {
  if (operator === '-') return value.neg();
  if (operator === '+') return value;
  throw unsupported(`the sign ${String(operator)}`);
};

const power = (base: Node, exponent: Exact): Exact =>
  base.type === 'UnaryExpression'
    ? signed(base['operator'], power(nodeOf(base['argument']), exponent))
    : pow(evaluate(base), exponent);

const binary = (node: Node): Exact => {
  const name = String(node['operator']);
  const left = nodeOf(node['left']);
  const right = evaluate(nodeOf(node['right']));
  if (name === '^' || name === '**') return power(left, right);
  const operator = own(BINARY, name);
  if (operator === undefined) throw unsupported(`the operator ${name}`);
  return operator(evaluate(left), right);
};

const evaluate = (node: Node): Exact => {
  switch (node.type) {
    case 'Group':
      return evaluate(nodeOf(node['argument']));
    case 'Literal':
      // As it was written: its value is a double already.
      if (typeof node['value'] === 'number') return new Exact(String(node['raw']));
      throw unsupported('text');
    case 'Identifier': {
      const constant = own(CONSTANTS, String(node['name']));
      if (constant === undefined) throw unsupported(`the name ${String(node['name']).slice(0, 40)}`);
      return constant;
    }
    case 'UnaryExpression':
      return signed(node['operator'], evaluate(nodeOf(node['argument'])));
    case 'BinaryExpression':
      return binary(node);
    case 'CallExpression':
      return call(node);
    default:
      throw unsupported('this kind of expression');
  }
};

const parse = (expression: string): Node => {
  try {
    return nodeOf(jsep(expression));
  } catch (error) {
    throw new ToolError('invalid_arguments', `Not an expression: ${messageOf(error)}`);
  }
};

/** Of what has no end, as many as a double has: nobody means more. */
const ENDLESS_DIGITS = 16;

const shown = (value: Exact): string => {
  if (value.isInteger() && value.precision(true) <= Exact.precision) return value.toFixed();
  const hasEnd = value.precision() < Exact.precision;
  return (hasEnd ? value : value.toSignificantDigits(ENDLESS_DIGITS)).toString();
};

export const calculator: Tool<z.infer<typeof Arguments>> = {
  name: 'calculator',
  description: 'Evaluates an arithmetic expression, for example "(3 + 4) * sqrt(2)".',
  parameters: Arguments,
  timeoutMs: 1000,
  repeatable: () => true,
  inline: true,
  execute: async ({ expression }) => {
    const value = evaluate(parse(expression));
    if (!value.isFinite())
      throw new ToolError('tool_error', `The result is not a finite number: ${value.toString()}.`);
    return shown(value);
  },
};
