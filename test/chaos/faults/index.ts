import type { Fault } from '../fault.ts';
import { netCut, netHole, netSlow, netSwallow, wakes } from './network.ts';
import {
  apiKill,
  clockSkew,
  rolling,
  schedulerKill,
  workerKill,
  workerPause,
  writerKill,
} from './processes.ts';
import { postgresAway, postgresDown, postgresOlder } from './postgres.ts';
import { redisCut, redisEmpty, redisFull, redisKill } from './redis.ts';

/** In the order of the short run, each lane by itself. */
export const FAULTS: readonly Fault[] = [
  redisKill,
  postgresDown,
  redisCut,
  redisFull,
  postgresAway,
  redisEmpty,
  postgresOlder,
  workerKill,
  writerKill,
  workerPause,
  schedulerKill,
  apiKill,
  clockSkew,
  rolling,
  netSwallow,
  netHole,
  wakes,
  netCut,
  netSlow,
];
