import { posix } from 'node:path';
import { blank } from './blank.ts';

/** One `import`, `export ... from`, `import()` or `require()`. */
export interface Import {
  readonly specifier: string;
  /** `node:fs`, `./fold.ts`, or the package's name without a path below it. */
  readonly target: string;
  /** Names as the other module calls them; `*` for a namespace or a module as a whole, `default` for its default. */
  readonly names: readonly string[];
  /** Nothing of it is left when the types are stripped. */
  readonly typeOnly: boolean;
}

export interface SourceFile {
  readonly path: string;
  /** `packages/engine`, `services/api`. */
  readonly unit: string;
  readonly isTest: boolean;
  readonly imports: readonly Import[];
  /** The source without comments and without what is inside strings. */
  readonly code: string;
}

const FROM =
  /(?<![\w.$])(?:import|export)\s+(?<type>type\s+(?!from\b))?(?<clause>[\w\s{},*$]*?)\s*\bfrom\s*(?=['"])/g;
const BARE = /(?<![\w.$])import\s*(?=['"])/g;
const CALL = /(?<![\w.$])(?:import|require)\s*\(\s*(?=['"])/g;

/** `{ a, type b as c }`, `* as ns`, `d, { a }` */
function clauseNames(clause: string): { names: string[]; typeOnly: boolean } {
  const inBraces = /\{([^}]*)\}/.exec(clause)?.[1] ?? '';
  const items = inBraces
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
  const names = items.map((item) => item.replace(/^type\s+/, '').split(/\s+as\s+/)[0] ?? item);
  const outside = clause
    .replace(/\{[^}]*\}/, '')
    .replaceAll(',', ' ')
    .trim();
  if (outside.startsWith('*')) names.push('*');
  else if (outside !== '') names.push('default');
  return {
    names,
    typeOnly: outside === '' && items.length > 0 && items.every((item) => /^type\s/.test(item)),
  };
}

function target(specifier: string): string {
  if (specifier.startsWith('.') || specifier.startsWith('node:')) return specifier;
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

export function importsOf(source: string, code = blank(source)): Import[] {
  const found: { at: number; value: Import }[] = [];
  for (const pattern of [FROM, BARE, CALL]) {
    for (const match of code.matchAll(pattern)) {
      const at = match.index + match[0].length;
      // The quotes are kept in `code`; what stands between them is in `source`.
      const specifier = source.slice(at + 1, code.indexOf(code[at] ?? '', at + 1));
      const { clause = '*', type } = match.groups ?? {};
      const { names, typeOnly } = clauseNames(clause);
      found.push({
        at,
        value: { specifier, target: target(specifier), names, typeOnly: typeOnly || type !== undefined },
      });
    }
  }
  return found.toSorted((a, b) => a.at - b.at).map(({ value }) => value);
}

export function parseSource(path: string, source: string): SourceFile {
  const code = blank(source);
  return {
    path,
    unit: path.split('/', 2).join('/'),
    isTest: path.endsWith('.test.ts'),
    imports: importsOf(source, code),
    code,
  };
}

/** Path from the repository's root of what a relative import names. */
export const resolveImport = (file: SourceFile, specifier: string): string =>
  posix.join(posix.dirname(file.path), specifier);
