/**
 * For `fetch`: a connection may be silent for as long as its caller waits. Node ends one after five minutes without a
 * byte, and a model that reasons out of sight is silent for longer; an attempt has a deadline of its own. All else is
 * as the process has it, a proxy too.
 */

type Dispatcher = NonNullable<RequestInit['dispatcher']>;

/** Where undici, also the one inside Node, keeps the dispatcher that a `fetch` without one uses. */
const OF_THE_PROCESS = Symbol.for('undici.globalDispatcher.1');

const patient: Pick<Dispatcher, 'dispatch'> = {
  dispatch: (options, handler) => {
    const dispatcher = Reflect.get(globalThis, OF_THE_PROCESS) as Dispatcher;
    return dispatcher.dispatch({ ...options, headersTimeout: 0, bodyTimeout: 0 }, handler);
  },
};

/** `fetch` calls nothing else of it. */
export const patientDispatcher = patient as Dispatcher;
