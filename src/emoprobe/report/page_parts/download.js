// Every table can be had as CSV, made here, without a network.

// A text that a spreadsheet would take for a formula is kept a text; numbers stay numbers.
function field(value) {
  if (value === null || value === undefined || (typeof value === "number" && Number.isNaN(value))) return "";
  let text = String(value);
  if (typeof value !== "number" && /^[=+\-@\t\r]/.test(text) && text !== "-" && text !== "-inf") text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const csvOf = (header, rows) => [header, ...rows].map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";

function save(name, header, rows) {
  const address = URL.createObjectURL(new Blob(["\ufeff", csvOf(header, rows)], { type: "text/csv;charset=utf-8" }));
  const anchor = make("a", { href: address, download: `${slug(group().name)}_${name}.csv` });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "") || "table";

// A button; what it saves is made when it is asked for.
function csvButton(name, table) {
  return make("button", {
    type: "button", class: "csv", "data-csv": name, "aria-label": `download as CSV: ${name.replaceAll("_", " ")}`,
    onclick: () => save(name, ...table()),
  }, "CSV");
}

function boardTable() {
  const metrics = Object.keys(group().definitions);
  const settings = group().settings || [];
  const ends = (name) => [name, `${name}_low`, `${name}_high`];
  const header = ["kind", ...NAMES, ...settings, "fitted_on", "num_utterances", "num_failed", "has_rank", "mean_label_mass"];
  return [
    [...header, ...metrics.flatMap(ends), ...metrics.map((name) => `share_of_range_${name}`)],
    visibleRows().map((row) => [
      row.kind, ...NAMES.map((part) => row.names[part]), ...settings.map((key) => settingOf(row, key)), row.fitted, row.n,
      row.failed, isOther(row) ? "" : String(row.ranked), row.mass,
      ...metrics.flatMap((name) => [row.metrics[name], ...(row.intervals[name] || ["", ""])]),
      ...metrics.map((name) => row.share[name]),
    ]),
  ];
}

function definitionsTable() {
  const rows = Object.entries(group().definitions);
  return [
    ["name", "better", "unit", "definition"],
    rows.map(([name, one]) => [name, one.higher_is_better ? "higher" : "lower", one.unit, one.definition]),
  ];
}

// The utterances that the filters leave, in their order, with what the chosen rows predict.
function clipsTable() {
  const { clips, cells } = view;
  const { labels } = group();
  const facts = ["utterance_id", "speaker", "split", "transcript", "num_raters", "duration_seconds"];
  const rows = chosenRows();
  const header = [...facts, "entropy_of_raters", ...labels.map((label) => `raters_${label}`)];
  rows.forEach((row) => header.push(...["js", ...labels.map((label) => `p_${label}`)].map((name) => `${name}: ${titleOf(row)}`)));
  return [header, view.order.map((clip) => [
    ...facts.map((name) => clips[name][clip]), clips.entropy[clip], ...targetOf(clips, clip),
    ...cells.flatMap((cell) => {
      const values = cell && probabilities(cell, clip, labels.length);
      return [cell ? cell.js[clip] : null, ...(values || labels.map(() => null))];
    }),
  ])];
}
