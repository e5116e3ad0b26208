// Messages as they are posted: over WebSocket, or as server-sent events where there is none.
// Comes back when cut off and goes on after the last marker: nothing twice, gaps are told.

import { NuskaError, passes, pause, sleep } from "./errors.js";
import { events } from "./events.js";
import { Socket } from "./socket.js";

const LONGEST_PAUSE = 30; // seconds between two attempts to come back
const FIRST_PAUSE = 0.5;
const NORMAL = 1000; // close codes
const RESTARTING = 1012; // of a server that is back in a moment
const RESTART_SPREAD = 2; // seconds over which its clients come back
const SETTLED = 10; // seconds of a connection after which a cut is taken for the first one
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
  #late;
  #openedAt = 0;
  #failures = 0;

  constructor(options, http, queues, settings) {
    const { topic = false, since = {}, filter, over, openWithin } = settings;
    const { onMessage, onGap, onState, ended } = settings;
    if (queues.length === 0) throw new TypeError("a subscription needs the name of a queue");
    if (topic && queues.length > 1) throw new TypeError("a subscription is of one topic at most");
    this.queues = queues;
    /** Whether the name is that of a topic. */
    this.topic = topic;
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
    if (openWithin !== undefined)
      this.#late = setTimeout(() => this.#fail(openWithin), openWithin * 1000);
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
    while (!end.aborted) {
      let stagger = 0; // seconds, beside the pause, where many come back at once
      let retryAfter = 0;
      try {
        stagger = await connect.call(this);
      } catch (error) {
        if (!passes(error)) {
          this.#failure ??= error;
          break;
        }
        retryAfter = error.retryAfter;
      }
      if (end.aborted) break;
      if (this.#openedAt && Date.now() - this.#openedAt > SETTLED * 1000) this.#failures = 0;
      this.#openedAt = 0;
      this.onState("waiting");
      await this.#drained();
      await sleep(stagger + retryAfter + pause(++this.#failures, LONGEST_PAUSE, FIRST_PAUSE), end);
    }
    clearTimeout(this.#late);
    this.#ended();
    this.#end.abort();
    this.#wake();
    this.onState("closed", this.#failure ?? undefined);
  }

  #opened() {
    clearTimeout(this.#late);
    this.#openedAt = Date.now();
    this.onState("open");
  }

  /** The first connection did not come in time. */
  #fail(seconds) {
    this.#failure = new NuskaError(`no connection to the server within ${seconds} seconds`);
    this.#end.abort();
  }

  /** Settles when the connection is over, with the seconds to stay away for others' sake. */
  async #overSocket() {
    let socket;
    let close;
    const over = new Promise((done) => {
      socket = new Socket(this.#options, {
        ended: done,
        hear: (frame) => {
          if (this.#hear(frame)) socket.close();
        },
      });
      close = () => (socket.close(), done({ code: NORMAL })); // without waiting for a good-bye
    });
    this.#end.signal.addEventListener("abort", close, { once: true });
    try {
      const [name] = this.queues;
      const one = this.queues.length === 1;
      const since = one ? this.markers[name] : Object.keys(this.markers).length ? this.markers : undefined;
      const reply = await socket.call("subscription_create", {
        ...(one ? { [this.topic ? "topic_name" : "queue_name"]: name } : { queue_names: this.queues }),
        ttl: TTL,
        options: { detailed: true, since, filter: this.filter },
      });
      const begun = reply.markers ?? { [name]: reply.marker };
      this.markers = { ...begun, ...this.markers };
      this.#opened();
      const watch = this.#watch(socket);
      const event = await over.finally(() => clearInterval(watch));
      return event.code === RESTARTING ? RESTART_SPREAD * Math.random() : 0;
    } finally {
      this.#end.signal.removeEventListener("abort", close);
      socket.close();
    }
  }

  /** A page is not told that nobody is at the other end: ask, when nothing comes for long. */
  #watch(socket) {
    const { silence } = this.#options;
    const look = () => {
      if (Date.now() - socket.heardAt >= silence * 1000) socket.isThere();
    };
    return setInterval(look, (silence * 1000) / 2);
  }

  /** As server-sent events: one stream for each queue; when one is over, all are. */
  async #overEvents() {
    const streams = new AbortController();
    const close = () => streams.abort();
    this.#end.signal.addEventListener("abort", close, { once: true });
    try {
      return await Promise.race(this.queues.map((queue) => this.#stream(queue, streams)));
    } finally {
      this.#end.signal.removeEventListener("abort", close);
      streams.abort();
    }
  }

  async #stream(queue, streams) {
    const marker = this.markers[queue];
    const { openTimeout, silence } = this.#options;
    const late = setTimeout(() => streams.abort(), openTimeout * 1000);
    const response = await this.#http.respond(
      "GET",
      `/v2/${this.topic ? "topics" : "queues"}/${encodeURIComponent(queue)}/messages/stream`,
      {
        query: { attributes: true, filter: this.filter && JSON.stringify(this.filter) },
        headers: { Accept: "text/event-stream", ...(marker && { "Last-Event-ID": marker }) },
        signal: streams.signal,
      },
    ).finally(() => clearTimeout(late));
    if (!response.ok)
      throw await this.#http.refusal(response);
    let begun = false;
    let retry = 0;
    let stopping = false;
    for await (const { type, id, data } of events(response.body, silence)) {
      if (type === "retry") retry = Number(data) / 1000;
      if (type === "notice") stopping ||= JSON.parse(data).reason === "stopping";
      if (type === "marker") {
        this.markers[queue] = id;
        if (!begun) this.#opened(); // the first one says from where on it is told
        begun = true;
        continue;
      }
      const kind = { gap: "Gap", message: "Notification" }[type];
      if (!kind) continue;
      const { id: messageId, ...rest } = JSON.parse(data);
      const frame = { ...rest, Message_Type: kind, message_id: messageId, queue_name: queue, marker: id };
      if (this.#hear(frame)) return 0;
    }
    return stopping ? retry : 0;
  }

  /** Take in what came; true when no more can be held. */
  #hear(frame) {
    if (this.#end.signal.aborted) return true;
    const { Message_Type: kind, queue_name: queue = frame.topic_name, marker } = frame;
    if (kind === "SubscriptionEnded") return true;
    if (kind !== "Notification" && kind !== "Gap") return false;
    this.markers[queue] = marker;
    this.#failures = 0;
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
