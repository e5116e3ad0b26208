// What goes over one line: posts that go together, and lines that die, each with a server that does
// just what a test says.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { Nuska } from "../nuska.js";

const SIGNED = { signature: "0", expires: "x", methods: ["POST"], paths: ["messages"], project: "p" };

/** A class like WebSocket, whose servers do what `script` says of each frame; all that were made. */
function lines(script, { opens = true } = {}) {
  const made = [];
  class Line {
    constructor() {
      this.madeAt = Date.now();
      this.number = made.push(this);
      if (opens) setTimeout(() => this.onopen?.(), 1);
    }
    send(text) {
      const frame = JSON.parse(text);
      queueMicrotask(() => script(frame, this));
    }
    replies({ request_id }, status, body) {
      const data = JSON.stringify({ request_id, request: {}, headers: { status }, body });
      setTimeout(() => this.onmessage?.({ data }), 1);
    }
    pushes(document) {
      this.onmessage?.({ data: JSON.stringify(document) });
    }
    closes(code) {
      this.onclose?.({ code, reason: "" });
    }
    close() {
      this.closed = true;
    }
  }
  return { Line, made };
}

const over = (Line, options = {}) =>
  new Nuska("http://127.0.0.1:9", { project: "p", transport: "websocket", WebSocket: Line, ...options });

const stored = ({ body: { messages } }) => ({
  message_ids: messages.map(({ body }) => `id-${body}`),
});

test("posts at once go together, in the order of the calls", async () => {
  const counts = [];
  const { Line } = lines((frame, line) => {
    counts.push(frame.body.messages.length);
    line.replies(frame, 201, stored(frame));
  });
  const nuska = over(Line);
  const ids = await Promise.all(Array.from({ length: 250 }, (_, n) => nuska.queue("jobs").post(n)));
  assert.deepEqual(ids, Array.from({ length: 250 }, (_, n) => `id-${n}`));
  assert.deepEqual(counts, [1, 1, 100, 100, 48]);
  nuska.close();
});

test("what is large does not go together with more than a server takes", async () => {
  const sizes = [];
  const { Line } = lines((frame, line) => {
    sizes.push(JSON.stringify(frame.body.messages).length);
    line.replies(frame, 201, { message_ids: frame.body.messages.map(() => "id") });
  });
  const nuska = over(Line);
  const large = "ü".repeat(20_000);
  await Promise.all(Array.from({ length: 40 }, () => nuska.queue("jobs").post(large)));
  assert.ok(sizes.length < 40);
  assert.ok(Math.max(...sizes) < 131_072); // of two bytes each
  nuska.close();
});

test("of posts that went together only the one at fault fails", async () => {
  const frames = [];
  const { Line } = lines((frame, line) => {
    frames.push(frame);
    const bad = frame.body.messages.some(({ ttl }) => ttl === 1);
    if (bad) line.replies(frame, 400, { exception: "The ttl is too short." });
    else line.replies(frame, 201, stored(frame));
  });
  const nuska = over(Line);
  const jobs = nuska.queue("jobs");
  const posts = Array.from({ length: 6 }, (_, n) => jobs.post(n, n === 4 ? { ttl: 1 } : {}));
  const outcomes = await Promise.allSettled(posts);
  assert.deepEqual(outcomes.map(({ status }) => status === "fulfilled"), [true, true, true, true, false, true]);
  assert.equal(outcomes[4].reason.status, 400);
  const keys = frames.map(({ headers }) => headers["Idempotency-Key"]);
  assert.equal(new Set(keys).size, keys.length);
  const loop = {};
  loop.loop = loop;
  const [broken, whole] = await Promise.allSettled([jobs.post(loop), jobs.post(7)]);
  assert.equal(broken.reason.name, "TypeError");
  assert.equal(whole.value, "id-7");
  nuska.close();
});

test("a frame that was too much is taken apart, and later ones are smaller", async () => {
  const counts = [];
  const { Line } = lines((frame, line) => {
    counts.push(frame.body.messages.length);
    if (frame.body.messages.length > 10) line.replies(frame, 400, { exception: "Too many." });
    else line.replies(frame, 201, stored(frame));
  });
  const nuska = over(Line);
  const jobs = nuska.queue("jobs");
  const ids = await Promise.all(Array.from({ length: 1000 }, (_, n) => jobs.post(n)));
  assert.equal(new Set(ids).size, 1000);
  assert.ok(counts.some((count) => count > 1 && count <= 10), `${counts}`);
  nuska.close();
});

test("posts by a signed URL go by themselves", async () => {
  const counts = [];
  const { Line } = lines((frame, line) => {
    counts.push(frame.body.messages.length);
    line.replies(frame, 201, stored(frame));
  });
  const nuska = over(Line, { signed: SIGNED });
  await Promise.all(Array.from({ length: 5 }, (_, n) => nuska.queue("jobs").post(n)));
  assert.deepEqual(counts, [1, 1, 1, 1, 1]);
  nuska.close();
});

test("who closes is told of posts that were not sent", async () => {
  const { Line } = lines((frame, line) => line.replies(frame, 201, stored(frame)));
  const nuska = over(Line);
  const posts = Promise.allSettled(Array.from({ length: 5 }, (_, n) => nuska.queue("jobs").post(n)));
  nuska.close();
  const outcomes = await posts;
  assert.deepEqual(outcomes.slice(0, 2).map(({ value }) => value), ["id-0", "id-1"]);
  for (const { reason } of outcomes.slice(2)) assert.match(reason.message, /was closed/);
});

test("a connection that does not come is an error after its time", async () => {
  const { Line, made } = lines(() => {}, { opens: false });
  const nuska = over(Line, { openTimeout: 0.02 });
  await assert.rejects(nuska.queue("jobs").post(1), { name: "NuskaError", status: 0 });
  assert.equal(made.length, 5);
  assert.ok(made.every(({ closed }) => closed));
});

test("a line on which nothing comes any more is replaced", async () => {
  const { Line, made } = lines((frame, line) => {
    if (line.number > 1) line.replies(frame, 201, stored(frame));
  });
  const nuska = over(Line, { timeout: 0.5 });
  assert.equal(await nuska.queue("jobs").post(1), "id-1");
  assert.equal(made.length, 2);
  nuska.close();
});

test("a line on which other answers come stays when one call is late", async () => {
  const { Line, made } = lines((frame, line) => {
    if (frame.action === "claim_create") return;
    line.replies(frame, 200, { messages: [] });
  });
  const nuska = over(Line, { timeout: 1 });
  const late = assert.rejects(nuska.queue("jobs").claim(), /in time/);
  await soon(100);
  await nuska.queue("jobs").list();
  await late;
  assert.equal(made.length, 1);
  nuska.close();
});

/** Subscribes, as servers do; `then` is what happens afterwards. */
const subscribes = (then) => (frame, line) => {
  if (frame.action !== "subscription_create") return then(frame, line);
  line.replies(frame, 201, { subscription_id: "1", marker: "10" });
  return setTimeout(() => then(frame, line), 2);
};

test("a subscription whose first connection does not come ends, when it was told to", async () => {
  const { Line } = lines(() => {}, { opens: false });
  const nuska = over(Line, { openTimeout: 0.02 });
  const states = [];
  await new Promise((done) =>
    nuska.subscribe("jobs", {
      openWithin: 0.1,
      onState: (state, error) => (states.push(error ?? state), state === "closed" && done()),
    }),
  );
  assert.equal(states.at(-1).status, 0);
  assert.match(states.at(-1).message, /0\.1 seconds/);
  assert.ok(!states.includes("open"));
  await assert.rejects(nuska.subscribe("jobs", { openWithin: 0.05 })[Symbol.asyncIterator]().next(), {
    name: "NuskaError",
  });
});

test("a subscription on a line that has died comes back, and asks before it gives a silent one up", async () => {
  let asked = 0;
  const { Line, made } = lines(
    subscribes((frame, line) => {
      if (frame.action !== "ping_node") return;
      asked++;
      if (line.number === 1 && asked < 3) line.replies(frame, 501, { error: "no" });
    }),
  );
  const nuska = over(Line, { silence: 0.2, openTimeout: 0.5 });
  const states = [];
  const live = nuska.subscribe("jobs", { onState: (state) => states.push(state) });
  while (made.length < 2) await soon(10);
  assert.ok(asked >= 3);
  assert.deepEqual(states.slice(0, 2), ["open", "waiting"]);
  live.close();
});

test("clients of a server that restarts come back at moments of their own", async () => {
  const clients = 20;
  const { Line, made } = lines(subscribes((_, line) => line.number <= clients && line.closes(1012)));
  const many = Array.from({ length: clients }, () => over(Line));
  for (const nuska of many) nuska.subscribe("jobs", {});
  while (made.length < 2 * clients) await soon(20);
  const moments = made.slice(clients).map(({ madeAt }) => madeAt);
  const spread = Math.max(...moments) - Math.min(...moments);
  assert.ok(spread > 500, `${spread} ms`);
  for (const nuska of many) nuska.close();
});

/** A server of event streams: of each request, what is written, and whether it ends then. */
async function streams(script) {
  const asked = [];
  const server = createServer((request, response) => {
    asked.push({ at: Date.now(), after: request.headers["last-event-id"] });
    script(asked.length, response);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const close = () => (server.closeAllConnections(), server.close());
  return { url: `http://127.0.0.1:${server.address().port}`, asked, close };
}

const begin = (response, text) => {
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.write(text);
};

test("by events: after a stop it comes back when the server says so", async () => {
  const stop = 'retry: 900\n\nevent: notice\ndata: {"reason": "stopping"}\n\n';
  const { url, asked, close } = await streams((number, response) => {
    begin(response, "retry: 1\n\nid: 7\n\n");
    if (number === 1) response.end(stop);
  });
  const nuska = new Nuska(url, { project: "p" });
  nuska.subscribe("jobs", { over: "events" });
  while (asked.length < 2) await soon(10);
  assert.ok(asked[1].at - asked[0].at >= 850);
  assert.equal(asked[1].after, "7");
  nuska.close();
  close();
});

test("by events: a stream without a sign of life is given up, and goes on where it was", async () => {
  const { url, asked, close } = await streams((_, response) => begin(response, "id: 7\n\n"));
  const nuska = new Nuska(url, { project: "p", silence: 0.5 });
  nuska.subscribe("jobs", { over: "events" });
  while (asked.length < 2) await soon(10);
  assert.equal(asked[1].after, "7");
  nuska.close();
  close();
});

test("by events: a server that takes the request and says nothing is asked again", async () => {
  const { url, asked, close } = await streams(() => {});
  const nuska = new Nuska(url, { project: "p", openTimeout: 0.05 });
  nuska.subscribe("jobs", { over: "events" });
  while (asked.length < 2) await soon(10);
  nuska.close();
  close();
});

const soon = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
