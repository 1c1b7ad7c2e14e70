/** Reads server-sent events from an answer, frame by frame. */
export interface Frame {
  readonly id?: string;
  readonly event?: string;
  readonly data?: string;
  readonly retry?: string;
}

const parse = (block: string): Frame => {
  const frame: Record<string, string> = {};
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) frame[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return frame;
};

export async function* frames(response: Response): AsyncGenerator<Frame> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      yield parse(text.slice(0, end));
      text = text.slice(end + 2);
    }
  }
}

/** All frames up to the end of the stream. */
export const allFrames = async (response: Response): Promise<Frame[]> => {
  const all: Frame[] = [];
  for await (const frame of frames(response)) all.push(frame);
  return all;
};

export const ids = (list: readonly Frame[]): number[] =>
  list.flatMap(({ id }) => (id === undefined ? [] : [Number(id)]));
