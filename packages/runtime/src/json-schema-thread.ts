/**
 * The thread of json-schema-process.ts: answers each question with one message, in order; the first one says that it is there.
 */
import { parentPort } from 'node:worker_threads';
import { Ajv, type ValidateFunction } from 'ajv';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { LRUCache } from 'lru-cache';
import type { SchemaQuestion, SchemaVerdict } from './json-schema.ts';
import { messageOf } from './message-of.ts';

const MOST_COMPILED = 64;
const OPTIONS = { strict: false, logger: false } as const;

/**
 * By the dialect it names; without one it is of the latest. An `Ajv` keeps what it compiled, so each schema has its
 * own.
 */
const ajvOf = (dialect: unknown): Ajv => {
  if (typeof dialect !== 'string') return new Ajv2020(OPTIONS);
  if (/draft-0[67]/.test(dialect)) return new Ajv(OPTIONS);
  return dialect.includes('2019-09') ? new Ajv2019(OPTIONS) : new Ajv2020(OPTIONS);
};

const compile = (text: string): ValidateFunction => {
  const schema = JSON.parse(text) as Readonly<Record<string, unknown>>;
  const validate = ajvOf(schema['$schema']).compile(schema);
  // Ajv's own extension: it would answer with a promise.
  if ('$async' in validate) throw new Error('$async is not supported');
  return validate;
};

const compiled = new LRUCache<string, ValidateFunction>({ max: MOST_COMPILED });

const validatorOf = (schema: string): ValidateFunction => {
  const known = compiled.get(schema) ?? compile(schema);
  compiled.set(schema, known);
  return known;
};

const fits = (validate: ValidateFunction, text: string): boolean => {
  try {
    return validate(JSON.parse(text));
  } catch {
    return false;
  }
};

const judge = ({ schema, text }: SchemaQuestion): SchemaVerdict => {
  try {
    return { type: fits(validatorOf(schema), text) ? 'fits' : 'misfits' };
  } catch (error) {
    return { type: 'unusable', why: messageOf(error) };
  }
};

parentPort?.on('message', (question: SchemaQuestion) => parentPort?.postMessage(judge(question)));
parentPort?.postMessage('ready');
