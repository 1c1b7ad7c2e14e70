/** The escapes JSON knows and jsonb and text refuse: NUL, and (after JSON.stringify) lone surrogates. */
const SUSPECT = /\\u(?:0000|d[89a-f])/;
/** Each escape as one unit, so that an escaped backslash before `u0000` stays what it is. */
const ESCAPE = /\\(u0000|ud[89a-f][0-9a-f]{2}|.)/g;

/** JSON text, as JSON.stringify writes it, in which every such character is U+FFFD. */
const storable = (json: string): string =>
  SUSPECT.test(json)
    ? json.replace(ESCAPE, (whole, escape: string) => (escape.length > 1 ? '\\ufffd' : whole))
    : json;

/** Rows as the one parameter of a `json_to_recordset`. Text in them that Postgres cannot hold gets U+FFFD. */
export const toJsonParam = (rows: readonly object[]): string => storable(JSON.stringify(rows));

/** Whether a JSON text, as anybody may write it, may hold such a character; also deep within strings of JSON. */
const isSuspect = (json: string): boolean => /\\u(?:0000|d[89a-f])/i.test(json);

/** A copy of a JSON text that jsonb takes; null when the text itself will do. */
export const storableCopy = (json: string): string | null => {
  if (!isSuspect(json)) return null;
  return storable(JSON.stringify(JSON.parse(json)));
};
