const ROW_HEIGHT = 46;
const ORDERS = [
  ["js", "largest disagreement first"], [
    "js-up",
    "smallest disagreement first",
  ], ["entropy", "raters most divided first"],
  ["entropy-up", "raters most agreed first"], ["id", "by name"], ["diff", "by difference: first row nearer"], ["diff-up", "by difference: second row nearer"], ["seconds", "longest first"],
];
const view = { clips: null, cells: [], order: [], drawn: new Map() };

async function refreshClips() {
  const current = group();
  const rows = chosenRows();
  const [clips, ...cells] = await Promise.all([clipsOf(current), ...rows.map(cellOf)]);
  if (current !== group() || rows.some((row, i) => row !== chosenRows()[i])) return;
  Object.assign(view, { clips, cells });
  drawClipControls();
  filterClips(true);
}

function drawClipControls() {
  const { clips } = view;
  const filter = state.clips;
  const set = (name) => (value) => { filter[name] = value; filterClips(true); };
  // What is typed counts at once and is sought a little later: the controls may be drawn anew in between.
  const refilter = later(() => filterClips(true), 80);
  const typed = (name) => (event) => { filter[name] = event.target.value; refilter(); };
  const focused = document.activeElement?.id ?? "";
  const unique = (values) => [...new Set(values.filter((value) => value !== null))].sort();
  const options = (values, all) => [["", all], ...values.map((value) => [value, shorten(value, 40)])];
  const bound = (name, text) => make(
    "input",
    {
      type: "number",
      step: "0.1",
      min: 0,
      value: filter[name],
      id: `clip-${name}`,
      "aria-label": text,
      oninput: typed(name),
    },
  );
  const speakers = unique(clips.speaker);
  const splits = unique(clips.split);
  const statuses = [...new Set(view.cells.filter(Boolean).flatMap((cell) => cell.statuses))].sort();
  const shownRows = group().rows.filter((row) => row.cell);
  const labels = shownRows.map((row) => (isOther(row) ? row.names.readout : titleOf(row)));
  const brief = fitted(labels, 60);
  const rowOptions = shownRows.map((row, i) => [String(row.number), brief(labels[i])]);
  const beside = (place) => (value) => {
    const pair = [state.chosen[0], state.chosen[1]];
    pair[place] = value === "" ? undefined : Number(value);
    state.chosen = [...new Set(pair.filter((one) => one !== undefined))];
    if (state.chosen.length > 1) filter.order = "diff";
    else if (filter.order.startsWith("diff")) filter.order = "js";
    drawBoard();
    drawSelection();
  };
  fill($("clip-controls"),
    labelled("First", choice(rowOptions, String(state.chosen[0]), beside(0), { id: "clip-first" })),
    labelled("beside", choice([["", "nothing"], ...rowOptions], String(state.chosen[1] ?? ""), beside(1), { id: "clip-second" })),
    labelled(
      "Search",
      make(
        "input",
        {
          type: "search",
          id: "clip-search",
          value: filter.text,
          placeholder: "name, words, answer",
          oninput: typed("text"),
        },
      ),
    ),
    labelled("Order", choice(ORDERS, filter.order, set("order"), { id: "clip-order" })),
    splits.length > 1 ? labelled(
      "Split",
      choice(options(splits, "all"), filter.split, set("split"), { id: "clip-split" }),
    ) : null,
    speakers.length > 1 ? labelled(
      "Speaker",
      choice(options(speakers, "all"), filter.speaker, set("speaker"), { id: "clip-speaker" }),
    ) : null,
    make(
      "label",
      {},
      "Raters' entropy",
      bound("low", "least entropy of the raters in bits"),
      "to",
      bound("high", "most entropy of the raters in bits"),
      "bits",
    ),
    statuses.length > 1 ? labelled(
      "Status",
      choice(options(statuses, "all"), filter.status, set("status"), { id: "clip-status-filter" }),
    ) : null,
    group().sound.mode === "embed" ? check("only with sound", filter.sound, set("sound")) : null,
  );
  if (focused.startsWith("clip-")) $(focused)?.focus();
}

function soundOf(clip) {
  const { sound } = group();
  if (sound.mode === "embed") return sound.clips[clip] || null;
  return sound.mode === "link" ? view.clips.links[clip] : null;
}

function filterClips(reset) {
  const { clips, cells } = view;
  const filter = state.clips;
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const [low, high] = [
    filter.low === "" ? -Infinity : Number(filter.low),
    filter.high === "" ? Infinity : Number(filter.high),
  ];
  const kept = [];
  for (let i = 0; i < clips.utterance_id.length; i++) {
    if (filter.split && clips.split[i] !== filter.split) continue;
    if (filter.speaker && clips.speaker[i] !== filter.speaker) continue;
    if (clips.entropy[i] < low - 1e-6 || clips.entropy[i] > high + 1e-6) continue;
    if (filter.status && !cells.some((cell) => cell && cell.statuses[cell.status[i]] === filter.status)) continue;
    if (filter.sound && !soundOf(i)) continue;
    if (words.length) {
      const written = cells.map((cell) => (cell && cell.texts && cell.texts[i]) || "");
      const text = [clips.utterance_id[i], clips.speaker[i], clips.transcript[i], ...written].join(" ").toLowerCase();
      if (!words.every((word) => text.includes(word))) continue;
    }
    kept.push(i);
  }
  const js = (i) => (cells[0] ? cells[0].js[i] : NaN);
  const apart = (i) => differenceOf(cells, i);
  const value = {
    js: (i) => -js(i),
    "js-up": js,
    entropy: (i) => -clips.entropy[i],
    "entropy-up": (i) => clips.entropy[i],
    seconds: (i) => -number(clips.duration_seconds[i]),
    id: (i) => i,
    diff: apart,
    "diff-up": (i) => -apart(i),
  }[filter.order];
  // clips without a value come last; the names are in order already
  const keyed = kept.map((i) => [value(i), i]);
  keyed.sort(
    ([a, i], [b, j]) => (Number.isNaN(a) ? 1 : 0) - (Number.isNaN(b) ? 1 : 0) || (Number.isNaN(a) ? 0 : a - b) || i - j,
  );
  view.order = keyed.map((pair) => pair[1]);
  fill($("clips-csv"), csvButton("utterances", clipsTable));
  const without = cells[0] ? kept.filter((i) => Number.isNaN(cells[0].js[i])).length : 0;
  const first = chosenRows()[0];
  fill(
    $("clip-status"),
    `${count(view.order.length)} of ${count(clips.utterance_id.length)} utterances${without ? `, ${count(without)} of them without a distribution` : ""}. JS: ${briefOf(first)}.${cells[0] ? "" : " " + notEmbedded()}`,
  );
  drawDifference(kept);
  fill($("label-legend"), group().labels.map((label, k) => {
    const dot = make("span", { class: "swatch", "aria-hidden": "true" });
    dot.style.background = labelColour(k);
    return make("span", {}, dot, label);
  }));
  fill(
    $("clip-head"),
    [isApart() ? "JS apart" : "JS", "utterance", "entropy", "raters", "raters / model"].map((text) => make("span", {}, text)),
  );
  const list = $("clip-list");
  if (reset) list.scrollTop = 0;
  if (!view.order.includes(state.clip)) state.clip = view.order.length ? view.order[0] : null;
  drawList();
  drawClip();
}

// Only the rows that can be seen are in the document, however many there are; scrolling makes only those that come in.
function drawList(afresh = true) {
  const list = $("clip-list");
  const from = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - 6);
  const to = Math.min(view.order.length, from + Math.ceil(list.clientHeight / ROW_HEIGHT) + 12);
  if (afresh) {
    const spacer = make("div", { "aria-hidden": "true" });
    spacer.style.height = `${view.order.length * ROW_HEIGHT}px`;
    fill(list, spacer);
    view.drawn.clear();
  }
  for (const [place, row] of view.drawn) {
    if (place >= from && place < to) continue;
    row.remove();
    view.drawn.delete(place);
  }
  for (let place = from; place < to; place++) {
    if (view.drawn.has(place)) continue;
    const row = listRow(view.order[place], place);
    view.drawn.set(place, row);
    list.append(row);
  }
  const chosen = document.getElementById(`clip-${state.clip}`);
  if (chosen) list.setAttribute("aria-activedescendant", chosen.id);
  else list.removeAttribute("aria-activedescendant");
}

function listRow(clip, place) {
  const { clips, cells } = view;
  const size = group().labels.length;
  const cell = cells[0];
  const js = isApart() ? differenceOf(cells, clip) : cell ? cell.js[clip] : NaN;
  const predicted = cell && probabilities(cell, clip, size);
  const bar = make(
    "svg:svg",
    { width: 34, height: 8, "aria-hidden": "true" },
    make("svg:rect", { width: 34, height: 8, fill: "--line" }),
    make("svg:rect", { width: Number.isNaN(js) ? 0 : 34 * Math.abs(js), height: 8, fill: js < 0 ? colourOfChoice(0) : isApart() ? colourOfChoice(1) : "--bar" }),
  );
  const target = targetOf(clips, clip);
  const row = make("div", {
    class: "clip-row", id: `clip-${clip}`, role: "option", "aria-selected": String(clip === state.clip),
    "aria-posinset": place + 1, "aria-setsize": view.order.length,
    onclick: () => openClip(clip, false),
  },
    make(
      "div",
      { class: "value" },
      bar,
      Number.isNaN(js) ? (cell ? cell.statuses[cell.status[clip]] : "–") : shown(js),
    ),
    make(
      "div",
      { class: "text" },
      make("span", {}, clips.utterance_id[clip]),
      make("span", {}, [clips.speaker[clip], clips.transcript[clip]].filter(Boolean).join(": ") || "\u00a0"),
    ),
    make("div", { class: "value" }, `${shown(clips.entropy[clip], 2)} bits`),
    make("div", { class: "value" }, clips.num_raters[clip] === null ? "–" : plain(clips.num_raters[clip])),
    make(
      "svg:svg",
      { width: 120, height: 30, "aria-hidden": "true" },
      stacked(target, 2),
      predicted ? stacked(predicted, 17) : null,
    ),
  );
  row.style.top = `${place * ROW_HEIGHT}px`;
  return row;
}

function stacked(values, top) {
  let x = 0;
  return [...values].map((value, k) => {
    const rect = make("svg:rect", { x, y: top, width: Math.max(0, value * 120), height: 12, fill: labelColour(k) });
    x += value * 120;
    return rect;
  });
}

function openClip(clip, scroll) {
  state.clip = clip;
  if (!view.order.includes(clip)) {
    Object.assign(state.clips, { text: "", split: "", speaker: "", status: "", low: "", high: "", sound: false });
    drawClipControls();
    filterClips(false);
  }
  reveal();
  drawList();
  drawClip();
  if (scroll) $("clips").scrollIntoView();
}

function reveal() {
  const list = $("clip-list");
  const top = view.order.indexOf(state.clip) * ROW_HEIGHT;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (top + ROW_HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_HEIGHT - list.clientHeight;
}

function listKeys(event) {
  const at = view.order.indexOf(state.clip);
  const page = Math.floor($("clip-list").clientHeight / ROW_HEIGHT);
  const to = {
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    PageDown: at + page,
    PageUp: at - page,
    Home: 0,
    End: view.order.length - 1,
  }[event.key];
  if (to !== undefined) {
    if (view.order.length) openClip(view.order[Math.max(0, Math.min(view.order.length - 1, to))], false);
  } else if (event.key === " " || event.key === "Enter") {
    const player = document.querySelector("#clip audio");
    if (player) (player.paused ? player.play().catch(() => {}) : player.pause());
  } else return;
  event.preventDefault();
}

function drawClip() {
  const panel = $("clip");
  keepLink();
  const { clips, cells } = view;
  const clip = state.clip;
  if (clip === null) return fill(panel, make("p", { class: "quiet" }, "No utterance is left by these filters."));
  const facts = [
    clips.speaker[clip] && `speaker ${clips.speaker[clip]}`, clips.split[clip] && `split ${clips.split[clip]}`,
    clips.duration_seconds[clip] !== null && `${shown(clips.duration_seconds[clip], 2)} s`,
    clips.num_raters[clip] !== null ? `${plain(clips.num_raters[clip])} raters` : "number of raters unknown",
    `entropy ${shown(clips.entropy[clip], 3)} bits`,
    group().scale && `${group().scale} ${inNumbers(numbersOf(targetOf(clips, clip)))}`,
    clips.truncated.has(clip) && "the model heard a truncated clip",
  ];
  const { sound } = group();
  const source = soundOf(clip);
  let player = null;
  if (source) {
    const gone = make("p", { class: "note warn gone", role: "status", hidden: true }, sound.mode === "link"
      ? `The sound of this clip is gone: the page links to ${decodeURIComponent(source)}, and there is nothing that plays. Put the page back where it was written, or write it again with --audio embed.`
      : "This browser does not know the format of this sound.");
    const audio = make("audio", {
      controls: true, preload: sound.mode === "embed" ? "auto" : "metadata", src: source,
      onerror: () => { [gone.hidden, audio.hidden] = [false, true]; },
    });
    player = [audio, gone];
  } else if (sound.mode === "embed") player = make("p", { class: "quiet" }, "The sound of this clip is not embedded.");
  const rows = chosenRows();
  fill(panel,
    make("h3", {}, clips.utterance_id[clip]), make(
      "div",
      { class: "facts" },
      facts.filter(Boolean).map((fact) => make("span", {}, fact)),
    ),
    player, clips.transcript[clip] ? make("blockquote", {}, clips.transcript[clip]) : null,
    clipBars(clip),
    rows.map((row, i) => answer(row, cells[i], i, clip)),
  );
}

function clipBars(clip) {
  const { clips, cells } = view;
  const labels = group().labels;
  const size = labels.length;
  const target = [...targetOf(clips, clip)];
  const votes = clips.votes.subarray(clip * size, (clip + 1) * size);
  const series = [{ name: "raters", values: target, colour: "--human" }];
  cells.forEach((cell, i) => {
    const values = cell && probabilities(cell, clip, size);
    if (values) series.push({ name: titleOf(chosenRows()[i]), values, colour: colourOfChoice(i) });
  });
  const bar = series.length > 2 ? 8 : 13;
  const step = series.length * bar + 9;
  const [left, width] = [100, Math.max(240, $("clip").clientWidth - 34)];
  const parts = labels.map((label, k) => series.map((one, i) => {
    const y = 4 + k * step + i * bar;
    const unit = clips.num_raters[clip] === null ? "share" : votes[k] === 1 ? "vote" : "votes";
    const note = i ? shown(one.values[k]) : `${shown(one.values[k])} (${plain(votes[k])} ${unit})`;
    return [
      i ? null : make(
        "svg:text",
        { x: left - 8, y: y + (series.length * bar) / 2 + 4, "text-anchor": "end" },
        shorten(label, 16),
      ),
      make(
        "svg:rect",
        {
          x: left,
          y,
          width: Math.max(0, one.values[k] * (width - left - 96)),
          height: bar - 1,
          fill: one.colour,
          tip: `${label}\n${one.name}: ${note}`,
        },
      ),
      series.length <= 2 ? make(
        "svg:text",
        { x: left + one.values[k] * (width - left - 96) + 5, y: y + bar - 2, class: "faint" },
        note,
      ) : null,
    ];
  }));
  const text = labels.map(
    (label, k) => `${label} ${series.map((one) => `${one.name} ${shown(one.values[k], 2)}`).join(", ")}`,
  ).join("; ");
  return make(
    "svg:svg",
    { viewBox: `0 0 ${width} ${labels.length * step + 4}`, width: "100%", role: "img", "aria-label": text },
    parts,
  );
}

function answer(row, cell, i, clip) {
  if (!cell) return make("p", { class: "quiet" }, swatch(colourOfChoice(i)), `${titleOf(row)}: `, notEmbedded());
  const js = cell.js[clip];
  const facts = [
    Number.isNaN(js) ? "no distribution" : `JS ${shown(js)}`,
    `status ${cell.statuses[cell.status[clip]]}`,
  ];
  if (group().scale && !Number.isNaN(js)) {
    facts.unshift(`${group().scale} ${inNumbers(numbersOf(probabilities(cell, clip, group().labels.length)))}`);
  }
  if (cell.mass) facts.push(`label mass ${Number(cell.mass[clip].toPrecision(2))}`);
  const text = cell.texts && cell.texts[clip];
  return make(
    "div",
    {},
    make("p", {}, swatch(colourOfChoice(i)), make("strong", { title: titleOf(row) }, briefOf(row)), ": ", facts.join(", ")),
    text === null || text === undefined ? null : make("blockquote", {}, text || "(empty answer)"),
  );
}
