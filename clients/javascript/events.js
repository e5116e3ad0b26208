// Reads a stream of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).
// EventSource is not used: Node 20 has none, and no EventSource can send headers.

import { NuskaError } from "./errors.js";

const LONGEST_LINE = 16 * 1024 * 1024; // characters; far more than a message may have

/**
 * The events of a response's body, as `{type, id, data}`. One of the type `marker` only has a new
 * id, one of the type `retry` says in milliseconds when to come back. An error when nothing comes
 * for `silence` seconds.
 */
export async function* events(body, silence) {
  let id = "";
  let event = { type: "message", data: [] };
  let moved = false;
  for await (const line of lines(body, silence)) {
    if (line === "") {
      if (event.data.length) yield { type: event.type, id, data: event.data.join("\n") };
      else if (moved) yield { type: "marker", id, data: "" };
      event = { type: "message", data: [] };
      moved = false;
      continue;
    }
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (field === "event") event.type = value || "message";
    else if (field === "data") event.data.push(value ?? "");
    else if (field === "id") [id, moved] = [value ?? "", true];
    else if (field === "retry" && /^[0-9]+$/.test(value)) yield { type: "retry", id, data: value };
  }
}

async function* lines(body, silence) {
  const decoder = new TextDecoder();
  const reader = body.getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await within(silence, reader.read()).catch((cause) => {
        throw new NuskaError("the stream broke off", { cause });
      });
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      if (rest.length > LONGEST_LINE) throw new NuskaError("a line of the stream is too long", { status: 500 });
      const ends = rest.split(/\r\n|\n|\r(?!$)/);
      rest = ends.pop();
      yield* ends;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** What `read` resolves with, or an error after so many seconds. */
function within(seconds, read) {
  return new Promise((done, fail) => {
    const late = setTimeout(() => fail(new Error("nothing came any more")), seconds * 1000);
    read.then(done, fail).finally(() => clearTimeout(late));
  });
}
