// Messages as they are posted: over WebSocket, or as server-sent events where there is none.
// Comes back when cut off and goes on after the last marker: nothing twice, gaps are told.

import { NuskaError, passes, pause, sleep } from "./errors.js";
import { events } from "./events.js";
import { Socket } from "./socket.js";

const LONGEST_PAUSE = 30; // seconds between two attempts to come back
const FIRST_PAUSE = 0.5;
const RESTARTING = 1012; // close code of a server that is back in a moment
const RESTART_SPREAD = 2; // seconds over which its clients come back
const TTL = 86_400; // seconds a subscription lasts before it is made anew
const MOST_WAITING = 1000; // messages held for who iterates slowly; then the line is closed

export class Live {
  #options;
  #http;
  #over;
  #end = new AbortController();
  #waiting = [];
  #wake = () => {};
  #failure = null;
  #ended;

  constructor(options, http, queues, { since = {}, filter, over, onMessage, onGap, onState, ended }) {
    if (queues.length === 0) throw new TypeError("a subscription needs the name of a queue");
    this.queues = queues;
    /** Of each queue, after what to go on: good for `since`. */
    this.markers = typeof since === "string" ? { [queues[0]]: since } : { ...since };
    this.filter = filter;
    this.onMessage = onMessage;
    this.onGap = onGap ?? ((gap) => console.warn("messages are missing", gap));
    this.onState = onState ?? (() => {});
    this.#options = options;
    this.#http = http;
    this.#over = over ?? (options.WebSocket ? "websocket" : "events");
    this.#ended = ended;
    this.#run();
  }

  /** End the subscription. */
  close() {
    this.#end.abort();
    this.#wake();
  }

  async *[Symbol.asyncIterator]() {
    if (this.onMessage) throw new TypeError("this subscription tells a function; do not iterate");
    try {
      for (;;) {
        while (this.#waiting.length) yield this.#waiting.shift();
        if (this.#failure) throw this.#failure;
        if (this.#end.signal.aborted) return;
        await new Promise((done) => (this.#wake = done));
      }
    } finally {
      this.close();
    }
  }

  async #run() {
    const end = this.#end.signal;
    const connect = this.#over === "websocket" ? this.#overSocket : this.#overEvents;
    let failures = 0;
    while (!end.aborted) {
      try {
        await connect.call(this, () => {
          failures = 0;
          this.onState("open");
        });
      } catch (error) {
        if (!passes(error)) {
          this.#failure = error;
          break;
        }
      }
      if (end.aborted) break;
      this.onState("waiting");
      await this.#drained();
      await sleep(pause(++failures, LONGEST_PAUSE, FIRST_PAUSE), end);
    }
    this.#ended();
    this.#end.abort();
    this.#wake();
    this.onState("closed", this.#failure ?? undefined);
  }

  /** Settles when the connection is over. */
  async #overSocket(opened) {
    let socket;
    const over = new Promise((done) => {
      socket = new Socket(this.#options, {
        ended: done,
        hear: (frame) => {
          if (this.#hear(frame)) socket.close();
        },
      });
    });
    const close = () => socket.close();
    this.#end.signal.addEventListener("abort", close, { once: true });
    try {
      const [name] = this.queues;
      const one = this.queues.length === 1;
      const since = one ? this.markers[name] : Object.keys(this.markers).length ? this.markers : undefined;
      const reply = await socket.call("subscription_create", {
        ...(one ? { queue_name: name } : { queue_names: this.queues }),
        ttl: TTL,
        options: { detailed: true, since, filter: this.filter },
      });
      const begun = reply.markers ?? { [name]: reply.marker };
      this.markers = { ...begun, ...this.markers };
      opened();
      const event = await over;
      if (event.code === RESTARTING)
        await sleep(RESTART_SPREAD * Math.random(), this.#end.signal);
    } finally {
      this.#end.signal.removeEventListener("abort", close);
      socket.close();
    }
  }

  /** As server-sent events: one stream for each queue; when one is over, all are. */
  async #overEvents(opened) {
    const streams = new AbortController();
    const close = () => streams.abort();
    this.#end.signal.addEventListener("abort", close, { once: true });
    try {
      await Promise.race(this.queues.map((queue) => this.#stream(queue, streams.signal, opened)));
    } finally {
      this.#end.signal.removeEventListener("abort", close);
      streams.abort();
    }
  }

  async #stream(queue, signal, opened) {
    const marker = this.markers[queue];
    const response = await this.#http.respond(
      "GET",
      `/v2/queues/${encodeURIComponent(queue)}/messages/stream`,
      {
        query: { attributes: true, filter: this.filter && JSON.stringify(this.filter) },
        headers: { Accept: "text/event-stream", ...(marker && { "Last-Event-ID": marker }) },
        signal,
      },
    );
    if (!response.ok)
      throw new NuskaError(`the stream was refused: ${response.status}`, { status: response.status });
    let begun = false;
    for await (const { type, id, data } of events(response.body)) {
      if (type === "marker") {
        this.markers[queue] = id;
        if (!begun) opened(); // the first one says from where on it is told
        begun = true;
        continue;
      }
      const kind = { gap: "Gap", message: "Notification" }[type];
      if (!kind) continue;
      const { id: messageId, ...rest } = JSON.parse(data);
      const frame = { ...rest, Message_Type: kind, message_id: messageId, queue_name: queue, marker: id };
      if (this.#hear(frame)) return;
    }
  }

  /** Take in what came; true when no more can be held. */
  #hear(frame) {
    if (this.#end.signal.aborted) return true;
    const { Message_Type: kind, queue_name: queue, marker } = frame;
    if (kind === "SubscriptionEnded") return true;
    if (kind !== "Notification" && kind !== "Gap") return false;
    this.markers[queue] = marker;
    if (kind === "Gap") {
      this.onGap({ queue, marker });
      return false;
    }
    const { message_id: id, body, ttl, attributes } = frame;
    const message = { queue, id, marker, body, ttl, attributes };
    if (this.onMessage) {
      this.onMessage(message);
      return false;
    }
    this.#waiting.push(message);
    this.#wake();
    return this.#waiting.length >= MOST_WAITING;
  }

  /** Resolves when whoever iterates has taken most of what is held. */
  async #drained() {
    while (this.#waiting.length > MOST_WAITING / 2 && !this.#end.signal.aborted)
      await sleep(FIRST_PAUSE, this.#end.signal);
  }
}
