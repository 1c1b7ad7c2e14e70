/** As much of the neighbours' interfaces as their programs use: the packages themselves are there only for the bench. */

declare module '@dbos-inc/dbos-sdk' {
  interface Handle<T> {
    getResult(): Promise<T>;
  }
  export const DBOS: {
    setConfig(config: {
      name: string;
      systemDatabaseUrl: string;
      runAdminServer: boolean;
      logLevel: string;
    }): void;
    launch(): Promise<void>;
    registerWorkflow<Args extends unknown[], T>(
      workflow: (...args: Args) => Promise<T>,
      options: { name: string },
    ): (...args: Args) => Promise<T>;
    startWorkflow<Args extends unknown[], T>(
      workflow: (...args: Args) => Promise<T>,
    ): (...args: Args) => Promise<Handle<T>>;
    runStep<T>(step: () => Promise<T>, options: { name: string }): Promise<T>;
  };
}

declare module '@langchain/langgraph' {
  interface Graph {
    addNode(name: string, node: (state: never) => Promise<object>): Graph;
    addEdge(from: string, to: string): Graph;
    addConditionalEdges(from: string, choose: (state: never) => string): Graph;
    compile(options: { checkpointer: object }): {
      invoke(
        input: object,
        options: { configurable: { thread_id: string }; recursionLimit: number; durability: 'sync' },
      ): Promise<object>;
    };
  }
  export const START: string;
  export const END: string;
  export const StateGraph: new (state: object) => Graph;
  export const Annotation: {
    <T>(options: { reducer: (before: T, after: T) => T; default: () => T }): object;
    Root(fields: object): object;
  };
}

declare module '@langchain/langgraph-checkpoint-postgres' {
  export const PostgresSaver: {
    fromConnString(url: string): { setup(): Promise<void> };
  };
}

declare module '@restatedev/restate-sdk' {
  export interface Context {
    run<T>(name: string, action: () => Promise<T>): Promise<T>;
  }
  export function service(definition: {
    name: string;
    handlers: Record<string, (context: Context, input: never) => Promise<unknown>>;
  }): object;
  export function serve(options: { services: object[]; port: number }): Promise<number>;
}
