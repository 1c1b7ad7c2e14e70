/** W as a LangGraph graph: a node calls the model, a node runs the tool, and a checkpoint is written after each. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Annotation, END, START, StateGraph } from '@langchain/langgraph';
import { PostgresSaver } from '@langchain/langgraph-checkpoint-postgres';
import { offer } from '../offer.ts';
import { serveProgram } from '../program.ts';
import type { ProgramSettings } from '../subjects/program.ts';
import { MODEL_BYTES, prose, type Shape, TOOL_BYTES } from '../work.ts';

interface Message {
  readonly role: 'user' | 'assistant' | 'tool';
  readonly content: string;
}
interface State {
  readonly messages: readonly Message[];
}

const pairs = ({ messages }: State): number => (messages.length - 1) >> 1;

const graphOf = async (url: string, { steps, latencyMs }: Shape) => {
  const checkpointer = PostgresSaver.fromConnString(url);
  await checkpointer.setup();
  const state = Annotation.Root({
    messages: Annotation<readonly Message[]>({
      reducer: (before, after) => [...before, ...after],
      default: () => [],
    }),
  });
  const model = async (now: State): Promise<State> => {
    if (latencyMs > 0) await sleep(latencyMs);
    return { messages: [{ role: 'assistant', content: prose(MODEL_BYTES, pairs(now)) }] };
  };
  const tool = async (now: State): Promise<State> => ({
    messages: [{ role: 'tool', content: prose(TOOL_BYTES, pairs(now)) }],
  });
  return new StateGraph(state)
    .addNode('model', model)
    .addNode('tool', tool)
    .addEdge(START, 'model')
    .addEdge('model', 'tool')
    .addConditionalEdges('tool', (now: State) => (pairs(now) >= steps ? END : 'model'))
    .compile({ checkpointer });
};

let graph: ReturnType<typeof graphOf> | undefined;

serveProgram<ProgramSettings>(async ({ load, settings }) => {
  const { invoke } = await (graph ??= graphOf(settings.url, load.shape)).then((built) => ({
    invoke: built.invoke.bind(built),
  }));
  const prefix = Date.now().toString(36);
  return await offer(load, (n) =>
    invoke(
      { messages: [{ role: 'user', content: 'Where is my order?' }] },
      {
        configurable: { thread_id: `${prefix}-${n}` },
        recursionLimit: 2 * load.shape.steps + 2,
        // As everywhere here: what happened is stored before the next thing happens.
        durability: 'sync',
      },
    ),
  );
});
