/**
 * Values that must not be found anywhere in clear, each of them unique, so that a find tells where it came from: what
 * has the form of a secret, personal data, and sentences that are nothing but content. `core` is the part of a value
 * that gives it away; it is what is searched for, so a value that was only cut short is found too.
 */
import { randomBytes, randomInt } from 'node:crypto';

export interface Canary {
  /** Where it was planted. */
  readonly place: string;
  readonly kind: string;
  readonly text: string;
  readonly core: Buffer;
}

const ALNUM = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const DIGITS = '0123456789';

const pick = (from: string, length: number): string =>
  Array.from({ length }, () => from[randomInt(from.length)]).join('');
const token = (length: number): string => pick(ALNUM, length);
const digits = (length: number): string => pick(DIGITS, length);

/** The last digit makes the sum of ISO/IEC 7812 a multiple of ten. */
const cardNumber = (): string => {
  const body = `4${digits(14)}`;
  const sum = Array.from(body, Number).reduce((total, digit, i) => {
    const weighted = i % 2 === 0 ? digit * 2 : digit;
    return total + (weighted > 9 ? weighted - 9 : weighted);
  }, 0);
  const number = `${body}${(10 - (sum % 10)) % 10}`;
  return (number.match(/.{4}/g) ?? []).join(' ');
};

type Made = readonly [text: string, core: string];
const around = (before: string, core: string, behind = ''): Made => [before + core + behind, core];
const whole = (text: string): Made => [text, text];

const PEM = ['-----BEGIN PRIVATE KEY-----\n', '\n-----END PRIVATE KEY-----'] as const;

/** What is known by its form. */
const FORMS = {
  'anthropic key': () => around('sk-ant-api03-', token(40)),
  'openai key': () => around('sk-proj-', token(40)),
  'aws key': () => around('AKIA', pick(ALNUM.slice(0, 26) + DIGITS, 16)),
  'signalbox key': () => {
    const value = randomBytes(32).toString('base64url');
    return [`sbk_${value}`, value.slice(-24)];
  },
  'github token': () => around('ghp_', token(36)),
  'slack token': () => around(`xoxb-${digits(12)}-`, token(24)),
  jwt: () => around(`eyJ${token(20)}.eyJ`, token(30), `.${token(30)}`),
  'private key': () => around(`${PEM[0]}${token(24)}`, token(40), PEM[1]),
  'url password': () => around('postgres://app:', token(16), '@db.internal:5432/app'),
  bearer: () => around('Authorization: Bearer ', token(24)),
  assignment: () => around('client_secret=', token(20)),
  email: () => around('', `ada.${token(12).toLowerCase()}`, '@leaks.example'),
  phone: () => around('+49 30 ', `${digits(4)} ${digits(4)}`),
  'social security number': () => whole(`536-${randomInt(10, 99)}-${randomInt(1000, 9999)}`),
  card: () => whole(cardNumber()),
} as const satisfies Record<string, () => Made>;

/** What only its place makes confidential. */
const CONTENT = {
  sentence: () =>
    around('Nobody may read that the ', `${token(12)} lantern of ${token(12)}`, ' hums at dusk.'),
} as const satisfies Record<string, () => Made>;

const KINDS: Readonly<Record<string, () => Made>> = { ...FORMS, ...CONTENT };
export type Kind = keyof typeof FORMS | keyof typeof CONTENT;

/** Of every form there is. */
export const KNOWN_FORMS = Object.keys(FORMS) as readonly Kind[];
/** And content besides. */
export const ALL_KINDS = Object.keys(KINDS) as readonly Kind[];
/** Those that stand in a URL or a header as they are. */
export const ONE_WORD = [
  'anthropic key',
  'aws key',
  'github token',
  'slack token',
  'jwt',
] as const satisfies Kind[];

export interface Plants {
  /** Everything planted so far. */
  readonly all: readonly Canary[];
  /** New ones of these kinds. */
  plant(place: string, kinds: readonly Kind[]): Canary[];
  /** The same as one text. */
  text(place: string, kinds?: readonly Kind[]): string;
  /** A value that exists already: what a process holds. */
  hold(place: string, value: string | Buffer): void;
}

export const textOf = (canaries: readonly Canary[]): string => canaries.map(({ text }) => text).join(' ; ');

export const createPlants = (): Plants => {
  const all: Canary[] = [];
  const plant = (place: string, kinds: readonly Kind[]): Canary[] => {
    const made = kinds.map((kind): Canary => {
      const [text, core] = KINDS[kind]?.() ?? whole(token(32));
      return { place, kind, text, core: Buffer.from(core) };
    });
    all.push(...made);
    return made;
  };
  return {
    all,
    plant,
    text: (place, kinds = ALL_KINDS) => textOf(plant(place, kinds)),
    hold: (place, value) => {
      all.push({ place, kind: 'held', text: String(value), core: Buffer.from(value) });
    },
  };
};
