import { Redis } from 'ioredis';

/**
 * A connection whose commands of one turn of the event loop leave in one write. Owns whether its socket is held back.
 * States: open -> gathering (from a turn's first command to the turn's end) -> open.
 *
 * The auto-pipelining of ioredis would do it too, but sends nothing while replies are due, makes a second promise for
 * each command, and adds and removes one entry of a `Map` all the time: V8's old copies of such a map hold each other,
 * and with them every command, until the next look at the whole heap. All of it was promoted: scavenges took 5 times as
 * long, and a look at the whole heap came every few seconds.
 */
export class GatheringRedis extends Redis {
  #gathering: Redis['stream'] | null = null;

  override sendCommand(...args: Parameters<Redis['sendCommand']>): unknown {
    const { stream } = this;
    // After a reconnection it is another one; before the first there is none.
    if (stream?.writable && stream !== this.#gathering) this.#gather(stream);
    return super.sendCommand(...args);
  }

  #gather(stream: Redis['stream']): void {
    stream.cork();
    this.#gathering = stream;
    setImmediate(() => {
      if (this.#gathering === stream) this.#gathering = null;
      stream.uncork();
    });
  }
}
