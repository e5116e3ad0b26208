// A line chart of the last minute, drawn as SVG.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 900;
const HEIGHT = 320;
const MARGIN = { left: 40, right: 12, top: 12, bottom: 12 };
const SPAN = 60_000; // milliseconds
const LOWEST = 14; // °C
const HIGHEST = 34;
export const COLOURS = ["#d1495b", "#2a6f97", "#66831a", "#8d5a97"];

const y = (celsius) =>
  MARGIN.top +
  ((HIGHEST - celsius) / (HIGHEST - LOWEST)) * (HEIGHT - MARGIN.top - MARGIN.bottom);

/** Draws `lines`: of each building its readings, `{at, celsius, target}`, oldest first. */
export function draw(svg, lines) {
  const newest = Math.max(...lines.flat().map(({ at }) => at), 0);
  const x = (at) => WIDTH - MARGIN.right - ((newest - at) / SPAN) * (WIDTH - MARGIN.left - MARGIN.right);
  const shapes = [];
  for (let celsius = LOWEST; celsius <= HIGHEST; celsius += 4) {
    shapes.push(shape("line", { class: "grid", x1: MARGIN.left, x2: WIDTH - MARGIN.right, y1: y(celsius), y2: y(celsius) }));
    const label = shape("text", { x: 8, y: y(celsius) + 4 });
    label.textContent = celsius;
    shapes.push(label);
  }
  lines.forEach((readings, index) => {
    const shown = readings.filter(({ at }) => newest - at <= SPAN);
    for (const what of ["target", "celsius"]) {
      const points = shown.map((reading) => `${x(reading.at).toFixed(1)},${y(reading[what]).toFixed(1)}`);
      shapes.push(shape("polyline", { class: what, stroke: COLOURS[index % COLOURS.length], points: points.join(" ") }));
    }
  });
  svg.replaceChildren(...shapes);
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
