import { sql } from 'kysely';
import type { Db } from './pool.ts';

/**
 * The schema as text, from the catalog: what schema.sql holds, so that a migration's effect shows in
 * review and an unplanned one fails a test. Not pg_dump, whose output depends on its version and
 * which may not be installed. Monthly partitions are left out: which exist depends on the day.
 */

const texts = async (db: Db, query: ReturnType<typeof sql<{ text: string }>>): Promise<string[]> =>
  (await query.execute(db)).rows.map((row) => row.text);

const named = sql`c.relname !~ '_\\d{4}_\\d{2}$'`;

const TABLES = sql<{ text: string }>`
  select case
    when c.relispartition then format('create table %I partition of %s %s;', c.relname,
      (select inhparent::regclass from pg_inherits where inhrelid = c.oid), pg_get_expr(c.relpartbound, c.oid))
    else format(E'create table %I (\n%s\n)%s;', c.relname, concat_ws(E',\n', columns.list, constraints.list),
      ' partition by ' || pg_get_partkeydef(c.oid))
  end as text
  from pg_class c
  cross join lateral (
    select string_agg(concat_ws(' ', '  ' || quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
      case when a.attcollation <> t.typcollation then 'collate ' || a.attcollation::regcollation end,
      case when a.attstorage <> t.typstorage then 'storage ' || case a.attstorage
        when 'p' then 'plain' when 'e' then 'external' when 'm' then 'main' else 'extended' end end,
      case a.attgenerated
        when '' then 'default ' || pg_get_expr(d.adbin, d.adrelid)
        else 'generated always as (' || pg_get_expr(d.adbin, d.adrelid) || ') stored' end,
      case when a.attnotnull then 'not null' end), E',\n' order by a.attnum) as list
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  ) columns
  cross join lateral (
    select string_agg(format('  constraint %I %s', conname, pg_get_constraintdef(oid)), E',\n' order by conname collate "C") as list
    from pg_constraint where conrelid = c.oid and contype <> 'n'
  ) constraints
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and ${named}
  order by c.relname collate "C"`;

const INDEXES = sql<{ text: string }>`
  select pg_get_indexdef(i.indexrelid) || ';' as text
  from pg_index i join pg_class c on c.oid = i.indrelid join pg_class x on x.oid = i.indexrelid
  where c.relnamespace = 'public'::regnamespace and not x.relispartition and ${named}
    and not exists (select from pg_constraint where conindid = i.indexrelid)
  order by 1`;

const VIEWS = sql<{ text: string }>`
  select format(E'create view %I as\n%s', relname, pg_get_viewdef(oid, true)) as text
  from pg_class where relnamespace = 'public'::regnamespace and relkind = 'v' order by relname collate "C"`;

const FUNCTIONS = sql<{ text: string }>`
  select rtrim(pg_get_functiondef(oid), E'\n') || ';' as text
  from pg_proc where pronamespace = 'public'::regnamespace order by proname collate "C"`;

const TRIGGERS = sql<{ text: string }>`
  select pg_get_triggerdef(t.oid) || ';' as text
  from pg_trigger t join pg_class c on c.oid = t.tgrelid
  where c.relnamespace = 'public'::regnamespace and not t.tgisinternal and ${named}
  order by c.relname collate "C", t.tgname collate "C"`;

const GRANTS = sql<{ text: string }>`
  with granted as (
    select grantee, privilege_type, quote_ident(relname) as object, relispartition as skip
    from pg_class, aclexplode(relacl) where relnamespace = 'public'::regnamespace
    union all
    select grantee, privilege_type, 'function ' || oid::regprocedure, false
    from pg_proc, aclexplode(proacl) where pronamespace = 'public'::regnamespace
  )
  select format('grant %s on %s to %I;', lower(string_agg(privilege_type, ', ' order by privilege_type)),
    object, r.rolname) as text
  from granted join pg_roles r on r.oid = grantee
  where r.rolname like 'signalbox\_%' and not skip
  group by object, r.rolname order by object collate "C", r.rolname collate "C"`;

export const dumpSchema = async (db: Db): Promise<string> => {
  const parts = [
    '-- Made by `npm run schema --prefix packages/audit-store` from the migrations. Do not edit.',
  ];
  for (const query of [TABLES, INDEXES, VIEWS, FUNCTIONS, TRIGGERS]) parts.push(...(await texts(db, query)));
  parts.push((await texts(db, GRANTS)).join('\n'));
  return `${parts.join('\n\n')}\n`;
};
