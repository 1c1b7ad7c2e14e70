import type { ErrorCode, Nudge, WaitReason } from '@signalbox/contracts';
import type { LlmStep, ToolStep } from './state.ts';

/** What the owner of a run may have to do now; next.ts says which it is. */
export type Action =
  | {
      readonly type: 'call_model';
      readonly step: number;
      readonly attempt: number;
      readonly model: string;
      readonly nudge: Nudge | null;
      readonly notBefore: string | null;
    }
  /** Announce and run these calls of the current answer side by side. */
  | { readonly type: 'call_tools'; readonly calls: readonly CallTool[] }
  /** The result of a `wait` is due. */
  | { readonly type: 'end_wait'; readonly steps: readonly ToolStep[] }
  /** An announced model call has no result: charge it, then call again. */
  | { readonly type: 'expire_call'; readonly step: LlmStep }
  | { readonly type: 'park'; readonly reason: WaitReason; readonly until: string | null }
  | { readonly type: 'succeed' }
  | {
      readonly type: 'fail';
      readonly code: ErrorCode;
      readonly message: string;
      readonly failedStep?: number;
    }
  | { readonly type: 'abort' }
  | { readonly type: 'none' };

export type CallModel = Extract<Action, { type: 'call_model' }>;

/** The actions that make calls: what is stopped or out of time makes none. */
export const startsWork = (action: Action): boolean =>
  action.type === 'call_model' || action.type === 'call_tools';

export interface CallTool {
  readonly step: number;
  readonly attempt: number;
  readonly callId: string;
  readonly name: string;
  /** The answer was cut off inside the call, so its arguments cannot be trusted. */
  readonly truncated: boolean;
}
