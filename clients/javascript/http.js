// Calls over HTTP, by fetch. A request is sent once; who may send it again is decided elsewhere.

import { NuskaError, isFinal } from "./errors.js";

export class Http {
  constructor({ url, headers, timeout, fetch }) {
    this.url = url;
    this.headers = headers;
    this.timeout = timeout;
    this.fetch = fetch;
  }

  /** The answer of one request: its status, headers and parsed body (null when there is none). */
  async call(method, path, { query = {}, body, headers = {}, wait = 0 } = {}) {
    const response = await this.respond(method, path, {
      query: wait ? { ...query, wait } : query,
      body,
      headers,
      signal: AbortSignal.timeout((this.timeout + wait) * 1000),
    });
    const text = await read(response);
    const answer = parsed(text);
    if (!response.ok) throw refusal(response, answer);
    return { status: response.status, headers: response.headers, body: answer };
  }

  /** The error that an answer stands for which `respond` gave. */
  async refusal(response) {
    return refusal(response, parsed(await read(response)));
  }

  /** The response as fetch gives it, for who reads it while it comes. */
  async respond(method, path, { query = {}, body, headers = {}, signal } = {}) {
    const wanted = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = wanted.length ? `?${new URLSearchParams(wanted)}` : "";
    try {
      return await this.fetch(this.url + path + search, {
        method,
        headers: {
          ...this.headers,
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
          ...headers,
        },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
      });
    } catch (cause) {
      throw new NuskaError("no answer from the server", { cause });
    }
  }
}

function refusal(response, answer) {
  const title = answer?.title ?? answer?.error?.title ?? `${response.status}`;
  const description = answer?.description ?? answer?.error?.message ?? "";
  return new NuskaError([title, description].filter(Boolean).join(": "), {
    status: response.status,
    title,
    retryAfter: Number(response.headers.get("retry-after")) || 0,
    final: isFinal(response.status, answer?.title, response.headers.get("retry-after")),
  });
}

async function read(response) {
  try {
    return await response.text();
  } catch (cause) {
    throw new NuskaError("the connection broke off before the whole answer", { cause });
  }
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null; // a proxy's page, say; the status speaks for it
  }
}
