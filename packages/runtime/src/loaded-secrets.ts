import type { Environment } from './config.ts';

/**
 * The secrets a process was given with its environment, so that redaction can take them out of any text by exact
 * match (R13): values of variables whose name says so, and passwords in URLs. For config.ts files only.
 */

const SECRET_VARIABLE = /(?:KEYS?|TOKEN|SECRET|PASSWORD|HEADERS)$/;

/** `id:key,id:key` and `name=value,name=value` hold several; what stands before the sign is a name. */
const partsOf = (value: string): string[] => [
  value,
  ...value.split(',').map((part) => part.trim().replace(/^[\w-]+[:=]\s*/, '')),
];

const decoded = (password: string): string[] => {
  try {
    return [decodeURIComponent(password)];
  } catch {
    // A `%` that stands for itself: of a variable that is not ours perhaps, such as HTTP_PROXY.
    return [];
  }
};

const passwordOf = (value: string): string[] => {
  if (!URL.canParse(value)) return [];
  const { password } = new URL(value);
  return password === '' ? [] : [password, ...decoded(password)];
};

export const loadedSecrets = (env: Environment): string[] => {
  const found = Object.entries(env).flatMap(([name, value]) => {
    if (value === undefined || value === '') return [];
    return SECRET_VARIABLE.test(name) ? partsOf(value) : passwordOf(value);
  });
  return [...new Set(found)];
};
