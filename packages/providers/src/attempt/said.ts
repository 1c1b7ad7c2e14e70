import { z } from 'zod';

/**
 * What a provider says in an error. Known shapes of a body: `{error: {message, code}}`, the same without `error`
 * (mistral, which also answers `{detail: [{msg}]}`), in a list (gemini), and for openrouter what the model's own provider
 * answered, as a text of JSON under `metadata.raw`.
 */
export interface Said {
  /** Null: none that we know where to find; the body itself may quote what was sent (R13). */
  readonly message: string | null;
  readonly code: string | null;
  /** For how long to stay away, as gemini writes it (`34.07s`); others send a header. */
  readonly retryDelay: string | null;
}

const text = z.string().nullish().catch(null);
const Body = z.object({
  message: z.unknown().optional(),
  msg: text,
  code: text,
  error: z.unknown().optional(),
  detail: z.unknown().optional(),
  metadata: z.object({ raw: z.unknown().optional() }).nullish().catch(null),
  details: z
    .array(z.object({ retryDelay: z.string().optional() }))
    .nullish()
    .catch(null),
});

const NOTHING: Said = { message: null, code: null, retryDelay: null };

/** No known shape is deeper. */
const DEEPEST = 3;

/** For people, from a proxy or another server; the SDKs put the status before it. */
const PAGE = /^\s*(\d{3}\s+)?<(!doctype\s+html|html)\b/i;
const TITLE = /<title[^>]*>([^<]{1,100})/i;

const ofPage = (page: string): string => {
  const title = TITLE.exec(page)?.[1] ?? '';
  return `a web page answered, not the API (title "${title.trim()}"): look at the base URL and at proxies on the way`;
};

export const saidIn = (body: unknown, depth = 0): Said => {
  if (typeof body === 'string') return { ...NOTHING, message: PAGE.test(body) ? ofPage(body) : body };
  const { data } = Body.safeParse(Array.isArray(body) ? body[0] : body);
  if (data === undefined || depth > DEEPEST) return NOTHING;
  const { message, msg, code, error, detail, metadata, details } = data;
  const own = typeof message === 'string' ? message : msg;
  const inside = error ?? detail ?? (own === message ? null : message) ?? parsed(metadata?.raw);
  const inner = saidIn(inside, depth + 1);
  const messages = [own, inner.message].filter(Boolean);
  const retryDelay = details?.find((each) => each.retryDelay !== undefined)?.retryDelay;
  return {
    message: messages.length === 0 ? null : messages.join(': '),
    code: code ?? inner.code,
    retryDelay: retryDelay ?? inner.retryDelay,
  };
};

const parsed = (raw: unknown): unknown => {
  if (typeof raw !== 'string') return raw;
  try {
    return JSON.parse(raw);
  } catch {
    return raw;
  }
};

/** Thrown where an error stands in the place of an answer. */
export class SaidError extends Error {
  override readonly name = 'SaidError';
  readonly said: Said;

  constructor(body: unknown) {
    const said = saidIn(body);
    super(wordsOf(said));
    this.said = said;
  }
}

export const wordsOf = ({ message, code }: Said): string => message ?? code ?? 'an error without a message';

/** Not every provider has a code for it. */
const TOO_LONG =
  /context[ _-]?(length|window|limit)|(prompt|input) is too long|too many (input |prompt )?tokens|maximum (context|input|prompt)|token count.{0,40}exceeds|tokens exceed|reduce the length of/i;

/** That the conversation is longer than the model can take. */
export const saysTooLong = ({ message, code }: Said): boolean =>
  code === 'context_length_exceeded' || TOO_LONG.test(message ?? '');

/** That the provider has no room for the request now. */
export const saysOverloaded = ({ message, code }: Said): boolean =>
  /overload/i.test(`${code ?? ''} ${message ?? ''}`);

/** That what was sent is not allowed there, which openrouter answers with the status of a key that may not. */
export const saysFlagged = ({ message }: Said): boolean => /\bflagged\b|\bmoderation\b/i.test(message ?? '');
