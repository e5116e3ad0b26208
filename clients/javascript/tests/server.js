// Where the tests' server is, and a wire to it that a test can cut.

import { createServer, connect } from "node:net";
import { randomUUID } from "node:crypto";

import { Nuska } from "../nuska.js";

export const URL_OF_SERVER = process.env.NUSKA_URL;

export const TRANSPORTS = ["http", "websocket"];

/** A client in a project of its own. */
export const client = ({ url = URL_OF_SERVER, ...options } = {}) =>
  new Nuska(url, { project: `project-${randomUUID()}`, timeout: 20, ...options });

/** Carries bytes between a client and the server until it is cut. */
export async function wire() {
  const { hostname, port } = new URL(URL_OF_SERVER);
  const ends = new Set();
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    for (const end of [near, far]) {
      ends.add(end);
      end.on("error", () => {});
      end.on("close", () => (ends.delete(end), near.destroy(), far.destroy()));
    }
    near.pipe(far).pipe(near);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut: () => ends.forEach((end) => end.destroy()),
    close: () => (ends.forEach((end) => end.destroy()), server.close()),
  };
}
