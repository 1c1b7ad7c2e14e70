import type { ToolName } from '@signalbox/contracts';
import { calculator } from './calculator.ts';
import { currentTime } from './current-time.ts';
import { httpRequest, type HttpToolOptions } from './http-request.ts';
import type { Toolbox } from './tool.ts';
import { type AnyTool, anyTool, createToolbox } from './toolbox.ts';
import { wait } from './wait.ts';

export { type PlannedCall, type Toolbox, type ToolContext, ToolError } from './tool.ts';
export { WAIT_OVER } from './wait.ts';

/** Every built-in tool, so that none of the names an agent may use has none; which it may use is in its spec. */
export const builtInTools = (options: HttpToolOptions): Toolbox =>
  createToolbox(
    Object.values({
      calculator: anyTool(calculator),
      current_time: anyTool(currentTime),
      http_request: anyTool(httpRequest(options)),
      wait: anyTool(wait),
    } satisfies Record<ToolName, AnyTool>),
  );
