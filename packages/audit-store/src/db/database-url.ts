import { accessSync, constants } from 'node:fs';
import { url } from '@signalbox/runtime';

/** What pg reads for each new connection. */
const FILES = ['sslrootcert', 'sslcert', 'sslkey'];

const isReadable = (path: string): boolean => {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
};

/** The variable DATABASE_URL. A file it names must be there: without it no connection is ever made, however often it is tried. */
export const databaseUrl = url(['postgres', 'postgresql']).superRefine((text, context) => {
  const { searchParams } = new URL(text);
  for (const name of FILES) {
    const path = searchParams.get(name) ?? '';
    if (path === '' || isReadable(path)) continue;
    context.addIssue({ code: 'custom', message: `expected a file that can be read behind ${name}=` });
  }
});
