import { z } from 'zod';

/**
 * How long a tenant's runs are kept once they have ended. Events: at least six months, which the law asks of the logs
 * of an AI system (EU AI Act, Articles 19 and 26). Contents: no longer than the events that name them.
 */
export const MIN_EVENT_DAYS = 183;
const MAX_RETENTION_DAYS = 3650;

const contentDays = z.int().min(0).max(MAX_RETENTION_DAYS).nullable();
const eventDays = z
  .int()
  .min(
    MIN_EVENT_DAYS,
    `expected ${MIN_EVENT_DAYS} days (six months) at least: events may not be kept shorter`,
  )
  .max(MAX_RETENTION_DAYS)
  .nullable();

export const Retention = z.object({
  /** Null: as long as the events. */
  content_days: contentDays,
  /** Null: as long as the installation keeps them. */
  event_days: eventDays,
});
export type Retention = z.infer<typeof Retention>;

/** What is left out stays. */
export const RetentionRequest = z.strictObject({
  content_days: contentDays.optional(),
  event_days: eventDays.optional(),
});
export type RetentionRequest = z.infer<typeof RetentionRequest>;
