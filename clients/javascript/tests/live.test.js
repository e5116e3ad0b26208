// Subscriptions: over WebSocket and as server-sent events, cut off and back again.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Nuska } from "../nuska.js";
import { URL_OF_SERVER, client, wire } from "./server.js";

for (const over of ["websocket", "events"]) {
  const live = (name, run) =>
    test(`by ${over}: ${name}`, async () => {
      const line = await wire();
      const writer = client();
      const reader = client({ url: line.url, project: writer.project });
      const subscribe = (queue, options) => subscribed(reader, queue, { over, ...options });
      try {
        await run({ jobs: writer.queue("jobs"), line, subscribe });
      } finally {
        reader.close();
        line.close();
      }
    });

  live("messages come as they are posted", async ({ jobs, subscribe }) => {
    const { taken, open } = subscribe("jobs");
    await open();
    await jobs.post({ n: 1 }, { ttl: 60 });
    await jobs.post("two");
    const [first, second] = await taken(2);
    assert.equal(first.queue, "jobs");
    assert.deepEqual(first.body, { n: 1 });
    assert.equal(first.ttl, 60);
    assert.ok(first.id && first.marker);
    assert.equal(second.body, "two");
  });

  live("after a cut it goes on: nothing is missing, nothing comes twice", async ({ jobs, line, subscribe }) => {
    const { taken, open } = subscribe("jobs");
    await open();
    let posted = 0;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++) await jobs.post(posted++);
      line.cut();
      for (let i = 0; i < 5; i++) await jobs.post(posted++);
      await taken(posted);
    }
    const bodies = (await taken(posted)).map(({ body }) => body);
    assert.deepEqual(bodies, Array.from({ length: posted }, (_, n) => n));
  });

  live("it begins after a marker", async ({ jobs, subscribe }) => {
    const first = subscribe("jobs");
    await first.open();
    for (const body of ["a", "b", "c"]) await jobs.post(body);
    const [seen] = await first.taken(3);
    const { taken } = subscribe("jobs", { since: seen.marker });
    assert.deepEqual((await taken(2)).map(({ body }) => body), ["b", "c"]);
  });

  live("only what fits the filter comes", async ({ jobs, subscribe }) => {
    const { taken, open } = subscribe("jobs", { filter: { body: { lamp: ["on"] } } });
    await open();
    await jobs.post({ lamp: "off" });
    await jobs.post({ lamp: "on" });
    assert.deepEqual((await taken(1))[0].body, { lamp: "on" });
  });

  live("it can be iterated over, and ends with the loop", async ({ jobs, subscribe }) => {
    const { live: messages, open } = subscribe("jobs", { iterated: true });
    await open();
    for (const body of [1, 2, 3]) await jobs.post(body);
    const bodies = [];
    for await (const { body } of messages) {
      bodies.push(body);
      if (bodies.length === 3) break;
    }
    assert.deepEqual(bodies, [1, 2, 3]);
  });
}

for (const over of ["websocket", "events"])
  test(`by ${over}: what is published to a topic comes, and nothing of the queue of its name`, async () => {
    const writer = client();
    const publish = async (body) => {
      const answer = await fetch(`${URL_OF_SERVER}/v2/topics/news/messages`, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          "Client-ID": writer.clientId,
          "X-Project-Id": writer.project,
        },
        body: JSON.stringify({ messages: [{ body }] }),
      });
      assert.equal(answer.status, 201);
    };
    const reader = client({ project: writer.project });
    const { taken, open, live } = subscribed(reader, "news", { over, topic: true });
    await open();
    await writer.queue("news").post("posted");
    await publish("published");
    await publish("again");
    const found = await taken(2);
    assert.deepEqual(found.map(({ queue, body }) => [queue, body]), [["news", "published"], ["news", "again"]]);
    assert.equal(live.markers.news, found[1].marker);
    reader.close();
    assert.throws(() => reader.subscribe(["a", "b"], { topic: true }), /one topic/);
  });

test("by events: a signed URL for reading is enough", async () => {
  const owner = client();
  const answer = await fetch(`${URL_OF_SERVER}/v2/queues/readings/share`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "Client-ID": owner.clientId,
      "X-Project-Id": owner.project,
    },
    body: JSON.stringify({ methods: ["GET"] }),
  });
  const display = new Nuska(URL_OF_SERVER, { signed: await answer.json() });
  const { taken, open } = subscribed(display, "readings", { over: "events" });
  await open();
  await owner.queue("readings").post({ celsius: 21 });
  assert.deepEqual((await taken(1))[0].body, { celsius: 21 });
  display.close();
});

/** A subscription, and how to wait for its states and messages. */
function subscribed(nuska, queue, { iterated = false, ...options }) {
  const messages = [];
  let state = "waiting";
  let changed = () => {};
  const until = async (holds) => {
    while (!holds()) await new Promise((done) => (changed = done));
  };
  const live = nuska.subscribe(queue, {
    ...options,
    onState: (now) => ((state = now), changed()),
    ...(iterated ? {} : { onMessage: (message) => (messages.push(message), changed()) }),
  });
  return {
    live,
    open: () => until(() => state === "open"),
    taken: async (count) => (await until(() => messages.length >= count), messages),
  };
}

test("a stream that is refused says why in the server's words", async () => {
  const words = { error: { code: 401, title: "Unauthorized", message: "Show a token." } };
  const fetch = async () => new Response(JSON.stringify(words), { status: 401 });
  const live = client({ fetch }).subscribe("news", { over: "events" });
  await assert.rejects(live[Symbol.asyncIterator]().next(), {
    status: 401,
    message: "Unauthorized: Show a token.",
  });
});
