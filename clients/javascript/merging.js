// Posts to one queue that come while others are under way go together, in one frame.
//
// At a low rate every post goes by itself and at once. At a high one, what has gathered while two
// requests were under way becomes the next one: far more messages a second, in the order of the
// calls. Nobody can tell: each call has its own ids or its own error, because a frame that is
// refused is taken apart, and each post judged by itself.

import { NuskaError } from "./errors.js";

const UNDER_WAY = 2; // requests at once before posts wait for each other
const MOST_TOGETHER = 100; // messages of a frame
const POST_SIZE = 262_144 - 1024; // bytes of them: what a server takes unless told otherwise
const WIDEST = 3; // bytes that one unit of a JavaScript string may need

export class Merger {
  /** `send` stores all it is given, or nothing, and resolves with their ids; `idle` is called when
   * nothing is left to do. */
  constructor(send, idle = () => {}) {
    this.send = send;
    this.idle = idle;
    this.waiting = [];
    this.underWay = 0;
    /** What goes together; the queue may turn out to take less. */
    this.most = MOST_TOGETHER;
    this.size = POST_SIZE;
  }

  /** The ids of messages, once they are stored. */
  post(messages) {
    return new Promise((done, fail) => {
      const size = messages.reduce((sum, message) => sum + sizeOf(message), 0);
      this.waiting.push({ messages, size, done, fail });
      this.#goOn();
    });
  }

  /** Send nothing more; what is under way ends as its request does. */
  stop() {
    for (const { fail } of this.waiting.splice(0)) fail(new NuskaError("the client was closed"));
  }

  #goOn() {
    while (this.underWay < UNDER_WAY && this.waiting.length) {
      const batch = this.#gathered();
      this.underWay++;
      this.#store(batch).finally(() => {
        this.underWay--;
        this.#goOn();
        if (this.underWay === 0) this.idle();
      });
    }
  }

  /** What may go together now, in the order of the calls; at least one. */
  #gathered() {
    let [count, size, calls] = [0, 0, 0];
    for (const waiting of this.waiting) {
      count += waiting.messages.length;
      size += waiting.size;
      if (calls && (count > this.most || size > this.size)) break;
      calls++;
    }
    return this.waiting.splice(0, calls);
  }

  async #store(batch) {
    const together = batch.flatMap(({ messages }) => messages);
    try {
      const ids = await this.send(together);
      let given = 0;
      for (const { messages, done } of batch) done(ids.slice(given, (given += messages.length)));
    } catch (error) {
      if (batch.length > 1 && error.status >= 400 && error.status < 500) {
        await this.#storeApart(batch);
      } else {
        for (const { fail } of batch) fail(error);
      }
    }
  }

  /** One of them is at fault, or they were too much together. */
  async #storeApart(batch) {
    let failed = false;
    for (const { messages, done, fail } of batch) {
      try {
        done(await this.send(messages));
      } catch (error) {
        failed = true;
        fail(error);
      }
    }
    if (failed) return;
    const count = batch.reduce((sum, { messages }) => sum + messages.length, 0);
    this.most = Math.max(1, Math.floor(count / 2));
    this.size = batch.reduce((sum, { size }) => sum + size, 0) / 2;
  }
}

/** Bytes that a message takes at most. Throws for what is no JSON, so that nobody else's post has
 * to suffer from it. */
const sizeOf = (message) => (JSON.stringify(message)?.length ?? 0) * WIDEST;
