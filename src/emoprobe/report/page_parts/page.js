const when = (text) => text.replace("T", " ").replace("+00:00", " UTC");

function drawHead() {
  const runs = data.runs.length;
  const versions = [...new Set(data.runs.map((run) => (run.facts.versions || {}).emoprobe).filter(Boolean))];
  const revisions = [...new Set(data.runs.map((run) => (run.facts.versions || {}).git).filter(Boolean))];
  const models = [...new Set(data.groups.flatMap((one) => one.rows.map((row) => row.names.model).filter(Boolean)))];
  const some = (values, limit) => {
    const text = values.slice(0, limit).map((value) => shorten(value, 60)).join(", ");
    return values.length > limit ? `${text} and ${values.length - limit} more` : text;
  };
  const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
  const readouts = data.groups.reduce((sum, one) => sum + one.rows.filter((row) => !isOther(row)).length, 0);
  $("summary").textContent = [
    `${plural(runs, "run")}, ${plural(models.length, "model")} (${some(models, 4)}), ${plural(readouts, "readout")}.`,
    `emoprobe ${some(versions, 3)}, git ${some(revisions.map((text) => text.slice(0, 12)), 3)}; page made ${when(data.created)}.`,
  ].join(" ");
  const fakes = [
    ...new Set(data.groups.filter((one) => one.synthetic).map((one) => one.corpus.title || one.corpus.name)),
  ];
  $("synthetic").hidden = !fakes.length;
  $("synthetic").textContent = `SYNTHETIC: ${fakes.join(", ")}. Nobody said or heard this speech; its numbers say nothing about real emotion.`;
}

function drawNotes() {
  const list = (items, text) => make("ul", {}, items.map((item) => make("li", {}, text(item))));
  const where = (item) => `${item.folder}: ${item.reason}${item.job.length ? ` [${item.job.join(" ")}]` : ""}`;
  const parts = [];
  if (data.groups.length > 1) {
    parts.push(make("div", { class: "note" }, make(
      "strong",
      {},
      `${data.groups.length} groups, never ranked or averaged together, because their runs differ:`,
    ),
      list(data.groups, (one) => `${one.name}: ${one.differs.join("; ")}`)));
  }
  const folded = (items, title, warn) => items.length && parts.push(
    make(
      "details",
      { class: "note" + (warn ? " warn" : ""), open: items.length < 6 },
      make("summary", {}, title),
      list(items, where),
    ),
  );
  folded(
    data.missing,
    `${data.missing.length} without a result: interrupted runs, jobs and parts that were not begun`,
    true,
  );
  folded(data.left_out, `${data.left_out.length} left out`, false);
  if (data.notes.length) parts.push(
    make(
      "details",
      { class: "note" },
      make("summary", {}, "What this page does not hold"),
      list(data.notes, (text) => text),
    ),
  );
  fill($("notes"), parts);
}

function drawGroups() {
  $("groups").hidden = data.groups.length < 2;
  fill($("groups"), data.groups.map((one, i) => make("button", {
    type: "button",
    "aria-pressed": String(i === state.group),
    onclick: () => openGroup(i),
  },
    `${one.name}${one.synthetic ? " (SYNTHETIC)" : ""}, ${count(one.size)} utterances, ${one.rows.filter((row) => !isOther(row)).length} readouts`)));
}

function openGroup(i) {
  state.group = i;
  const current = group();
  if (current.metric) state.metric = current.metric;
  else if (!(state.metric in current.definitions)) {
    const usual = data.usual.find((name) => name in current.definitions);
    state.metric = usual || Object.keys(current.definitions)[0];
  }
  Object.assign(
    state,
    {
      sort: { key: `metric:${state.metric}`, up: null },
      text: "",
      only: {},
      clip: null,
      limit: 200,
      layers: current.rows.every((row) => isOther(row) || row.layer),
    },
  );
  Object.assign(state.clips, { text: "", split: "", speaker: "", status: "", low: "", high: "", sound: false });
  const place = ranks();
  const best = current.rows.filter((row) => row.cell && !isOther(row) && !row.seen).sort(
    (a, b) => (place(a) ?? Infinity) - (place(b) ?? Infinity),
  )[0];
  state.chosen = [(best || current.rows.find(isOther) || current.rows[0]).number];
  drawGroups();
  const some = current.rows.find((row) => !isOther(row)) || current.rows[0];
  const constant = NAMES.filter((part) => !telling().includes(part) && some.names[part]);
  const inEvery = constant.map((part) => `${part} ${some.names[part]}`).join("; ");
  fill(
    $("about"),
    make("p", {}, current.about.join(" · ")),
    inEvery ? make("p", {}, `In every row: ${inEvery}`) : null,
  );
  drawControls();
  drawBoard();
  drawTables();
  drawProvenance();
  return drawSelection().then(() => { current.usual ??= { ...viewed(), ...INITIAL, layers: String(state.layers) }; });
}

function drawProvenance() {
  const current = group();
  const rowOf = (name, value) => make(
    "tr",
    {},
    make("td", {}, name),
    make("td", {}, typeof value === "string" ? value : JSON.stringify(value)),
  );
  fill($("runs"), current.runs.map((i) => {
    const run = data.runs[i];
    const facts = run.facts;
    const { name = "model unknown", revision = "unknown", dtype = "", device = "" } = facts.model || {};
    const model = `${name}, revision ${revision}, ${dtype} on ${device}`;
    const rows = current.rows.filter((row) => row.runs.includes(i) && row.fitted);
    return make("details", { class: "run" }, make(
      "summary",
      {},
      `${run.name}: ${model}, seed ${run.seed ?? "unknown"}, metrics written ${when(run.when)}`,
    ),
      make("table", {}, make("tbody", {},
        rowOf("folder", run.folder), rowOf("overrides", run.overrides.join(" ") || "none known"),
        Object.entries(facts).map(([name, value]) => rowOf(name.replaceAll("_", " "), value)),
        rows.map(
          (row) => rowOf(
            `fitted: ${[row.names.prompt, row.names.readout, row.names.calibration].filter(Boolean).join(", ")}`,
            row.fitted,
          ),
        ),
      )));
  }));
  fill($("definitions-csv"), csvButton("metrics", definitionsTable));
  fill($("definitions"), make(
    "thead",
    {},
    make("tr", {}, ["name", "better", "unit", "definition"].map((text) => make("th", { scope: "col" }, text))),
  ),
    make("tbody", {}, Object.entries(current.definitions).map(([name, one]) => make("tr", {}, make("td", {}, name), make("td", {}, one.higher_is_better ? "higher" : "lower"), make("td", {}, one.unit), make("td", {}, one.definition)))));
  $("foot").textContent = `Metrics are those of each run's metrics.json. Probabilities of single clips are rounded to 1/${count(data.levels)}. An interval is shown where the run states one.`;
}

// What is drawn in pixels is drawn anew when the window has another size.
function drawFigures() {
  drawDots();
  drawMeans();
  drawReliability();
  drawScatter();
  if (!view.clips) return;
  drawList();
  drawClip();
}

function setTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $("theme").textContent = `Theme: ${name}`;
  drawScatter();
}

// Of "a/b/c" and "a/b/d": "a/b/", so that the table need not say it in every row.
function commonFolder(names) {
  if (names.length < 2) return "";
  const split = names.map((name) => name.split("/"));
  let n = 0;
  while (split.every((parts) => n < parts.length - 1 && parts[n] === split[0][n])) n++;
  return split[0].slice(0, n).map((part) => `${part}/`).join("");
}

function start() {
  for (const one of data.groups) {
    const shared = commonFolder(one.runs.map((i) => data.runs[i].name));
    for (const row of one.rows) row.names.run = row.names.run.slice(shared.length);
    one.rows.forEach((row, i) => Object.assign(row, { number: i }));
  }
  drawHead();
  drawNotes();
  const themes = ["system", "dark", "light"];
  $("theme").addEventListener(
    "click",
    () => setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme || "system") + 1) % 3]),
  );
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawScatter());
  let waiting = false;
  $("clip-list").addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; if (view.clips) drawList(false); });
  });
  $("clip-list").addEventListener("keydown", listKeys);
  window.addEventListener("resize", later(drawFigures, 150));
  window.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
  if (typeof DecompressionStream === "undefined") {
    $("notes").prepend(
      make(
        "p",
        { class: "note warn" },
        "This browser is too old to unpack the clips (it has no DecompressionStream); the table works.",
      ),
    );
  }
  $("copy").addEventListener("click", copyLink);
  // "#board" of the link for the keyboard asks for no view
  window.addEventListener("hashchange", () => location.hash.includes("=") && openLink());
  openLink().then(() => { document.documentElement.dataset.ready = "yes"; });
}

start();
