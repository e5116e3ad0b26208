// The verbs, each over HTTP and over WebSocket: with the same outcome.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Nuska, NuskaError } from "../nuska.js";
import { TRANSPORTS, URL_OF_SERVER, client } from "./server.js";

for (const transport of TRANSPORTS) {
  const over = (name, run) =>
    test(`over ${transport}: ${name}`, async () => {
      const nuska = client({ transport });
      try {
        await run(nuska.queue("jobs"), nuska);
      } finally {
        nuska.close();
      }
    });

  over("what was posted is listed, page by page and in order", async (jobs) => {
    const ids = await jobs.postMany([0, 1, 2, 3, 4].map((body) => ({ body })));
    const found = [];
    for await (const message of jobs.messages({ limit: 2 })) found.push(message);
    assert.deepEqual(found.map(({ id }) => id), ids);
    assert.deepEqual(found.map(({ body }) => body), [0, 1, 2, 3, 4]);
  });

  over("a post keeps its body, its ttl and its attributes", async (jobs) => {
    const body = { text: "grün ✓", list: [1, 2.5, null, true], nested: { deep: {} } };
    const id = await jobs.post(body, { ttl: 120, attributes: { lang: "de" } });
    const { messages } = await jobs.list({ attributes: true });
    assert.equal(messages[0].id, id);
    assert.equal(messages[0].ttl, 120);
    assert.deepEqual(messages[0].body, body);
    assert.deepEqual(messages[0].attributes, { lang: "de" });
  });

  over("a claimed message is nobody else's until it is released", async (jobs) => {
    await jobs.postMany([{ body: "a" }, { body: "b" }]);
    const claim = await jobs.claim({ limit: 2, ttl: 60 });
    assert.deepEqual(claim.messages.map(({ body }) => body), ["a", "b"]);
    assert.equal(await jobs.claim(), null);
    await claim.renew({ ttl: 90 });
    await claim.delete(claim.messages[0]);
    await claim.release();
    const again = await jobs.claim({ limit: 2, ttl: 60 });
    assert.deepEqual(again.messages.map(({ body }) => body), ["b"]);
  });

  over("a claim that waits is answered by the next post", async (jobs) => {
    const claiming = jobs.claim({ wait: 20, ttl: 60 });
    await jobs.post("at last");
    assert.equal((await claiming).messages[0].body, "at last");
  });

  over("a popped message is gone", async (jobs) => {
    await jobs.post("once");
    assert.deepEqual((await jobs.pop()).map(({ body }) => body), ["once"]);
    assert.deepEqual(await jobs.pop(), []);
  });

  over("what this client posted can be left out of a list", async (jobs, nuska) => {
    await jobs.post("mine");
    const other = client({ transport, project: nuska.project });
    await other.queue("jobs").post("theirs");
    other.close();
    const { messages } = await jobs.list({ echo: false });
    assert.deepEqual(messages.map(({ body }) => body), ["theirs"]);
  });

  over("a refusal says what is wrong", async (jobs) => {
    await assert.rejects(jobs.post(1, { ttl: 1 }), (error) => {
      assert.ok(error instanceof NuskaError);
      assert.equal(error.status, 400);
      assert.match(error.message, /TTL|ttl/);
      return true;
    });
  });

  over("a claimed message cannot be deleted without its claim", async (jobs) => {
    await jobs.post("held");
    const claim = await jobs.claim({ ttl: 60 });
    await assert.rejects(jobs.delete(claim.messages[0].id), { status: 403 });
    await claim.delete(claim.messages[0]);
  });

  over("many calls may be under way at once", async (jobs) => {
    const ids = await Promise.all(Array.from({ length: 200 }, (_, body) => jobs.post(body)));
    assert.equal(new Set(ids).size, 200);
  });
}

test("a client without a project is a mistake", () => {
  assert.throws(() => new Nuska("http://127.0.0.1:1", {}), /project/);
});

test("where there is no WebSocket one has to be passed", () => {
  const options = { project: "p", transport: "websocket" };
  const there = globalThis.WebSocket;
  delete globalThis.WebSocket;
  try {
    assert.throws(() => new Nuska("http://127.0.0.1:1", options), /pass one/);
  } finally {
    globalThis.WebSocket = there;
  }
});

test("what only the operator can mend is asked for once", async () => {
  let asked = 0;
  const fetch = async () => {
    asked++;
    return new Response('{"title": "Encryption key missing", "description": "Ask."}', { status: 503 });
  };
  const nuska = client({ transport: "http", fetch });
  await assert.rejects(nuska.queue("jobs").post(1), { status: 503, final: true });
  assert.equal(asked, 1);
});

test("a server that nobody reaches is an error without a status", async () => {
  const nuska = new Nuska("http://127.0.0.1:9", { project: "p" });
  await assert.rejects(nuska.queue("jobs").post(1), { name: "NuskaError", status: 0 });
});

for (const transport of TRANSPORTS) {
  test(`over ${transport}: a signed URL opens what was signed, and nothing else`, async () => {
    const owner = client();
    const answer = await fetch(`${URL_OF_SERVER}/v2/queues/readings/share`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "Client-ID": owner.clientId,
        "X-Project-Id": owner.project,
      },
      body: JSON.stringify({ methods: ["POST"] }),
    });
    const sensor = new Nuska(URL_OF_SERVER, { signed: await answer.json(), transport });
    const status = { http: 404, websocket: 403 }[transport];
    await sensor.queue("readings").post({ celsius: 21 });
    await assert.rejects(sensor.queue("readings").list(), { status });
    await assert.rejects(sensor.queue("others").post(1), { status });
    sensor.close();
    const { messages } = await owner.queue("readings").list();
    assert.deepEqual(messages.map(({ body }) => body), [{ celsius: 21 }]);
  });
}
