// A client of the queue service for browsers and Node >= 20. It needs no other package.
//
//     const nuska = new Nuska("http://127.0.0.1:8888", { project: "home" });
//     await nuska.queue("lamps").post({ lamp: 3, on: true });
//     for await (const message of nuska.subscribe("lamps")) console.log(message.body);

import { NuskaError, persist } from "./errors.js";
import { Http } from "./http.js";
import { Live } from "./live.js";
import { Merger } from "./merging.js";
import { Socket } from "./socket.js";

export { NuskaError };

const TIMEOUT = 30; // seconds for one attempt of a call; a `wait` comes on top
const OPEN_TIMEOUT = 10; // seconds for one attempt at a connection
const SILENCE = 45; // seconds without a sign of life after which a connection is given up

export class Nuska {
  #options;
  #http;
  #socket = null;
  #lives = new Set();
  #mergers = new Map();

  constructor(url, options = {}) {
    const { project, clientId = crypto.randomUUID(), token, signed, headers = {} } = options;
    if (project === undefined && signed === undefined)
      throw new TypeError("a client needs a project, or a signed URL that names one");
    this.clientId = clientId;
    this.project = signed?.project ?? project;
    this.transport = options.transport ?? "http";
    this.#options = {
      url: url.replace(/\/+$/, "").replace(/\/v2$/, ""),
      headers: {
        ...headers,
        ...credentials(token, signed),
        "Client-ID": clientId,
        "X-Project-Id": this.project,
      },
      timeout: options.timeout ?? TIMEOUT,
      openTimeout: options.openTimeout ?? OPEN_TIMEOUT,
      silence: options.silence ?? SILENCE,
      fetch: options.fetch ?? ((...request) => globalThis.fetch(...request)),
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
    };
    if (this.transport === "websocket" && !this.#options.WebSocket)
      throw new TypeError("there is no WebSocket here: pass one as the option WebSocket");
    this.#http = new Http(this.#options);
  }

  /** The queue of that name, whether or not it exists. */
  queue(name) {
    return new Queue(this, name, {
      http: (...call) => this.#http.call(...call),
      ask: (...call) => this.#ask(...call),
      together: this.#mayMerge ? (messages, send) => this.#together(name, messages, send) : undefined,
    });
  }

  /** What is posted to one queue, or to several, from now on or since a marker. */
  subscribe(queues, options = {}) {
    const names = [queues].flat();
    const live = new Live(this.#options, this.#http, names, {
      ...options,
      ended: () => this.#lives.delete(live),
    });
    this.#lives.add(live);
    return live;
  }

  /** End all subscriptions, and the connection if there is one. */
  close() {
    for (const live of this.#lives) live.close();
    for (const merger of this.#mergers.values()) merger.stop();
    this.#socket?.close();
    this.#socket = null;
  }

  /** What a signed URL allows may be counted by requests, so each of them stays one. */
  get #mayMerge() {
    return this.transport === "websocket" && this.#options.headers["URL-Signature"] === undefined;
  }

  #together(name, messages, send) {
    let merger = this.#mergers.get(name);
    if (!merger) this.#mergers.set(name, (merger = new Merger(send, () => this.#mergers.delete(name))));
    return merger.post(messages);
  }

  #ask(...call) {
    if (this.#socket === null || this.#socket.lost) this.#socket = new Socket(this.#options);
    return this.#socket.call(...call);
  }
}

/** Made by `Nuska.queue`. Nothing is asked until a call. */
export class Queue {
  #http;
  #ask;
  #overSocket;
  #together;

  constructor(nuska, name, { http, ask, together }) {
    if (!name) throw new TypeError("a queue needs a name");
    this.name = name;
    this.href = `/v2/queues/${encodeURIComponent(name)}`;
    this.#http = http;
    this.#ask = (action, body, options) => ask(action, { queue_name: name, ...body }, options);
    this.#overSocket = nuska.transport === "websocket";
    this.#together = together;
    this.subscribe = (options) => nuska.subscribe(name, options); // knows the others, to end with them
  }

  /** Post one message; its id. When this resolves, the message is stored. */
  async post(body, { ttl, delay, attributes } = {}) {
    return (await this.postMany([{ body, ttl, delay, attributes }]))[0];
  }

  /** Post messages, `{body, ttl?, delay?, attributes?}`: all are stored, or none. Their ids. */
  async postMany(messages) {
    const send = (all) => this.#store(all);
    return this.#together ? this.#together(messages, send) : send(messages);
  }

  async #store(messages) {
    // The same key on every attempt: the server stores the messages once.
    const headers = { "Idempotency-Key": crypto.randomUUID() };
    const body = { messages };
    return persist(async () => {
      if (this.#overSocket)
        return (await this.#ask("message_post", body, { headers })).message_ids;
      const answer = await this.#http("POST", `${this.href}/messages`, { body, headers });
      return answer.body.resources.map((href) => href.split("/").at(-1));
    });
  }

  /** One page of messages, oldest first, and the marker of the next; a page may be empty. */
  async list({ marker, limit, echo = true, includeClaimed, includeDelayed, attributes, wait = 0 } = {}) {
    const query = {
      marker,
      limit,
      echo,
      include_claimed: includeClaimed,
      include_delayed: includeDelayed,
      attributes,
    };
    return persist(async () => {
      if (this.#overSocket) {
        const page = await this.#ask("message_list", query, { wait });
        return { messages: page.messages, marker: page.marker ?? marker };
      }
      const { body } = await this.#http("GET", `${this.href}/messages`, { query, wait });
      const next = body?.links?.find(({ rel }) => rel === "next")?.href;
      const following = next && new URLSearchParams(next.split("?")[1]).get("marker");
      return { messages: body?.messages ?? [], marker: following ?? marker };
    });
  }

  /** All messages, oldest first, fetched page by page. */
  async *messages(options = {}) {
    let { marker } = options;
    for (;;) {
      const page = await this.list({ ...options, marker });
      yield* page.messages;
      if (page.messages.length === 0) return;
      marker = page.marker;
    }
  }

  /** Claim messages for `ttl` seconds; null when there was nothing for `wait` seconds. */
  async claim({ limit = 1, ttl = 300, grace, wait = 0, attributes } = {}) {
    const claimed = await persist(
      async () => {
        if (this.#overSocket)
          return this.#ask("claim_create", { limit, ttl, grace, attributes }, { wait });
        const { headers, body } = await this.#http("POST", `${this.href}/claims`, {
          query: { limit, attributes },
          body: { ttl, grace },
          wait,
        });
        return { claim_id: headers.get("location")?.split("/claims/")[1] ?? claimOf(body), ...body };
      },
      { harmful: true },
    );
    return claimed.messages?.length ? new Claim(this, claimed.claim_id, claimed.messages) : null;
  }

  /** Let a claim last `ttl` seconds from now. */
  async renew(claimId, { ttl = 300, grace } = {}) {
    await persist(() =>
      this.#overSocket
        ? this.#ask("claim_update", { claim_id: claimId, ttl, grace })
        : this.#http("PATCH", `${this.href}/claims/${claimId}`, { body: { ttl, grace } }),
    );
  }

  /** End a claim; its messages are free at once. */
  async release(claimId) {
    await persist(() =>
      this.#overSocket
        ? this.#ask("claim_delete", { claim_id: claimId })
        : this.#http("DELETE", `${this.href}/claims/${claimId}`),
    );
  }

  /** Delete one message; it need not exist. A claimed one needs the id of its claim. */
  async delete(messageId, { claimId } = {}) {
    await persist(() =>
      this.#overSocket
        ? this.#ask("message_delete", { message_id: messageId, claim_id: claimId })
        : this.#http("DELETE", `${this.href}/messages/${messageId}`, { query: { claim_id: claimId } }),
    );
  }

  /** Take up to `limit` messages out of the queue for good. */
  async pop(limit = 1, { wait = 0 } = {}) {
    const popped = await persist(
      async () =>
        this.#overSocket
          ? this.#ask("message_delete_many", { pop: limit }, { wait })
          : (await this.#http("DELETE", `${this.href}/messages`, { query: { pop: limit }, wait })).body,
      { harmful: true },
    );
    return popped?.messages ?? [];
  }
}

/** Messages that nobody else gets while the claim lasts. Nobody renews it by itself. */
export class Claim {
  constructor(queue, id, messages) {
    this.queue = queue;
    this.id = id;
    this.messages = messages;
  }

  /** The work on this message is done. */
  delete(message) {
    return this.queue.delete(message.id, { claimId: this.id });
  }

  renew(options) {
    return this.queue.renew(this.id, options);
  }

  release() {
    return this.queue.release(this.id);
  }
}

/** Browsers show the header Location to pages of other origins only when the server says so. */
const claimOf = (body) => body?.messages?.[0]?.href?.split("claim_id=")[1];

function credentials(token, signed) {
  if (signed !== undefined)
    return {
      "URL-Signature": signed.signature,
      "URL-Expires": signed.expires,
      "URL-Methods": signed.methods.join(","),
      "URL-Paths": signed.paths.join(","),
    };
  return token === undefined ? {} : { "X-Auth-Token": token };
}
