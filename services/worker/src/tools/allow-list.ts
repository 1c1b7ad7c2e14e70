import { csv } from '@signalbox/runtime';

const ENTRY = /^(\[[\da-f:.]+\]|[^\s:/?#@*[\]]+)(?::(\d{1,5}))?$/i;
const HIGHEST_PORT = 65_535;

/** `host` or `host:port` as `URL` writes them; null when it is neither. */
const normalized = (entry: string): string | null => {
  const [, host, port] = ENTRY.exec(entry) ?? [];
  if (host === undefined || Number(port ?? 1) > HIGHEST_PORT || !URL.canParse(`http://${host}`)) return null;
  const { hostname } = new URL(`http://${host}`);
  return port === undefined ? hostname : `${hostname}:${Number(port)}`;
};

/** The variable HTTP_TOOL_ALLOW: names in lower case, addresses as they are compared. */
export const allowList = csv.transform((entries, context): string[] =>
  entries.flatMap((entry, index) => {
    const host = normalized(entry);
    if (host !== null) return [host];
    context.addIssue({
      code: 'custom',
      message: `entry ${index + 1} is no host[:port]: without scheme, path and wildcard, IPv6 in brackets`,
    });
    return [];
  }),
);
