// Prompts by models: the best readout with a rank of each pair; darker is better.
function heatCells() {
  const rows = group().rows.filter((row) => !isOther(row) && row.ranked && !row.layer && Number.isFinite(metricOf(row, state.metric)));
  const [models, prompts] = ["model", "prompt"].map((part) => [...new Set(rows.map((row) => row.names[part]))].filter((name) => name !== "-" && name));
  const sign = better(state.metric) ? -1 : 1;
  const best = new Map();
  for (const row of rows) {
    const key = JSON.stringify([row.names.prompt, row.names.model]);
    const known = best.get(key);
    if (!known || sign * metricOf(row, state.metric) < sign * metricOf(known, state.metric)) best.set(key, row);
  }
  return { models, prompts, bestOf: (prompt, model) => best.get(JSON.stringify([prompt, model])), sign };
}

function drawHeat() {
  const figure = $("heat");
  const { models, prompts, bestOf, sign } = heatCells();
  figure.hidden = models.length < 2 || prompts.length < 2;
  if (figure.hidden) return fill(figure);
  const found = prompts.flatMap((prompt) => models.map((model) => bestOf(prompt, model))).filter(Boolean);
  const values = found.map((row) => sign * metricOf(row, state.metric));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const brief = withoutShared(models);
  const briefPrompt = withoutShared(prompts);
  const square = (prompt, model) => {
    const row = bestOf(prompt, model);
    if (!row) return make("td", { class: "number" }, "–");
    const value = metricOf(row, state.metric);
    const share = high > low ? (high - sign * value) / (high - low) : 1;
    const box = make("td", { class: "number" }, make("button", {
      type: "button", class: "square", onclick: () => choose(row.number, false), tip: () => `${titleOf(row)}\n${valueTip(row, state.metric)}`,
      "aria-label": `${prompt}, ${model}: ${shown(value)}, ${row.names.readout}, ${row.names.calibration}`,
    }, shown(value)));
    box.style.background = `color-mix(in srgb, var(--chosen) ${Math.round(100 * share)}%, var(--paper))`;
    return box;
  };
  fill(figure,
    caption(`${state.metric} by prompt and model`, "the best readout with a rank of each; a stronger shade is better; a click chooses its row"),
    csvButton("prompts_by_models", () => [["prompt", ...models], prompts.map((prompt) => [prompt, ...models.map((model) => {
      const row = bestOf(prompt, model);
      return row ? metricOf(row, state.metric) : null;
    })])]),
    make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "prompt"), models.map((model) => make("th", { scope: "col", class: "number", title: model }, brief(model))))),
      make("tbody", {}, prompts.map((prompt) => make("tr", {}, make("th", { scope: "row", title: prompt }, briefPrompt(prompt)), models.map((model) => square(prompt, model))))))));
}
