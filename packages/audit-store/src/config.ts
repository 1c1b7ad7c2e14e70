import { loadConfigOrExit } from '@signalbox/runtime';
import { z } from 'zod';
import { databaseUrl } from './db/database-url.ts';

/** Of the migrate command. Ends the process with code 78 when the environment does not fit. */
export const migrateConfig = (): { databaseUrl: string } => {
  const env = loadConfigOrExit(z.object({ DATABASE_URL: databaseUrl }), process.env);
  return { databaseUrl: env.DATABASE_URL };
};
