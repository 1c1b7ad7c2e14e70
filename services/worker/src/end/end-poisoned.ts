import { next, type RunState } from '@signalbox/engine';
import { abortRun, type Ending, failRun } from './endings.ts';
import { expireCall } from '../calls/expire-call.ts';
import { MAX_CLAIMS } from './let-go.ts';

/** The step a run would go on with. */
const stepOf = (state: RunState): number => {
  const action = next(state);
  if (action.type === 'call_model') return action.step;
  const [call] = action.type === 'call_tools' ? action.calls : [];
  return call?.step ?? state.steps.length + 1;
};

/** Ends a run whose claims are used up: it brings down whoever works on it, or their machines were lost each time. */
export const endPoisoned = async (ending: Ending): Promise<void> => {
  const { session } = ending;
  const { turn } = session.state;
  if (turn?.status === 'open') expireCall(ending, turn);
  await failRun(
    ending,
    'poison_step',
    `${MAX_CLAIMS} claims in a row were lost or broke at step ${stepOf(session.state)}, so the run is not tried again.`,
  );
  // Refused: somebody asked it to stop meanwhile, which ends it just as well.
  if (!session.released) await abortRun(ending);
};
