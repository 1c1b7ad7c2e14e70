import { createRoute, z } from '@hono/zod-openapi';
import { COST_GROUPS, type CostGroup, type CostRow, pageOf, sumCosts } from '@signalbox/audit-store';
import { costView } from '../caps/cost-view.ts';
import { fromCursor, nextCursor } from '../http/cursor.ts';
import type { Route } from '../deps.ts';
import { answers, PROBLEMS, queryInt } from '../http/openapi.ts';
import { invalidRequest } from '../http/validation.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

/** Postgres has no year 0. */
const day = z.iso
  .date({ error: 'expected a day: YYYY-MM-DD' })
  .refine((text) => !text.startsWith('0000'), 'expected a day of the years 1 to 9999');

/** `day,model`: each at most once, in any order. */
const groupBy = z
  .string()
  .refine(
    (text) => {
      const names = text.split(',');
      return new Set(names).size === names.length && names.every((name) => isGroup(name));
    },
    `expected some of ${COST_GROUPS.join(', ')}, separated by commas, each once`,
  )
  .optional();

const isGroup = (name: string): name is CostGroup => COST_GROUPS.some((group) => group === name);

const route = createRoute({
  method: 'get',
  path: '/v1/costs',
  tags: ['caps'],
  summary: 'What was spent, from the ledger.',
  description:
    'Sums per group of group_by (day, user_id, agent, model, separated by commas), ascending; without group_by the total. from and to are days of the tenant, both included. A call counts for the day its hold was taken on; it appears moments after it was made. estimated_usd is the part of observed_usd that no provider confirmed; held_usd is of calls under way.',
  request: {
    query: z.strictObject({
      group_by: groupBy,
      from: day.optional(),
      to: day.optional(),
      limit: queryInt(1, MAX_LIMIT).optional(),
      cursor: z.string().max(4000).optional(),
    }),
  },
  responses: { 200: answers('CostList', 'A page of sums.'), ...PROBLEMS },
});

const Cursor = z.object({ by: z.string(), after: z.array(z.string()) });

/** A cursor names its grouping, so that it cannot go on in another list. */
const cursorOf = (by: string, row: CostRow): string => JSON.stringify({ by, after: row.group });

const readCursor = (cursor: string, groups: readonly CostGroup[]): readonly string[] => {
  const fits = (value: string, at: number): boolean => groups[at] !== 'day' || day.safeParse(value).success;
  const parse = (text: string): readonly string[] | null => {
    try {
      const { by, after } = Cursor.parse(JSON.parse(text));
      return by === groups.join(',') && after.length === groups.length && after.every(fits) ? after : null;
    } catch {
      return null;
    }
  };
  return parse(fromCursor(cursor, (text) => parse(text) !== null)) ?? [];
};

export const listCosts: Route = (app, { db, storeShare }) => {
  app.openapi(route, async (c) => {
    const { group_by: by = '', from, to, limit = DEFAULT_LIMIT, cursor } = c.req.valid('query');
    if (from !== undefined && to !== undefined && from > to) {
      throw invalidRequest([{ path: 'to', message: 'expected a day that is not before from' }]);
    }
    const groups = by.split(',').filter(isGroup);
    const { tenantId } = c.get('principal');
    const query = {
      tenantId,
      groupBy: groups,
      from,
      to,
      limit: limit + 1,
      after: cursor === undefined ? undefined : readCursor(cursor, groups),
    };
    const read = await storeShare.take(tenantId, 'list', () => sumCosts(db, query));
    const { rows, next } = pageOf(read, { limit, placeOf: (row) => row });
    const data = rows.map((row) => costView(groups, row));
    return c.json({ data, next_cursor: nextCursor(next, (row) => cursorOf(groups.join(','), row)) }, 200);
  });
};
