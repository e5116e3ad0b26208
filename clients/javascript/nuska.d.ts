/** A client of the queue service for browsers and Node >= 20. Times are in seconds. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What `POST /v2/queues/NAME/share` answers: access to paths of one project until a moment. */
export interface SignedUrl {
  signature: string;
  expires: string;
  methods: string[];
  paths: string[];
  project: string;
}

export interface Options {
  /** Whose queues; a signed URL names one itself. */
  project?: string;
  /** A UUID; by it a listing can leave out what this client posted. */
  clientId?: string;
  /** Sent as `X-Auth-Token`. */
  token?: string;
  signed?: SignedUrl;
  /** Further headers of every request. */
  headers?: Record<string, string>;
  /** For one attempt of a call (30); a `wait` comes on top. */
  timeout?: number;
  /** For one attempt at a connection (10). */
  openTimeout?: number;
  /** A live connection without a sign of life for so long is given up (45). */
  silence?: number;
  /** How calls go: a request each ("http"), or many at once over one connection. */
  transport?: "http" | "websocket";
  /** Where the platform has none, or to replace it. */
  fetch?: typeof globalThis.fetch;
  WebSocket?: new (url: string) => WebSocket;
}

export interface PostOptions {
  ttl?: number;
  delay?: number;
  attributes?: Record<string, Json>;
}

export interface NewMessage extends PostOptions {
  body: Json;
}

export interface Message<Body = Json> {
  id: string;
  body: Body;
  ttl: number;
  age: number;
  attributes?: Record<string, Json>;
}

export interface ListOptions {
  /** The marker of a page or of a live message, or a message's id, to start after. */
  marker?: string;
  limit?: number;
  /** False leaves out what this client posted. */
  echo?: boolean;
  includeClaimed?: boolean;
  includeDelayed?: boolean;
  attributes?: boolean;
  /** How long to wait in the server for a page that would be empty. */
  wait?: number;
}

export interface ClaimOptions {
  limit?: number;
  ttl?: number;
  grace?: number;
  wait?: number;
  attributes?: boolean;
}

export interface LiveMessage<Body = Json> {
  /** Or the topic. */
  queue: string;
  id: string;
  /** Where to go on after this message. */
  marker: string;
  body: Body;
  ttl: number;
  attributes?: Record<string, Json>;
}

/** Some messages of `queue` up to `marker` are missing: the server no longer had them. */
export interface Gap {
  queue: string;
  marker: string;
}

export interface SubscribeOptions<Body = Json> {
  /** The name is that of a topic: what is published to it. */
  topic?: boolean;
  /** Begin after this marker, of one queue or of each by its name; else with what comes now. */
  since?: string | Record<string, string>;
  /** Only messages that fit. */
  filter?: Record<string, Json>;
  /** WebSocket where there is one, or else server-sent events. */
  over?: "websocket" | "events";
  /** End with an error unless the first connection is there after so many seconds; else it is
   * tried for ever. */
  openWithin?: number;
  /** Told of each message; without it, iterate. */
  onMessage?: (message: LiveMessage<Body>) => void;
  onGap?: (gap: Gap) => void;
  onState?: (state: "open" | "waiting" | "closed", error?: NuskaError) => void;
}

export class NuskaError extends Error {
  /** The server's status; 0 when there was no answer: then the call may have been carried out. */
  status: number;
  title: string;
  retryAfter: number;
  /** No other attempt makes sense until somebody has done something about it. */
  final: boolean;
}

export class Nuska {
  constructor(url: string, options: Options);
  readonly clientId: string;
  readonly project: string;
  readonly transport: "http" | "websocket";
  queue(name: string): Queue;
  /** What is posted; comes back when cut off, and goes on where it was. */
  subscribe<Body = Json>(queues: string | string[], options?: SubscribeOptions<Body>): Live<Body>;
  /** End all subscriptions, and the connection if there is one. */
  close(): void;
}

export class Queue {
  private constructor();
  readonly name: string;
  /** When this resolves with the message's id, the message is stored. */
  post(body: Json, options?: PostOptions): Promise<string>;
  /** All are stored, or none. */
  postMany(messages: NewMessage[]): Promise<string[]>;
  list<Body = Json>(
    options?: ListOptions,
  ): Promise<{ messages: Message<Body>[]; marker: string | undefined }>;
  messages<Body = Json>(options?: ListOptions): AsyncGenerator<Message<Body>, void>;
  /** Null when there was nothing to claim. */
  claim<Body = Json>(options?: ClaimOptions): Promise<Claim<Body> | null>;
  renew(claimId: string, options?: { ttl?: number; grace?: number }): Promise<void>;
  release(claimId: string): Promise<void>;
  delete(messageId: string, options?: { claimId?: string }): Promise<void>;
  /** Take messages out of the queue for good. */
  pop<Body = Json>(limit?: number, options?: { wait?: number }): Promise<Message<Body>[]>;
  subscribe<Body = Json>(options?: SubscribeOptions<Body>): Live<Body>;
}

export class Claim<Body = Json> {
  private constructor();
  readonly id: string;
  readonly messages: Message<Body>[];
  /** The work on this message is done. */
  delete(message: Message<Body>): Promise<void>;
  renew(options?: { ttl?: number; grace?: number }): Promise<void>;
  release(): Promise<void>;
}

export interface Live<Body = Json> extends AsyncIterable<LiveMessage<Body>> {
  readonly queues: string[];
  /** Of each queue, after what to go on: good for `since`. */
  readonly markers: Record<string, string>;
  close(): void;
}
