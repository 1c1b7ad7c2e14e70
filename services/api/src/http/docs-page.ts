/** The OpenAPI document as one readable page: no script, no style sheet or font from elsewhere. */

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly security?: readonly { readonly bearer?: readonly string[] }[];
  readonly parameters?: readonly { name: string; in: string; required?: boolean; schema?: object }[];
  readonly requestBody?: { readonly content: Contents };
  readonly responses: {
    readonly [status: string]: { readonly description: string; readonly content?: Contents };
  };
}

type Contents = { readonly [type: string]: { readonly schema?: { readonly $ref?: string } } };

export interface ApiDocument {
  readonly info: { readonly title: string; readonly description?: string };
  readonly paths: { readonly [path: string]: { readonly [method: string]: Operation } };
  readonly components: { readonly schemas: { readonly [name: string]: object } };
}

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const schemaOf = ({ schema }: { schema?: { $ref?: string } }): string => {
  const name = schema?.$ref?.split('/').at(-1);
  return name === undefined ? '' : ` <a href="#${escape(name)}">${escape(name)}</a>`;
};

const contentsOf = (contents: Contents | undefined): string =>
  Object.entries(contents ?? {})
    .map(([type, content]) => `<code>${escape(type)}</code>${schemaOf(content)}`)
    .join(', ');

const row = (cells: readonly string[]): string =>
  `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;

const operationOf = (path: string, method: string, operation: Operation): string => {
  const scopes = (operation.security?.[0]?.bearer ?? []).map((scope) => `<code>${escape(scope)}</code>`);
  const parameters = (operation.parameters ?? []).map(({ name, in: where, schema }) =>
    row([`${where} <code>${escape(name)}</code>`, `<code>${escape(JSON.stringify(schema ?? {}))}</code>`]),
  );
  const body =
    operation.requestBody === undefined ? [] : [row(['body', contentsOf(operation.requestBody.content)])];
  const responses = Object.entries(operation.responses).map(([status, { description, content }]) =>
    row([escape(status), `${escape(description)} ${contentsOf(content)}`]),
  );
  return `<section><h2><b>${escape(method.toUpperCase())}</b> ${escape(path)}</h2>
<p>${escape(operation.summary ?? '')} ${escape(operation.description ?? '')}${scopes.length === 0 ? '' : ` Needs ${scopes.join(' and ')}.`}</p>
<table>${[...parameters, ...body, ...responses].join('\n')}</table></section>`;
};

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h2{font-size:1.1rem;margin:2.5rem 0 .25rem;border-top:1px solid #d5d9de;padding-top:1rem}h2 b{color:#0550ae}
table{border-collapse:collapse}td{padding:.2rem 1rem .2rem 0;vertical-align:top}code,pre{font-size:.85rem;overflow-wrap:anywhere}
pre{background:#f3f5f7;padding:1rem;overflow:auto;max-height:24rem}a{color:#0550ae}
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#14171a}pre{background:#1e2226}h2 b,a{color:#7ab7ff}h2{border-color:#343a40}}`;

export const docsPage = ({ info, paths, components }: ApiDocument): string => {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationOf(path, method, operation)),
  );
  const schemas = Object.entries(components.schemas).map(
    ([name, schema]) =>
      `<details id="${escape(name)}"><summary><code>${escape(name)}</code></summary><pre>${escape(JSON.stringify(schema, null, 2))}</pre></details>`,
  );
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(info.title)} API</title><style>${STYLE}</style></head><body><main><h1>${escape(info.title)} API</h1>
<p>${escape(info.description ?? '')} The machine-readable form is <a href="/openapi.json">/openapi.json</a>.</p>
${operations.join('\n')}<h2>Schemas</h2>${schemas.join('\n')}</main></body></html>`;
};
