/**
 * What Postgres takes of the same rows from one bare `json_to_recordset` insert per 1,000: all columns of events and
 * sealed contents, a primary key, no other index, no projection, nothing looked at.
 */
import pg from 'pg';

interface Table {
  readonly name: string;
  /** As json_to_recordset reads them. */
  readonly columns: string;
  readonly key: string;
}

const EVENTS: Table = {
  name: 'audit_events',
  columns: [
    'run_id text, seq int, event_id text, tenant_id text, epoch bigint, type text, category text, ts timestamptz',
    'actor jsonb, data jsonb, refs jsonb, prev text, hash text, body text',
  ].join(', '),
  key: 'run_id, seq',
};
const CONTENTS: Table = {
  name: 'contents',
  columns: 'run_id text, ref text, sealed bytea',
  key: 'run_id, ref',
};

const ROWS = 1000;

export interface Inserted {
  readonly rows: number;
  readonly seconds: number;
}

const copyTable = async (client: pg.Client, { name, columns, key }: Table): Promise<Inserted> => {
  const bare = `bare_${name}`;
  // As JSON of the server's making, so that bytes and times come as it reads them.
  const { rows } = await client.query<{ readonly row: string }>(
    `select to_json(t)::text as row from ${name} t where run_id like 'run\\_%'`,
  );
  await client.query(`create table ${bare} (${columns}, primary key (${key}))`);
  const started = performance.now();
  for (let at = 0; at < rows.length; at += ROWS) {
    const some = rows.slice(at, at + ROWS).map(({ row }) => row);
    await client.query(
      `insert into ${bare} select * from json_to_recordset($1::json) as x (${columns}) on conflict do nothing`,
      [`[${some.join()}]`],
    );
  }
  return { rows: rows.length, seconds: (performance.now() - started) / 1000 };
};

/** Copies what is stored, one table after the other. */
export const insertBare = async (
  databaseUrl: string,
): Promise<{ readonly events: Inserted; readonly contents: Inserted }> => {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return { events: await copyTable(client, EVENTS), contents: await copyTable(client, CONTENTS) };
  } finally {
    await client.end();
  }
};
