// The page: shows every reading as it is posted, and posts what the buildings are set to.

import { Nuska } from "/nuska/nuska.js";
import { COLOURS, draw } from "./chart.js";

const KEPT = 300; // readings of each building
const COMMAND_TTL = 300; // seconds after which a command is no longer carried out

const settings = await (await fetch("/settings.json")).json();
const nuska = new Nuska(settings.url, { project: settings.project, transport: "websocket" });
const metrics = nuska.queue("metrics");
const buildings = new Map();
const counts = { readings: 0, missed: 0, repeated: 0 };

settings.buildings.forEach((name, index) => {
  const card = document.querySelector("#building").content.cloneNode(true).firstElementChild;
  card.id = name;
  card.style.setProperty("--line", COLOURS[index % COLOURS.length]);
  card.querySelector("h2").textContent = name;
  card.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const target = Number(event.target.elements.celsius.value);
    nuska.queue(`commands-${name}`).post({ target }, { ttl: COMMAND_TTL });
  });
  document.querySelector("#buildings").append(card);
  buildings.set(name, { card, readings: [] });
});

function take({ body: reading }) {
  const building = buildings.get(reading.building);
  if (!building) return;
  const { card, readings } = building;
  const last = readings.at(-1);
  counts.readings += 1;
  if (last) count(reading.number - last.number);
  readings.push(reading);
  if (readings.length > KEPT) readings.shift();
  card.querySelector(".celsius").textContent = `${reading.celsius.toFixed(1)} °C`;
  card.querySelector(".working").textContent = `set to ${reading.target.toFixed(1)} °C, ${reading.working}`;
  card.dataset.target = reading.target;
  draw(document.querySelector("#chart"), [...buildings.values()].map(({ readings }) => readings));
  show();
}

function count(step) {
  if (step > 1) counts.missed += step - 1;
  if (step === 0) counts.repeated += 1;
}

function show() {
  const output = document.querySelector("#counts");
  Object.assign(output.dataset, counts);
  output.textContent = `${counts.readings} readings; ${counts.missed} missed, ${counts.repeated} seen twice`;
}

function state(now) {
  const shown = document.querySelector("#state");
  shown.dataset.state = now;
  shown.textContent = { open: "live", waiting: "reconnecting", closed: "ended" }[now];
}

// First listen, then look at what is there: so nothing can be posted in between. What came while
// looking was perhaps in the list, too.
const early = [];
let arrived = (message) => early.push(message);
await new Promise((done) => {
  metrics.subscribe({
    onMessage: (message) => arrived(message),
    onState: (now) => {
      state(now);
      if (now === "open") done();
    },
  });
});
const listed = new Set();
for await (const message of metrics.messages({ limit: 20 })) {
  listed.add(message.id);
  take(message);
}
early.filter(({ id }) => !listed.has(id)).forEach(take);
arrived = (message) => listed.has(message.id) || take(message);
