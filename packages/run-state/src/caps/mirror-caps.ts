import { MAX_NANO, SignalboxError } from '@signalbox/contracts';
import {
  AMOUNT_FIELDS,
  type AmountName,
  capsKey,
  namesOf,
  NO_CAP,
  RUNS_FIELDS,
  type TenantCapsChange,
  type TenantCapsStart,
  USER_AMOUNTS,
  type UserCaps,
  userField,
  type UserRef,
} from './caps.ts';
import type { Partition } from '../redis/partition.ts';
import { type Writing, writeTogether } from '../redis/write-together.ts';

/** None where nobody said anything. */
const OPEN_BY_DEFAULT: readonly AmountName[] = [
  'userMonthlyNano',
  'tenantMonthlyNano',
  ...namesOf(RUNS_FIELDS),
];

const encode = (amount: number | null): string => {
  if (amount === null) return NO_CAP;
  if (!Number.isSafeInteger(amount) || amount < 0 || amount > MAX_NANO) {
    throw new SignalboxError(
      'invalid_request',
      `A cap of ${amount} is out of range: a whole number from 0 to ${MAX_NANO} (nano-USD, or runs).`,
    );
  }
  return String(amount);
};

type Fields = [field: string, value: string][];

const amountFields = (caps: TenantCapsChange): Fields =>
  namesOf(AMOUNT_FIELDS).flatMap((name): Fields => {
    const amount = caps[name];
    return amount === undefined ? [] : [[AMOUNT_FIELDS[name], encode(amount)]];
  });

/** `<zone> <from, epoch ms>`; no zone has a blank in its name. */
const zoneFields = ({ timeZone, nextTimeZone }: TenantCapsChange): Fields => [
  ...(timeZone === undefined ? [] : [['time_zone', timeZone] as [string, string]]),
  ...(nextTimeZone === undefined || nextTimeZone === null
    ? []
    : [['time_zone_next', `${nextTimeZone.timeZone} ${nextTimeZone.fromMs}`] as [string, string]]),
];

const tenantFields = (caps: TenantCapsChange): Fields => [...amountFields(caps), ...zoneFields(caps)];

const userFields = (userId: string, caps: UserCaps): Fields =>
  USER_AMOUNTS.flatMap((name): Fields => {
    const amount = caps[name];
    return amount === undefined ? [] : [[userField(name, userId), encode(amount)]];
  });

const setting = (key: string, fields: Fields): Writing[] =>
  fields.map(([field, value]) => ['HSET', key, field, value]);

const settingUnset = (key: string, fields: Fields): Writing[] =>
  fields.map(([field, value]) => ['HSETNX', key, field, value]);

const openDefaults = (key: string): Writing[] =>
  settingUnset(
    key,
    OPEN_BY_DEFAULT.map((name) => [AMOUNT_FIELDS[name], NO_CAP]),
  );

/**
 * Writes what is given; what is left out stays. Null for `nextTimeZone` calls a change off. Throws `state_unavailable`.
 */
export const setTenantCaps = async (
  partition: Partition,
  tenantId: string,
  caps: TenantCapsChange,
): Promise<void> => {
  const key = capsKey(partition, tenantId);
  await writeTogether(partition, [
    ...setting(key, tenantFields(caps)),
    ...(caps.nextTimeZone === null ? [['HDEL', key, 'time_zone_next'] as const] : []),
    ...openDefaults(key),
  ]);
};

/** Writes defaults where nothing is set yet. Throws `state_unavailable`. */
export const ensureTenantCaps = async (
  partition: Partition,
  tenantId: string,
  caps: TenantCapsStart,
): Promise<void> => {
  const key = capsKey(partition, tenantId);
  await writeTogether(partition, [...settingUnset(key, tenantFields(caps)), ...openDefaults(key)]);
};

/**
 * Puts a tenant's caps and those of its users in place of whatever is here: for a Redis that lost or aged. Throws
 * `state_unavailable`.
 */
export const replaceCaps = async (
  partition: Partition,
  tenantId: string,
  caps: TenantCapsChange & { readonly users: readonly (UserCaps & { readonly userId: string })[] },
): Promise<void> => {
  const key = capsKey(partition, tenantId);
  const ofUsers = caps.users.flatMap((user) => userFields(user.userId, user));
  await writeTogether(partition, [
    ['DEL', key],
    ...setting(key, [...tenantFields(caps), ...ofUsers]),
    ...openDefaults(key),
  ]);
};

/**
 * All of a user's own caps: what is left out here is taken away, so that the tenant's apply. Throws
 * `state_unavailable`.
 */
export const setUserCaps = async (
  partition: Partition,
  { tenantId, userId }: UserRef,
  caps: UserCaps,
): Promise<void> => {
  const key = capsKey(partition, tenantId);
  await writeTogether(partition, [
    ...USER_AMOUNTS.map((name) => ['HDEL', key, userField(name, userId)] as const),
    ...setting(key, userFields(userId, caps)),
  ]);
};
