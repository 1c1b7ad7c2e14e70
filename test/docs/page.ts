import { readText } from '../deploy/files.ts';

/** A Markdown page, as far as tests ask: what it names, in which section, and its examples. */
export interface Section {
  /** 1 for the page's own. */
  readonly level: number;
  readonly title: string;
  /** Without fenced blocks. */
  readonly text: string;
  /** Its blocks of JSON. */
  readonly examples: readonly unknown[];
}

const FENCED = /^ *```(\w*)\n([\s\S]*?)^ *```$/gm;
const HEADING = /^(#+) (.+)$/m;

const sectionOf = (source: string): Section => {
  const [, hashes = '', title = ''] = HEADING.exec(source) ?? [];
  const examples = [...source.matchAll(FENCED)].flatMap(([, language, body = '']) =>
    language === 'json' ? [JSON.parse(body) as unknown] : [],
  );
  return { level: hashes.length, title, text: source.replaceAll(FENCED, ''), examples };
};

export const readPage = (path: string): readonly Section[] =>
  readText(path)
    .split(/^(?=#+ )/m)
    .map(sectionOf);

/** What stands between backticks. */
export const namesIn = (text: string): string[] =>
  [...text.matchAll(/`([^`\n]+)`/g)].map(([, name = '']) => name);

/** Rows of the tables in a text, without heads. */
export const rowsOf = (text: string): (readonly string[])[] =>
  [...text.matchAll(/^\|(.+)\|$/gm)]
    .map(([, row = '']) => row.split('|').map((cell) => cell.trim()))
    .filter((cells, index, rows) => !isRule(cells) && !isRule(rows[index + 1]));

const isRule = (cells: readonly string[] | undefined): boolean =>
  cells?.every((cell) => /^-+$/.test(cell) && cell.length > 1) ?? false;
