/** How a value may lie in bytes that are not sealed. */
export interface Encoded {
  readonly encoding: string;
  readonly bytes: Buffer;
}

/** Signs at the start of which bytes before the value have a part, by how many such bytes there are modulo 3. */
const SHARED_AT_START = [0, 2, 3] as const;

/** The signs of base64 that the value alone decides, when `shift` other bytes stand before it. */
const base64At = (value: Buffer, shift: 0 | 1 | 2): string => {
  const text = Buffer.concat([Buffer.alloc(shift), value]).toString('base64');
  const sharedAtEnd = (shift + value.length) % 3 === 0 ? 0 : 1;
  return text.replace(/=+$/, '').slice(SHARED_AT_START[shift], sharedAtEnd === 0 ? undefined : -sharedAtEnd);
};

const urlSafe = (base64: string): string => base64.replaceAll('+', '-').replaceAll('/', '_');

const ofBytes = (value: Buffer): [string, string | Buffer][] => {
  const shifts = ([0, 1, 2] as const).map((shift) => base64At(value, shift));
  const hex = value.toString('hex');
  return [
    ['raw', value],
    ...shifts.map((text, n): [string, string] => [`base64 +${n}`, text]),
    ...shifts.map((text, n): [string, string] => [`base64url +${n}`, urlSafe(text)]),
    ['hex', hex],
    ['HEX', hex.toUpperCase()],
  ];
};

const ofText = (text: string): [string, string][] => [
  ['JSON', JSON.stringify(text).slice(1, -1)],
  ['JSON in JSON', JSON.stringify(JSON.stringify(text).slice(1, -1)).slice(1, -1)],
  ['URL', encodeURIComponent(text)],
  ['form', encodeURIComponent(text).replaceAll('%20', '+')],
  ['UTF-16', Buffer.from(text, 'utf16le').toString('latin1')],
];

const isText = (value: Buffer): boolean => Buffer.from(value.toString('utf8')).equals(value);

/** Every encoding once; those that look like one before are left out. */
export const encodingsOf = (value: Buffer): Encoded[] => {
  const forms = [...ofBytes(value), ...(isText(value) ? ofText(value.toString('utf8')) : [])];
  const seen = new Map<string, Encoded>();
  for (const [encoding, form] of forms) {
    const bytes = typeof form === 'string' ? Buffer.from(form, 'latin1') : form;
    const id = bytes.toString('latin1');
    if (!seen.has(id)) seen.set(id, { encoding, bytes });
  }
  return [...seen.values()];
};
