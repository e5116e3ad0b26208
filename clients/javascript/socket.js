// One WebSocket: requests answered by their ids, everything else handed on as it comes.
//
// A connection may die without a word, and pages see no pings: one on which nothing at all has come
// while an answer was due is given up.

import { NuskaError, isFinal } from "./errors.js";

const BROKEN = 1006; // the code that browsers show where no close was said
const LISTS = ["URL-Methods", "URL-Paths"]; // lists in frames, comma-separated text over HTTP

export class Socket {
  /** @param hear called with every frame that is no reply; @param ended with the close event */
  constructor(
    { url, headers, timeout, openTimeout, WebSocket },
    { hear = () => {}, ended = () => {} } = {},
  ) {
    this.headers = inFrames(headers);
    this.timeout = timeout;
    this.openTimeout = openTimeout;
    /** When something came last, as `Date.now()` has it. */
    this.heardAt = 0;
    this.waiting = new Map();
    this.numbers = 0;
    this.hear = hear;
    this.ended = ended;
    this.lost = false;
    this.socket = new WebSocket(`${url.replace(/^http/, "ws")}/v2/websocket`);
    this.ready = this.#open();
    this.ready.catch(() => {}); // who asks hears of it
  }

  /** The body of the reply to one request. */
  async call(action, body, { headers = {}, wait = 0 } = {}) {
    await this.ready;
    const asked = wait ? { ...body, wait } : body;
    return this.#ask(action, { ...this.headers, ...headers }, asked, this.timeout + wait);
  }

  close() {
    this.socket.close();
  }

  /** Whether the other end answers at all; what it says does not matter. */
  async isThere() {
    try {
      await this.#ask("ping_node", this.headers, {}, this.openTimeout);
    } catch (error) {
      return error.status !== 0;
    }
    return true;
  }

  async #open() {
    await new Promise((done, fail) => {
      const late = setTimeout(() => {
        fail(new NuskaError(`no connection to the server within ${this.openTimeout} seconds`));
        this.#giveUp();
      }, this.openTimeout * 1000);
      this.socket.onopen = () => {
        clearTimeout(late);
        this.heardAt = Date.now();
        done();
      };
      this.socket.onerror = () => {}; // a close follows, which tells more
      this.socket.onmessage = (event) => this.#read(event.data);
      this.socket.onclose = (event) => {
        clearTimeout(late);
        fail(new NuskaError("no connection to the server"));
        this.#end(event);
      };
    });
    const { "X-Auth-Token": token, ...rest } = this.headers;
    if (token === undefined) return;
    this.headers = rest; // shown once
    await this.#ask("authenticate", { ...rest, "X-Auth-Token": token }, {}, this.timeout);
  }

  #ask(action, headers, body, within) {
    return new Promise((done, fail) => {
      if (this.lost) return fail(new NuskaError("the connection was lost"));
      const number = ++this.numbers;
      const asked = Date.now();
      const late = setTimeout(() => {
        this.waiting.delete(number);
        fail(new NuskaError("the server did not answer in time"));
        if (this.heardAt <= asked) this.#giveUp();
      }, within * 1000);
      this.waiting.set(number, { done, fail, late });
      this.socket.send(JSON.stringify({ action, request_id: number, headers, body }));
    });
  }

  #read(text) {
    this.heardAt = Date.now();
    const frame = JSON.parse(text);
    const waiting = this.waiting.get(frame.request_id);
    if (frame.request_id === undefined) return this.hear(frame);
    if (!waiting) return undefined; // its time was up
    this.waiting.delete(frame.request_id);
    clearTimeout(waiting.late);
    const { status } = frame.headers;
    if (status < 300) return waiting.done(frame.body);
    const { title = "", exception, error, retry_after: retryAfter = 0 } = frame.body ?? {};
    const reason = exception ?? error ?? (typeof frame.body === "string" ? frame.body : "");
    const message = [title, reason].filter(Boolean).join(": ") || `status ${status}`;
    const final = isFinal(status, title, retryAfter);
    return waiting.fail(new NuskaError(message, { status, title, retryAfter, final }));
  }

  /** Wait for no good-bye, which may never come. */
  #giveUp() {
    Object.assign(this.socket, { onopen: null, onmessage: null, onclose: null });
    this.socket.close();
    this.#end({ code: BROKEN, reason: "nothing came any more" });
  }

  #end(event) {
    if (this.lost) return;
    this.lost = true;
    const reason = [event.code, event.reason].filter(Boolean).join(" ");
    for (const { fail, late } of this.waiting.values()) {
      clearTimeout(late);
      fail(new NuskaError(`the connection broke off before its answer (${reason})`));
    }
    this.waiting.clear();
    this.ended(event);
  }
}

function inFrames(headers) {
  const { "X-Project-Id": project, ...rest } = headers;
  for (const name of LISTS) if (rest[name] !== undefined) rest[name] = rest[name].split(",");
  return { ...rest, "X-Project-ID": project };
}
