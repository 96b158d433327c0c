const BAR = 140; // pixels
const INTERVALS = [["chosen", "of the metric"], ["all", "of all metrics"], ["none", "none"]];
const BESIDE = [
  ["share", "range", "0 at the prior floor, 1 at the human ceiling"],
  ["shuffled", "shuffled", "the same distributions, given to other clips"],
];
const FILTERED = ["model", "prompt", "readout", "calibration"];

function visibleRows() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = group().rows.filter((row) => {
    if (isOther(row)) return state.others;
    if (!state.layers && row.layer) return false;
    if (FILTERED.some((part) => state.only[part] && row.names[part] !== state.only[part])) return false;
    const text = NAMES.map((part) => row.names[part]).join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  return sorted(rows);
}

function sorted(rows) {
  const { key, up } = state.sort;
  const [kind, name] = [key.slice(0, key.indexOf(":")), key.slice(key.indexOf(":") + 1)];
  const value = {
    metric: (row) => metricOf(row, name),
    name: (row) => row.names[name].toLowerCase(),
    fact: (row) => number(row[name]),
  }[kind];
  const ascending = up === null ? !(kind === "metric" && better(name)) : up;
  // a row that failed on clips is scored on other clips than the rest; one that saw the votes has no result at all
  const standing = (row) => (kind !== "metric" ? 0 : row.seen ? 2 : state.partial && row.failed > 0 ? 1 : 0);
  const undefinedLast = (x) => (typeof x === "number" && Number.isNaN(x) ? 1 : 0);
  return rows
    .map((row) => [value(row), row])
    .sort(([a, one], [b, two]) => {
      const order = standing(one) - standing(two) || undefinedLast(a) - undefinedLast(b);
      if (order) return order;
      if (a !== b && !Number.isNaN(a)) return (a < b ? -1 : 1) * (ascending ? 1 : -1);
      return one.number - two.number;
    })
    .map((pair) => pair[1]);
}

function ranks() {
  const rows = group().rows.filter((row) => row.ranked && (state.layers || !row.layer));
  const values = rows.map((row) => metricOf(row, state.metric)).filter((value) => !Number.isNaN(value));
  const sign = better(state.metric) ? -1 : 1;
  return (row) => {
    const value = metricOf(row, state.metric);
    if (!row.ranked || Number.isNaN(value)) return null;
    return 1 + values.filter((other) => sign * other < sign * value).length;
  };
}

function metricColumns() {
  const known = Object.keys(group().definitions);
  const usual = state.all ? known : data.usual.filter((name) => known.includes(name));
  return [state.metric, ...usual.filter((name) => name !== state.metric)];
}

function drawControls() {
  const current = group();
  const readouts = current.rows.filter((row) => !isOther(row));
  const controls = [
    labelled(
      "Metric",
      choice(
        Object.keys(current.definitions).map((name) => [name, name]),
        state.metric,
        chooseMetric,
        { id: "metric" },
      ),
    ),
    labelled("Filter", make("input", {
      type: "search", id: "filter", placeholder: "any words", value: state.text,
      oninput: later((event) => { state.text = event.target.value; drawBoard(); drawDots(); }, 80),
    })),
  ];
  for (const part of FILTERED) {
    const values = [...new Set(readouts.map((row) => row.names[part]))].sort();
    if (values.length < 2) continue;
    const options = [["", "all"], ...values.map((value) => [value, shorten(value, 40)])];
    controls.push(labelled(part[0].toUpperCase() + part.slice(1), choice(options, state.only[part] || "", (value) => {
      state.only[part] = value;
      drawBoard();
      drawDots();
    }, { id: `only-${part}` })));
  }
  const redraw = (name) => (value) => { state[name] = value; drawBoard(); drawDots(); };
  if (current.rows.some((row) => Object.keys(row.intervals).length)) controls.push(
    labelled("Intervals", choice(INTERVALS, state.intervals, redraw("intervals"), { id: "intervals" })),
  );
  controls.push(
    check("all metrics", state.all, redraw("all")),
    check("floors and ceiling", state.others, redraw("others")),
  );
  if (current.rows.some((row) => row.failed)) controls.push(
    check("failed on some clips: last", state.partial, redraw("partial")),
  );
  if (current.rows.some((row) => row.layer)) controls.push(check("single layers", state.layers, redraw("layers")));
  fill($("board-controls"), controls);
}

function chooseMetric(name) {
  state.metric = name;
  state.sort = { key: `metric:${name}`, up: null };
  $("metric").value = name;
  drawBoard();
  drawDots();
}

function sortBy(key) {
  if (state.sort.key === key) {
    const [kind, name] = [key.split(":")[0], key.slice(key.indexOf(":") + 1)];
    const first = !(kind === "metric" && better(name));
    const up = state.sort.up === null ? first : state.sort.up;
    state.sort.up = !up;
  } else {
    state.sort = { key, up: null };
    if (key.startsWith("metric:")) state.metric = key.slice(7);
    $("metric").value = state.metric;
  }
  drawBoard();
  drawDots();
  const again = [
    ...document.querySelectorAll("#board-table thead button"),
  ].find((button) => button.dataset.key === key);
  if (again) again.focus({ preventScroll: true });
}

function header(text, key, tip, kind) {
  const isSorted = state.sort.key === key;
  const natural = !(key.startsWith("metric:") && better(key.slice(7)));
  const up = state.sort.up === null ? natural : state.sort.up;
  const attributes = { scope: "col", class: (kind || "") + (isSorted ? " sorted" : "") };
  attributes["aria-sort"] = isSorted ? (up ? "ascending" : "descending") : "none";
  const sign = isSorted ? (up ? " ▲" : " ▼") : "";
  return make(
    "th",
    attributes,
    make("button", { type: "button", "data-key": key, title: tip, onclick: () => sortBy(key) }, text + sign),
  );
}

// Where floors, references and ceilings lie, and from where to where the values go.
function rangeOf(metric, rows) {
  const marks = group().rows.filter((row) => isOther(row) && Number.isFinite(metricOf(row, metric)));
  const values = [...rows, ...marks].map((row) => metricOf(row, metric)).filter(Number.isFinite);
  for (const row of rows) if (row.intervals[metric]) values.push(
    ...row.intervals[metric].map(number).filter(Number.isFinite),
  );
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (!values.length) [low, high] = [0, 1];
  if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
  const margin = (high - low) * 0.04;
  return { low: low - margin, high: high + margin, marks };
}

function rangeBar(row, range) {
  const [width, height] = [BAR, 20];
  const x = (value) => ((value - range.low) / (range.high - range.low)) * width;
  const value = metricOf(row, state.metric);
  const parts = [make("svg:line", { x1: 0, x2: width, y1: 10, y2: 10, class: "axis" })];
  for (const mark of range.marks) {
    const measure = measureOf(row, mark, state.metric);
    if (!Number.isFinite(measure)) continue;
    const at = x(measure);
    parts.push(make("svg:line", {
      x1: at, x2: at, y1: mark.kind === "floor" ? 5 : 2, y2: mark.kind === "floor" ? 15 : 18, stroke: colourOf(mark),
      "stroke-width": 2, "stroke-dasharray": mark.kind === "floor" ? null : "2 2",
    }));
  }
  const ends = (row.intervals[state.metric] || []).map(number);
  if (state.intervals !== "none" && ends.length && ends.every(Number.isFinite)) {
    const colour = isOther(row) ? colourOf(row) : "--bar";
    const [low, high] = ends.map(x);
    const path = `M${low},5V15M${low},10H${high}M${high},5V15`;
    parts.push(make("svg:path", { d: path, stroke: colour, "stroke-width": 1.6, fill: "none" }));
  }
  if (Number.isFinite(value)) {
    parts.push(make("svg:circle", {
      cx: x(value), cy: 10, r: ends.length ? 3 : 4.5,
      fill: dotFill(row, isOther(row) ? colourOf(row) : "--bar"),
      stroke: isOther(row) ? colourOf(row) : "--bar", "stroke-width": 1.5,
    }));
  }
  const text = `${state.metric} ${shown(value, 4)}`;
  return make(
    "svg:svg",
    { width, height, role: "img", "aria-label": text, tip: () => valueTip(row, state.metric) },
    parts,
  );
}

// What a row is measured by: floors and ceiling of the clips that its own value is of.
function measureOf(row, mark, metric) {
  if (!Object.keys(row.own).length) return metricOf(mark, metric);
  return number((row.own[bareName(mark)] || {})[metric]);
}

function valueTip(row, metric) {
  const lines = [`${metric} ${shown(row.metrics[metric], 5)}`];
  const ends = row.intervals[metric];
  if (ends) lines.push(`interval ${shown(ends[0], 4)} to ${shown(ends[1], 4)}`);
  if (metric in row.shuffled) lines.push(`own predictions given to other clips: ${shown(row.shuffled[metric], 4)}`);
  if (metric in row.share) {
    const reach = row.share_ends[metric];
    const between = reach ? `, interval ${reach.map((end) => shown(100 * number(end), 0)).join(" to ")}` : "";
    lines.push(`share of the way from floor to human ceiling: ${shown(100 * number(row.share[metric]), 1)} %${between}`);
  }
  if (row.own.prior) lines.push(
    `on its own ${count(row.n)} clips: prior ${shown(row.own.prior[metric], 4)}, human ceiling ${shown(row.own.human[metric], 4)}`,
  );
  if (row.doubt) lines.push(row.doubt);
  if (row.seen) lines.push("fitted on the votes that it is judged by: no rank");
  return lines.join("\n");
}

function drawBoard() {
  const current = group();
  const rows = visibleRows();
  const drawn = rows.slice(0, state.limit);
  const parts = NAMES.filter((part) => telling().includes(part));
  const columns = metricColumns();
  const range = rangeOf(state.metric, drawn);
  const rank = ranks();
  const beside = BESIDE.filter(([key]) => current.rows.some((row) => state.metric in row[key]));
  const direction = (name) => (better(name) ? "↑" : "↓");
  const extras = {
    failed: "clips without a distribution: counted, never turned into a label",
    mass: "mean probability that the answer is one of the labels at all",
  };
  const head = make("tr", {},
    make("th", { scope: "col", class: "number", title: "among readouts that failed on no clip and did not see the votes" }, "#"),
    parts.map((part) => header(part, `name:${part}`, `sort by ${part}`, "name")),
    header("failed", "fact:failed", extras.failed, "number"),
    header(
      `${shortName(state.metric)} ${direction(state.metric)}`,
      `metric:${state.metric}`,
      current.definitions[state.metric].definition,
      "number",
    ),
    make("th", { scope: "col", class: "range" }, rangeTitle(range)),
    beside.map(([, text, tip]) => make("th", { scope: "col", class: "number", title: tip }, text)),
    columns.slice(1).map(
      (name) => header(
        `${shortName(name)} ${direction(name)}`,
        `metric:${name}`,
        `${name}: ${current.definitions[name].definition}`,
        "number",
      ),
    ),
    header("n", "fact:n", "clips scored", "number"),
    header("label mass", "fact:mass", extras.mass, "number"),
  );
  const body = drawn.map((row, i) => {
    const place = rank(row);
    const at = state.chosen.indexOf(row.number);
    return make("tr", {
      class: (at >= 0 ? "chosen" : "") + (isOther(row) ? " other" : ""), "aria-selected": String(at >= 0),
      "data-row": row.number,
      tabindex: (at === 0 || (!drawn.some((one) => one.number === state.chosen[0]) && i === 0)) ? 0 : -1,
      onclick: (event) => choose(row.number, event.ctrlKey || event.metaKey || event.shiftKey), onkeydown: rowKeys,
    },
      make(
        "td",
        { class: "number" },
        at >= 0 ? swatch(colourOfChoice(at)) : null,
        place === null ? (isOther(row) ? "" : row.seen ? "no rank" : "–") : place,
      ),
      parts.map(
        (part) => make(
          "td",
          {
            class: row.names[part].length > 26 ? "name" : "name whole",
            title: part === "run" && row.runs.length === 1 ? data.runs[row.runs[0]].folder : null,
          },
          row.names[part],
        ),
      ),
      make(
        "td",
        { class: "number" },
        isOther(row) ? "" : row.failed ? make(
          "span",
          { class: "warned", title: statusText(row) },
          count(row.failed),
        ) : "0",
      ),
      valueCell(row, state.metric),
      make("td", { class: "range" }, rangeBar(row, range)),
      beside.map(([key]) => make("td", { class: "number" }, state.metric in row[key] ? shown(row[key][state.metric]) + (key === "share" && row.doubt ? "?" : "") : "")),
      columns.slice(1).map((name) => valueCell(row, name)),
      make("td", { class: "number" }, count(row.n)),
      make("td", { class: "number" }, row.mass === null ? "" : Number(number(row.mass).toPrecision(2)).toString()),
    );
  });
  fill($("board-table"), make("thead", {}, head), make("tbody", {}, body));
  const all = current.rows.filter((row) => !isOther(row)).length;
  const readouts = rows.filter((row) => !isOther(row)).length;
  const more = rows.length > drawn.length ? make(
    "button",
    { type: "button", onclick: () => { state.limit = Infinity; drawBoard(); } },
    `show all ${count(rows.length)} rows`,
  ) : null;
  fill(
    $("board-status"),
    `${count(readouts)} of ${count(all)} readouts. Choose a row to see it below; Ctrl and click (or Space) sets another beside it, up to four. `,
    more,
  );
  drawBoardNotes();
}

function rangeTitle(range) {
  const width = BAR;
  const text = (value, at, anchor) => make(
    "svg:text",
    { x: at, y: 12, "text-anchor": anchor, class: "faint" },
    shown(value, 2),
  );
  return make(
    "svg:svg",
    { width, height: 16, "aria-hidden": "true" },
    text(range.low, 0, "start"),
    text(range.high, width, "end"),
  );
}

function statusText(row) {
  return Object.entries(row.statuses).map(
    ([name, times]) => `${name}: ${count(times)}`,
  ).join(", ") + (row.failed && row.n === group().size ? "; failed clips were scored as uniform" : "");
}

function valueCell(row, name) {
  const value = row.metrics[name];
  const best = row.ranked && value !== null && value !== undefined && value === group().best[name];
  const wanted = state.intervals === "all" || (state.intervals === "chosen" && name === state.metric);
  const ends = wanted ? row.intervals[name] : null;
  return make(
    "td",
    { class: "number" + (best ? " best" : ""), tip: () => valueTip(row, name) },
    shown(value),
    ends ? make("span", { class: "ends" }, `${shown(ends[0])} … ${shown(ends[1])}`) : null,
  );
}

function rowKeys(event) {
  const row = event.currentTarget;
  const number = Number(row.dataset.row);
  const to = {
    ArrowDown: row.nextElementSibling,
    ArrowUp: row.previousElementSibling,
    Home: row.parentNode.firstElementChild,
    End: row.parentNode.lastElementChild,
  }[event.key];
  if (to) {
    row.tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  } else if (event.key === "Enter") choose(number, false);
  else if (event.key === " ") choose(number, true);
  else return;
  event.preventDefault();
}

function choose(number, beside) {
  const focused = document.activeElement && document.activeElement.closest("tr[data-row]");
  const at = state.chosen.indexOf(number);
  if (!beside) state.chosen = [number];
  else if (at >= 0) state.chosen = state.chosen.filter((one) => one !== number);
  else state.chosen = [...state.chosen, number].slice(-COLOURS.length);
  if (!state.chosen.length) state.chosen = [number];
  drawBoard();
  if (focused) {
    const again = document.querySelector(`tr[data-row="${number}"]`);
    if (again) { again.tabIndex = 0; again.focus({ preventScroll: true }); }
  }
  drawSelection();
}

function drawBoardNotes() {
  const current = group();
  const marks = Object.entries(data.marks).map(
    ([mark, source]) => `${mark} fitted on the ${source.replace("evaluated", "evaluated clips'")}`,
  );
  const lines = [
    make(
      "div",
      { class: "legend" },
      current.rows.filter(isOther).map(
        (row) => make("span", {}, swatch(colourOf(row)), `${row.names.readout} ${shown(row.metrics[state.metric])}`),
      ),
    ),
    make(
      "p",
      {},
      `${marks.join("; ")}; † fitted on the votes of other speakers, out of sample. Bold: best readout among those with a rank. Hollow dots have none: rows marked ** saw the votes that they are judged by, rows that failed on some clips are scored on other clips than the rest, beside floors and ceiling of their own. Rows are ranked on the evaluated clips themselves, so the best of many is flattered.`,
    ),
  ];
  const sources = [...new Set(current.rows.map((row) => row.fitted).filter(Boolean))];
  if (sources.length) lines.push(make("p", {}, `Fitted on, among these rows: ${sources.join("; ")}.`));
  if (current.conflicts.length) lines.push(
    make("p", {}, `Left out, because the runs define them differently: ${current.conflicts.join(", ")}.`),
  );
  fill($("board-notes"), lines);
}
