const BAR = 140; // pixels

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
    const [r, colour] = [ends.length ? 3 : 4.5, isOther(row) ? colourOf(row) : "--bar"];
    const at = { fill: dotFill(row, colour), stroke: colour, "stroke-width": 1.5 };
    parts.push(isOther(row)
      ? make("svg:rect", { x: x(value) - r, y: 10 - r, width: 2 * r, height: 2 * r, transform: `rotate(45 ${x(value)} 10)`, ...at })
      : make("svg:circle", { cx: x(value), cy: 10, r, ...at }));
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
