// Compiles, and is never run: what the types promise to programs in TypeScript.

import { Claim, Gap, LiveMessage, Nuska, NuskaError, SignedUrl } from "../nuska.js";

interface Lamp {
  lamp: number;
  on: boolean;
}

export async function everything(signed: SignedUrl): Promise<number> {
  const nuska = new Nuska("http://127.0.0.1:8888", {
    project: "home",
    transport: "websocket",
    openTimeout: 5,
    silence: 30,
  });
  const lamps = nuska.queue("lamps");
  const id: string = await lamps.post({ lamp: 3, on: true }, { ttl: 300, attributes: { room: 4 } });
  await lamps.postMany([{ body: null }, { body: [1, "two"], delay: 5 }]);
  const claim: Claim<Lamp> | null = await lamps.claim<Lamp>({ limit: 10, wait: 20 });
  for (const message of claim?.messages ?? []) if (message.body.on) await claim?.delete(message);
  await claim?.renew({ ttl: 90 });
  await claim?.release();
  await lamps.delete(id);
  let seen = 0;
  for await (const { body } of lamps.messages<Lamp>({ limit: 20 })) seen += body.lamp;
  const live = nuska.subscribe<Lamp>(["lamps", "doors"], {
    since: { lamps: "17" },
    filter: { body: { on: [true] } },
    openWithin: 20,
    onGap: (gap: Gap) => console.warn(gap.queue, gap.marker),
    onState: (state, error?: NuskaError) => console.log(state, error?.status),
  });
  for await (const message of live) {
    const { body, marker }: LiveMessage<Lamp> = message;
    if (marker === live.markers.lamps) seen += body.lamp;
  }
  new Nuska("http://127.0.0.1:8888", { signed }).queue("lamps").subscribe({ over: "events" }).close();
  nuska.close();
  // @ts-expect-error: a client is of somebody
  new Nuska("http://127.0.0.1:8888");
  // @ts-expect-error: a function is no message
  await lamps.post(() => 1);
  return seen;
}
