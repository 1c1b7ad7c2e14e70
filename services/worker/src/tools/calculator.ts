import { messageOf } from '@signalbox/runtime';
import jsep from 'jsep';
import { z } from 'zod';
import { type Tool, ToolError } from './tool.ts';

const Arguments = z.strictObject({ expression: z.string().min(1).max(1000) });

const BINARY: Record<string, (a: number, b: number) => number> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '%': (a, b) => a % b,
};

const FUNCTIONS: Record<string, (...args: number[]) => number> = {
  abs: Math.abs,
  ceil: Math.ceil,
  exp: Math.exp,
  floor: Math.floor,
  ln: Math.log,
  log10: Math.log10,
  log2: Math.log2,
  max: Math.max,
  min: Math.min,
  pow: Math.pow,
  round: Math.round,
  sqrt: Math.sqrt,
};

const CONSTANTS: Record<string, number> = { pi: Math.PI, e: Math.E };

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

const call = (node: Node): number => {
  const name = String(nodeOf(node['callee'])['name']);
  const fn = own(FUNCTIONS, name);
  if (fn === undefined) throw unsupported(`the function ${name.slice(0, 40)}`);
  return fn(...(node['arguments'] as unknown[]).map((argument) => evaluate(nodeOf(argument))));
};

const signed = (operator: unknown, value: number): number => {
  if (operator === '-') return -value;
  if (operator === '+') return value;
  throw unsupported(`the sign ${String(operator)}`);
};

const power = (base: Node, exponent: number): number =>
  base.type === 'UnaryExpression'
    ? signed(base['operator'], power(nodeOf(base['argument']), exponent))
    : evaluate(base) ** exponent;

const binary = (node: Node): number => {
  const name = String(node['operator']);
  const left = nodeOf(node['left']);
  const right = evaluate(nodeOf(node['right']));
  if (name === '^' || name === '**') return power(left, right);
  const operator = own(BINARY, name);
  if (operator === undefined) throw unsupported(`the operator ${name}`);
  return operator(evaluate(left), right);
};

const evaluate = (node: Node): number => {
  switch (node.type) {
    case 'Group':
      return evaluate(nodeOf(node['argument']));
    case 'Literal':
      if (typeof node['value'] === 'number') return node['value'];
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

export const calculator: Tool<z.infer<typeof Arguments>> = {
  name: 'calculator',
  description: 'Evaluates an arithmetic expression, for example "(3 + 4) * sqrt(2)".',
  parameters: Arguments,
  timeoutMs: 1000,
  repeatable: () => true,
  inline: true,
  execute: async ({ expression }) => {
    const value = evaluate(parse(expression));
    if (!Number.isFinite(value))
      throw new ToolError('tool_error', `The result is not a finite number: ${value}.`);
    return String(value);
  },
};
