import { calculator } from './calculator.ts';
import { currentTime } from './current-time.ts';
import { httpRequest, type HttpToolOptions } from './http-request.ts';
import type { Toolbox } from './tool.ts';
import { createToolbox, anyTool } from './toolbox.ts';
import { wait } from './wait.ts';

export { type PlannedCall, type Toolbox, type ToolContext, ToolError } from './tool.ts';
export { WAIT_OVER } from './wait.ts';

/** Every built-in tool; which of them an agent may use is in its spec. */
export const builtInTools = (options: HttpToolOptions): Toolbox =>
  createToolbox([anyTool(calculator), anyTool(currentTime), anyTool(httpRequest(options)), anyTool(wait)]);
