/**
 * The import rules of the design (section 4), as a pure function over sources: what each unit may import and name.
 * A new package or service needs a row in UNITS before it can import anything.
 */
import { type Import, parseSource, resolveImport, type SourceFile } from './source-file.ts';

/** The parts of a package.json that rules need. */
export interface Manifest {
  readonly dependencies: readonly string[];
  readonly devDependencies: readonly string[];
}

export interface Tree {
  /** Path from the root -> source, of every .ts file under packages/x/src and services/x/src. */
  readonly sources: Readonly<Record<string, string>>;
  /** `packages/engine` -> its package.json. */
  readonly manifests: Readonly<Record<string, Manifest>>;
}

export interface Violation {
  readonly rule: RuleName;
  readonly path: string;
  readonly detail: string;
}

const OURS = '@signalbox/';
const CORE = ['contracts', 'engine', 'runtime'];
const STORES = ['run-state', 'audit-store', 'providers'];

/**
 * Which of our packages each unit may import. Services import packages, never services; the worker no audit-store
 * (R11).
 */
const UNITS: Readonly<Record<string, readonly string[]>> = {
  'packages/contracts': [],
  'packages/engine': ['contracts'],
  'packages/runtime': [],
  'packages/run-state': CORE,
  'packages/audit-store': CORE,
  'packages/providers': CORE,
  'services/api': [...CORE, ...STORES],
  'services/worker': [...CORE, 'run-state', 'providers'],
  'services/audit-writer': [...CORE, ...STORES],
  'services/scheduler': [...CORE, ...STORES],
};

/** Units that do no I/O: everything they import that is not ours. */
const PURE: Readonly<Record<string, readonly string[]>> = {
  'packages/contracts': ['zod', 'uuidv7'],
  'packages/engine': ['node:crypto'],
};

/** Who alone may name a library. */
const OWNERS: readonly (readonly [RegExp, string])[] = [
  [/^(ioredis|bullmq)$/, 'packages/run-state'],
  [/^(pg|pg-.*|kysely|@types\/pg)$/, 'packages/audit-store'],
  [/^(@anthropic-ai\/sdk|openai|@pydantic\/genai-prices)$/, 'packages/providers'],
  [/^(hono|@hono\/.*|rate-limiter-flexible)$/, 'services/api'],
  [/^(prom-client|@opentelemetry\/(?!api$).*)$/, 'packages/runtime'],
];

/** What would make fold and next depend on anything but the journal. */
const IMPURE =
  /(?<![\w.$])(fetch\s*\(|process\b|console\b|performance\b|setTimeout\b|setInterval\b|setImmediate\b|Date\.now\b|Math\.random\b|new\s+Date\s*\(\s*\))/;
const ENV = /\bprocess\s*(?:\?\.|\.)\s*env\b|\bprocess\s*(?:\?\.)?\s*\[|\}\s*=\s*process\b(?!\s*\.)/;

type Check = (file: SourceFile, tree: Tree) => Iterable<string>;

const ofOurs = (item: Import): string | undefined =>
  item.target.startsWith(OURS) ? item.target.slice(OURS.length) : undefined;
const isRelative = (item: Import): boolean => item.specifier.startsWith('.');
const isExternal = (item: Import): boolean => !isRelative(item) && ofOurs(item) === undefined;
const isConfig = (path: string): boolean => path.endsWith('/config.ts');

function* when(condition: boolean, detail: string): Iterable<string> {
  if (condition) yield detail;
}

const layers: Check = function* (file) {
  const allowed = UNITS[file.unit];
  if (allowed === undefined) {
    yield `${file.unit} has no row in UNITS`;
    return;
  }
  for (const item of file.imports) {
    const name = ofOurs(item);
    if (name !== undefined && !allowed.includes(name)) yield `${file.unit} imports ${item.specifier}`;
  }
};

const boundaries: Check = function* (file) {
  for (const item of file.imports) {
    if (ofOurs(item) !== undefined && item.specifier !== item.target)
      yield `${item.specifier}: past its index.ts`;
    const outside = isRelative(item) && !resolveImport(file, item.specifier).startsWith(`${file.unit}/`);
    if (outside) yield `${item.specifier}: leaves ${file.unit}`;
  }
};

const purity: Check = function* (file) {
  const allowed = PURE[file.unit];
  if (allowed === undefined) return;
  for (const item of file.imports) {
    if (isExternal(item) && !allowed.includes(item.target)) yield `imports ${item.specifier}`;
  }
  const impure = file.unit === 'packages/engine' ? IMPURE : /(?<![\w.$])(fetch\s*\(|process\b)/;
  const found = impure.exec(file.code)?.[1];
  if (found !== undefined) yield `uses ${found}`;
};

const owners: Check = function* (file) {
  for (const item of file.imports) {
    const owner = OWNERS.find(([pattern]) => pattern.test(item.target))?.[1];
    if (owner !== undefined && owner !== file.unit) yield `${item.target} belongs to ${owner}`;
  }
};

const auditWriter: Check = function* (file) {
  if (!file.unit.startsWith('services/') || file.unit === 'services/audit-writer') return;
  for (const item of file.imports) {
    if (item.target !== `${OURS}audit-store`) continue;
    if (item.names.includes('writeBatch')) yield 'imports writeBatch';
    if (item.names.includes('*')) yield 'imports the whole audit-store, and so writeBatch';
  }
};

const environment: Check = function* (file) {
  if (isConfig(file.path)) return;
  const named = file.imports.some(
    (item) => /^(node:)?process$/.test(item.target) && item.names.includes('env'),
  );
  yield* when(named || ENV.test(file.code), 'reads process.env');
};

/** What is started as a process of its own. */
const isEntry = ({ path, unit }: SourceFile): boolean =>
  path === `${unit}/src/main.ts` || path === 'services/scheduler/src/rotate-keys.ts';

/** Types may travel: a configuration's shape is an argument like any other. */
const composition: Check = function* (file) {
  if (!file.unit.startsWith('services/') || isEntry(file)) return;
  for (const item of file.imports) {
    const config = isRelative(item) && isConfig(resolveImport(file, item.specifier));
    if (config && !item.typeOnly) yield `imports ${item.specifier}`;
  }
};

const exported: Check = function* (file) {
  yield* when(/\bexport\s+default\b|\bas\s+default\s*[,}]/.test(file.code), 'has a default export');
  yield* when(/\bexport\s+(type\s+)?\*/.test(file.code), 'has export *');
};

/** Tests may also use devDependencies; the image has only dependencies. */
const declared: Check = function* (file, tree) {
  const manifest = tree.manifests[file.unit];
  for (const item of file.imports) {
    if (isRelative(item) || item.target.startsWith('node:')) continue;
    const known = [
      ...(manifest?.dependencies ?? []),
      ...(file.isTest ? (manifest?.devDependencies ?? []) : []),
    ];
    const self = item.target === OURS + file.unit.split('/')[1];
    if (!known.includes(item.target) && !self)
      yield `${item.target} is not among the dependencies of ${file.unit}/package.json`;
  }
};

const RULES = {
  'each unit imports only the packages below it': layers,
  'a package is entered through its index.ts': boundaries,
  'contracts and engine do no I/O': purity,
  'a library is named by its owner only': owners,
  'only the audit-writer writes run data to Postgres': auditWriter,
  'process.env is read in config.ts only': environment,
  'only main.ts of a service, and its commands, import its config.ts': composition,
  'no default export, no export *': exported,
  'every imported package is declared': declared,
} satisfies Record<string, Check>;

export type RuleName = keyof typeof RULES;
export const RULE_NAMES = Object.keys(RULES) as RuleName[];

/** Tests may reach for what they need to prove; they only have to declare it. */
const FOR_TESTS: readonly RuleName[] = ['every imported package is declared'];

export function checkImports(tree: Tree): Violation[] {
  const files = Object.entries(tree.sources).map(([path, source]) => parseSource(path, source));
  return files.flatMap((file) =>
    (file.isTest ? FOR_TESTS : RULE_NAMES).flatMap((rule) =>
      Array.from(RULES[rule](file, tree), (detail) => ({ rule, path: file.path, detail })),
    ),
  );
}
