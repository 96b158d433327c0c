const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const NAMES = ["model", "prompt", "readout", "calibration", "run"];
const COLOURS = ["--one", "--two", "--three", "--four"]; // of the chosen rows, in order
const PALETTE = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#0072b2", "#d55e00", "#8c6d46"]; // of labels
const MARKED = { uniform: "--uniform", prior: "--prior", majority: "--majority" };
const DASHES = {
  uniform: "3 3", prior: "9 3", majority: "9 3 2 3", one_hot_of_top_vote: "14 2", human: "none",
}; // of the lines of floors, reference and ceilings
const $ = (id) => document.getElementById(id);

const state = {
  group: 0, metric: data.metric, sort: { key: "metric:" + data.metric, up: null }, chosen: [], clip: null,
  text: "", only: {}, intervals: "chosen", all: false, others: true, partial: true, layers: false, limit: 200,
  clips: { text: "", split: "", speaker: "", status: "", low: "", high: "", sound: false, order: "js" },
};
const group = () => data.groups[state.group];

// Text only ever becomes a text node or an attribute's value, never markup.
function make(tag, attributes, ...children) {
  const svg = tag.startsWith("svg:");
  const element = svg ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else if (name === "fill" && String(value).startsWith("--")) element.style.fill = `var(${value})`;
    else if (name === "stroke" && String(value).startsWith("--")) element.style.stroke = `var(${value})`;
    else if (name === "tip") element.addEventListener("pointermove", (event) => showTip(event, value));
    else element.setAttribute(name, value === true ? "" : value);
    if (name === "tip") element.addEventListener("pointerleave", hideTip);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child.nodeType ? child : String(child));
  }
  return element;
}

function fill(element, ...children) {
  element.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
}

const INFINITE = { inf: Infinity, "-inf": -Infinity };
const number = (value) => INFINITE[value] ?? value ?? NaN;

function shown(value, digits = 3) {
  const x = number(value);
  if (Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  return x.toFixed(digits).replace("-", "−");
}

const count = (value) => Number(value).toLocaleString("en");
const metricOf = (row, metric) => number(row.metrics[metric]);
const better = (metric) => group().definitions[metric].higher_is_better;
const shortName = (metric) => data.short[metric] || metric;
// What its run was given for a setting that varies between runs.
const settingOf = (row, key) => (row.runs.length === 1 && data.runs[row.runs[0]].settings[key]) || "";
const isOther = (row) => row.kind !== "readout";
const dotFill = (row, colour) => (isOther(row) || row.ranked ? colour : "--paper");
const bareName = (row) => row.names.readout.replace(/^.*: |[*?]*$/g, "");
const colourOf = (row) => MARKED[bareName(row)] || (row.kind === "ceiling" ? "--ceiling" : "--reference");
const dashOf = (row) => DASHES[bareName(row)] ?? "1 3";

// -- what is packed: base64 of gzip of little-endian numbers or of JSON

async function unpack(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const unpackJson = async (text) => JSON.parse(new TextDecoder().decode(await unpack(text)));

function once(holder, name, work) {
  if (!holder[name]) holder[name] = work();
  return holder[name];
}

const clipsOf = (current) =>
  once(current, "unpacked", async () => {
    const packed = current.clips;
    const [facts, target, votes, entropy] = await Promise.all([
      unpackJson(packed.facts), unpack(packed.target), unpack(packed.votes), unpack(packed.entropy),
    ]);
    const sound = current.sound;
    return {
      ...facts, target: new Float32Array(target), votes: new Float32Array(votes), entropy: new Float32Array(entropy),
      truncated: new Set(facts.truncated), links: sound.mode === "link" ? await unpackJson(sound.links) : null,
    };
  });

const cellOf = (row) =>
  row.cell === null
    ? Promise.resolve(null)
    : once(row, "unpacked", async () => {
        const packed = row.cell;
        const [p, js, status] = await Promise.all([unpack(packed.p), unpack(packed.js), unpack(packed.status)]);
        return {
          p: new Uint16Array(p), js: new Float32Array(js), status: new Uint8Array(status), statuses: packed.statuses,
          mass: packed.mass && new Float32Array(await unpack(packed.mass)),
          texts: packed.texts && (await unpackJson(packed.texts)),
        };
      });

function probabilities(cell, clip, size) {
  const values = [...cell.p.subarray(clip * size, (clip + 1) * size)];
  return values[0] === data.failed ? null : values.map((value) => value / data.levels);
}

function targetOf(clips, clip) {
  const size = group().labels.length;
  return clips.target.subarray(clip * size, (clip + 1) * size);
}

// Mean and standard deviation of a distribution over the points of the group's scale.
function numbersOf(distribution) {
  const points = group().labels.map(Number);
  const mean = points.reduce((sum, point, k) => sum + point * distribution[k], 0);
  const variance = points.reduce((sum, point, k) => sum + (point - mean) ** 2 * distribution[k], 0);
  return { mean, sd: Math.sqrt(variance) };
}

const inNumbers = ({ mean, sd }) => `${shown(mean, 2)} ± ${shown(sd, 2)}`;

// -- small shared pieces

function showTip(event, text) {
  const tip = $("tip");
  tip.textContent = typeof text === "function" ? text(event) : text;
  tip.hidden = !tip.textContent;
  const { innerWidth, innerHeight } = window;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - width - 10 : event.clientX + 14;
  tip.style.left = `${Math.max(2, left)}px`;
  tip.style.top = `${Math.max(2, Math.min(innerHeight - height - 4, event.clientY + 14))}px`;
}

function hideTip() {
  $("tip").hidden = true;
}

function labelled(text, control) {
  return make("label", {}, text, control);
}

function choice(options, value, change, attributes = {}) {
  const select = make("select", { ...attributes, onchange: (event) => change(event.target.value) });
  for (const [key, text] of options) select.append(make("option", { value: key, selected: key === value }, text));
  select.value = value;
  return select;
}

function check(text, value, change) {
  return make(
    "label",
    {},
    make("input", { type: "checkbox", checked: value, onchange: (event) => change(event.target.checked) }),
    text,
  );
}

function swatch(colour) {
  const dot = make("span", { class: "swatch", "aria-hidden": "true" });
  dot.style.background = `var(${colour})`;
  return dot;
}

// A piece of the line that stands for a floor, a reference or a ceiling; readouts have dots.
function lineSample(row) {
  const line = make("svg:line", {
    x1: 0, x2: 30, y1: 5, y2: 5, stroke: colourOf(row), "stroke-width": 2.5, "stroke-dasharray": dashOf(row),
  });
  return make("svg:svg", { width: 30, height: 10, class: "sample", "aria-hidden": "true" }, line);
}

const isNeutral = (label) => label.toLowerCase() === "neutral";
const coloured = () => group().labels.filter((label) => !isNeutral(label));
const labelColour = (i) => {
  const label = group().labels[i];
  return isNeutral(label) ? "#999999" : PALETTE[coloured().indexOf(label) % PALETTE.length];
};
const chosenRows = () => state.chosen.map((i) => group().rows[i]);
const colourOfChoice = (i) => COLOURS[i % COLOURS.length];

function later(work, wait) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), wait);
  };
}
