import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Manifest, Tree } from './import-rules.ts';

export const ROOT = join(import.meta.dirname, '../..');

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const glob = (pattern: string): string[] =>
  globSync(pattern, { cwd: ROOT, exclude: (path) => path.includes('node_modules') }).map((path) =>
    path.replaceAll('\\', '/'),
  );

export interface PackageJson {
  readonly name: string;
  readonly type?: string;
  readonly exports?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Units (`packages/engine`, ...) and their package.json. */
export function readManifests(): Map<string, PackageJson> {
  const paths = glob('{packages,services}/*/package.json');
  return new Map(
    paths.map((path) => [path.replace('/package.json', ''), JSON.parse(read(path)) as PackageJson]),
  );
}

const toManifest = ({ dependencies = {}, devDependencies = {} }: PackageJson): Manifest => ({
  dependencies: Object.keys(dependencies),
  devDependencies: Object.keys(devDependencies),
});

export function readTree(): Tree {
  const sources = Object.fromEntries(
    glob('{packages,services}/*/src/**/*.ts').map((path) => [path, read(path)]),
  );
  const manifests = Object.fromEntries([...readManifests()].map(([unit, json]) => [unit, toManifest(json)]));
  return { sources, manifests };
}
