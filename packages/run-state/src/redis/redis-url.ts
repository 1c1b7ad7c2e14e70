import { url } from '@signalbox/runtime';

/** Of a server with the usual 16 databases. */
const DATABASE = /^(\d|1[0-5])?$/;

/** As ioredis reads it: the path goes before the option. */
const databaseOf = ({ pathname, searchParams }: URL): string => {
  const path = pathname.slice(1);
  return path === '' ? (searchParams.get('db') ?? '') : path;
};

const isDecodable = ({ username, password }: URL): boolean => {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
};

/**
 * The variables REDIS_URL and QUEUE_REDIS_URL. Strict where ioredis is not: a database that is no number breaks it once
 * it is connected, and for one that the server does not have it takes database 0.
 */
export const redisUrl = url(['redis', 'rediss'])
  .refine((text) => DATABASE.test(databaseOf(new URL(text))), {
    error: 'expected a database from 0 to 15 behind the host (redis://host:6379/1), or none',
  })
  .refine((text) => isDecodable(new URL(text)), {
    error: 'expected a user and password in which % is written as %25',
  });
