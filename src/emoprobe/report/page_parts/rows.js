const FILTERED = ["model", "prompt", "readout", "calibration"];

function visibleRows() {
  const words = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = group().rows.filter((row) => {
    if (isOther(row)) return state.others;
    if (!state.layers && row.layer) return false;
    if (FILTERED.some((part) => state.only[part] && row.names[part] !== state.only[part])) return false;
    if (group().settings.some((key) => state.only[`set:${key}`] && settingOf(row, key) !== state.only[`set:${key}`])) return false;
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
    set: (row) => Number(settingOf(row, name) || NaN) || settingOf(row, name),
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
  const filters = [
    ...FILTERED.map((part) => [part, part[0].toUpperCase() + part.slice(1), (row) => row.names[part]]),
    ...current.settings.map((key) => [`set:${key}`, key, (row) => settingOf(row, key)]),
  ];
  for (const [part, title, valueOf] of filters) {
    const values = [...new Set(readouts.map(valueOf))].sort();
    if (values.length < 2) continue;
    const brief = fitted(values, 40);
    const options = [["", "all"], ...values.map((value) => [value, brief(value) || "not given"])];
    controls.push(labelled(title, choice(options, state.only[part] || "", (value) => {
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
