const INTERVALS = [["chosen", "of the metric"], ["all", "of all metrics"], ["none", "none"]];
const BESIDE = [
  ["share", "range", "0 at the prior floor, 1 at the human ceiling"],
  ["shuffled", "shuffled", "the same distributions, given to other clips"],
];

function drawBoard() {
  const current = group();
  $("conclusion").textContent = current.conclusions[state.metric] || "";
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
  const head = make("tr", { role: "row" },
    make("th", { scope: "col", class: "rank", title: "among readouts that failed on no clip and did not see the votes" }, "#"),
    parts.map((part) => header(part, `name:${part}`, `sort by ${part}`, "name")),
    current.settings.map((key) => header(key, `set:${key}`, `varied between runs: ${key}`, "name")),
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
      "data-row": row.number, role: "row",
      tabindex: (at === 0 || (!drawn.some((one) => one.number === state.chosen[0]) && i === 0)) ? 0 : -1,
      onclick: (event) => choose(row.number, event.ctrlKey || event.metaKey || event.shiftKey), onkeydown: rowKeys,
    },
      cell("rank", null, [
        at >= 0 ? swatch(colourOfChoice(at)) : null,
        isOther(row) ? lineSample(row) : place === null ? (row.seen ? "no rank" : "–") : place,
      ]),
      parts.map((part) => nameCell(row, part)),
      current.settings.map((key) => cell("setting", key, settingOf(row, key))),
      cell("number", "failed", isOther(row) ? "" : row.failed ? make(
        "span",
        { class: "warned", title: statusText(row) },
        count(row.failed),
      ) : "0"),
      valueCell(row, state.metric),
      make("td", { class: "range", role: "gridcell" }, rangeBar(row, range)),
      beside.map(([key, text]) => cell(
        "number",
        text,
        state.metric in row[key] ? shown(row[key][state.metric]) + (key === "share" && row.doubt ? "?" : "") : "",
      )),
      columns.slice(1).map((name) => valueCell(row, name)),
      cell("number", "n", count(row.n)),
      cell("number", "label mass", row.mass === null ? "" : Number(number(row.mass).toPrecision(2)).toString()),
    );
  });
  fill($("board-table"), make("thead", { role: "rowgroup" }, head), make("tbody", { role: "rowgroup" }, body));
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
    csvButton("leaderboard", boardTable),
  );
  drawBoardNotes();
  keepLink();
}

function statusText(row) {
  return Object.entries(row.statuses).map(
    ([name, times]) => `${name}: ${count(times)}`,
  ).join(", ") + (row.failed && row.n === group().size ? "; failed clips were scored as uniform" : "");
}

// A cell; on a narrow screen, where the head is gone, it says itself what it holds.
function cell(kind, label, content) {
  const empty = content === "" || (Array.isArray(content) && content.every((part) => part === null || part === ""));
  return make("td", { class: kind + (empty ? " empty" : ""), role: "gridcell", "data-label": label }, content);
}

function nameCell(row, part) {
  const brief = briefName(row, part);
  const whole = part === "run" && row.runs.length === 1 ? data.runs[row.runs[0]].folder : row.names[part];
  const nothing = ["", "-"].includes(brief);
  return make(
    "td",
    { class: "name" + (brief.length > 26 ? "" : " whole") + (nothing ? " empty" : ""), role: "gridcell", title: whole || null },
    brief,
  );
}

function valueCell(row, name) {
  const value = row.metrics[name];
  const best = row.ranked && value !== null && value !== undefined && value === group().best[name];
  const wanted = state.intervals === "all" || (state.intervals === "chosen" && name === state.metric);
  const ends = wanted ? row.intervals[name] : null;
  return make(
    "td",
    {
      class: "number" + (best ? " best" : "") + (name === state.metric ? " lead" : ""), role: "gridcell",
      "data-label": shortName(name), tip: () => valueTip(row, name),
    },
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
        (row) => make("span", {}, lineSample(row), `${row.names.readout} ${shown(row.metrics[state.metric])}`),
      ),
    ),
    make(
      "p",
      {},
      `${marks.join("; ")}; † fitted on the votes of other speakers, out of sample. Readouts of models are round dots; floors, reference and ceilings are lines, and diamonds in rows of their own. Bold: best readout among those with a rank. Hollow dots have none: rows marked ** saw the votes that they are judged by, rows that failed on some clips are scored on other clips than the rest, beside floors and ceiling of their own. Rows are ranked on the evaluated clips themselves, so the best of many is flattered.`,
    ),
  ];
  const sources = [...new Set(current.rows.map((row) => row.fitted).filter(Boolean))];
  if (sources.length) lines.push(make("p", {}, `Fitted on, among these rows: ${sources.join("; ")}.`));
  if (current.conflicts.length) lines.push(
    make("p", {}, `Left out, because the runs define them differently: ${current.conflicts.join(", ")}.`),
  );
  fill($("board-notes"), lines);
}
