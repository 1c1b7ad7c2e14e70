/**
 * TypeScript 7 has no compiler API in Node, and Node's own type stripping drops type-only imports, which count here.
 * So this scanner finds what is code and what is only text.
 */
const TEXT = [
  /\/\/[^\n]*/y,
  /\/\*[\s\S]*?\*\//y,
  /'(?:[^'\\\n]|\\[\s\S])*'/y,
  /"(?:[^"\\\n]|\\[\s\S])*"/y,
] as const;
const REGEX = /\/(?![*/])(?:[^\\/[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
const TEMPLATE_PART = /(?:[^\\`$]|\\[\s\S]|\$(?!\{))*(?:`|\$\{)/y;
/** After these a slash begins a regular expression; after anything else it divides. */
const BEFORE_REGEX =
  /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|await|yield|void|throw|else))$/;

const spaces = (text: string): string => text.replaceAll(/[^\n]/g, ' ');

function match(pattern: RegExp, source: string, at: number): string | undefined {
  pattern.lastIndex = at;
  return pattern.exec(source)?.[0];
}

/** Keeps the delimiters of a string, so that its place can still be found. */
const blankToken = (token: string): string =>
  token.startsWith('/') ? spaces(token) : `${token[0]}${spaces(token.slice(1, -1))}${token[0]}`;

/**
 * The source with comments, and what is inside strings, templates and regular expressions, replaced by spaces.
 * Same length, same lines; expressions inside a template's `${}` stay.
 */
export function blank(source: string): string {
  /** One entry per open `{`; true: it is a template's `${`, and its `}` goes on with the template. */
  const braces: boolean[] = [];
  let out = '';
  const template = (from: number): void => {
    const part = match(TEMPLATE_PART, source, from) ?? source.slice(from);
    const open = part.endsWith('${');
    if (open) braces.push(true);
    const end = open ? '${' : '`';
    out += spaces(part.slice(0, -end.length)) + end;
  };
  while (out.length < source.length) {
    const at = out.length;
    const char = source[at] ?? '';
    const text = TEXT.map((pattern) => match(pattern, source, at)).find((token) => token !== undefined);
    const regex = char === '/' && BEFORE_REGEX.test(out.trimEnd()) ? match(REGEX, source, at) : undefined;
    if (text !== undefined) out += blankToken(text);
    else if (regex !== undefined) out += spaces(regex);
    else {
      out += char;
      if (char === '`') template(at + 1);
      if (char === '{') braces.push(false);
      if (char === '}' && braces.pop() === true) template(at + 1);
    }
  }
  return out;
}
