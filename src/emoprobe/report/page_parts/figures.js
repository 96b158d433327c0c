const MAX_DOTS = 40;

function caption(title, detail) {
  return make("figcaption", {}, title, detail ? make("span", {}, detail) : null);
}

function empty(figure, title, statement) {
  fill(figure, caption(title), make("p", { class: "quiet" }, statement));
}

function ticks(low, high, wanted = 5) {
  const raw = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((k) => k * power).find((candidate) => candidate >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) {
    found.push(Number(value.toPrecision(12)));
  }
  return found;
}

// Pixels that a figure has for what it draws, so that its text is as large as all other text.
const drawnWidth = (figure) => Math.max(240, figure.clientWidth - 26);

// Where the words of marks stand above their lines: on the lowest level where none runs into another.
function placed(marks, width) {
  const ends = []; // of each level
  return [...marks].sort((a, b) => a.at - b.at).map((mark) => {
    const wide = 6.6 * mark.text.length;
    const from = Math.max(0, Math.min(width - wide, mark.at - wide / 2));
    let level = ends.findIndex((end) => end + 10 < from);
    if (level < 0) level = ends.length;
    ends[level] = from + wide;
    return { ...mark, from, level };
  });
}

const plain = (value) => String(Number(value.toPrecision(4))).replace("-", "−");

// -- every visible readout's value, its interval, and the lines of floors and ceiling

function drawDots() {
  drawHeat();
  const figure = $("dots");
  const metric = state.metric;
  const readouts = visibleRows().filter((row) => !isOther(row));
  const finite = readouts.filter((row) => Number.isFinite(metricOf(row, metric)));
  const rows = finite.slice(0, MAX_DOTS);
  const title = `${metric} (${better(metric) ? "higher" : "lower"} is better)`;
  if (!rows.length) return empty(figure, title, "No readout of the table above has a finite value.");
  const range = rangeOf(metric, rows);
  const width = drawnWidth(figure);
  // on a narrow screen the name stands above its dot
  const narrow = width < 640;
  const space = narrow ? width - 8 : Math.min(430, 0.42 * width);
  const names = rows.map((row) => wrapped(briefParts(row), Math.floor(space / 6.7)));
  const longest = Math.max(...names.flat().map((name) => [...name].length));
  const left = narrow ? 8 : Math.max(110, Math.min(space + 14, 6.7 * longest + 24));
  const x = (value) => left + ((value - range.low) / (range.high - range.low)) * (width - left - 20);
  const heads = placed(range.marks.map((mark) => ({
    mark, at: x(metricOf(mark, metric)), text: `${bareName(mark).replaceAll("_", " ")} ${shown(mark.metrics[metric])}`,
  })), width);
  const top = 14 * (1 + Math.max(-1, ...heads.map((one) => one.level))) + 12;
  const heights = names.map((lines) => (narrow ? 14 * lines.length + 20 : Math.max(22, 14 * lines.length + 6)));
  const tops = heights.map((_, i) => top + heights.slice(0, i).reduce((sum, one) => sum + one, 0));
  const bottom = top + heights.reduce((sum, one) => sum + one, 0);
  const height = bottom + 34;
  const places = tops.map((from, i) => (narrow ? from + heights[i] - 11 : from + heights[i] / 2));
  const parts = rows.map(
    (row, i) => state.chosen.includes(row.number) && make(
      "svg:rect",
      { x: 0, y: tops[i], width, height: heights[i], fill: "--chosen" },
    ),
  );
  parts.push(ticks(range.low, range.high, narrow ? 4 : 8).map((value) => [
    make("svg:line", { x1: x(value), x2: x(value), y1: top, y2: bottom, class: "gridline" }),
    make("svg:text", { x: x(value), y: bottom + 16, "text-anchor": "middle", class: "faint" }, plain(value)),
  ]));
  heads.forEach(({ mark, at, text, from, level }) => {
    const y = 12 + 14 * level;
    parts.push(make("svg:line", {
      x1: at, x2: at, y1: y + 3, y2: bottom, stroke: colourOf(mark), "stroke-width": 2, "stroke-dasharray": dashOf(mark),
      tip: text,
    }));
    parts.push(make("svg:text", { x: from, y, tip: text, class: "mark" }, text));
  });
  rows.forEach((row, i) => {
    const y = places[i];
    const at = state.chosen.indexOf(row.number);
    const colour = at >= 0 ? colourOfChoice(at) : "--bar";
    const value = metricOf(row, metric);
    const ends = (row.intervals[metric] || []).map(number);
    const whole = ends.length === 2 && ends.every(Number.isFinite);
    const tip = () => `${titleOf(row)}\n${valueTip(row, metric)}`;
    parts.push(make("svg:g", {
      class: "dot",
      onclick: (event) => choose(row.number, event.ctrlKey || event.metaKey || event.shiftKey),
      tip,
    },
      make("svg:rect", { x: 0, y: tops[i], width, height: heights[i], fill: "transparent" }),
      names[i].map((line, k) => make("svg:text", {
        x: narrow ? 2 : left - 10, "text-anchor": narrow ? "start" : "end",
        y: narrow ? tops[i] + 13 + 14 * k : y + 4 + 14 * (k - (names[i].length - 1) / 2),
      }, line)),
      whole ? make(
        "svg:line",
        { x1: x(ends[0]), x2: x(ends[1]), y1: y, y2: y, stroke: colour, "stroke-width": 2.5 },
      ) : null,
      make(
        "svg:circle",
        { cx: x(value), cy: y, r: 5, fill: dotFill(row, colour), stroke: colour, "stroke-width": 1.8 },
      ),
    ));
  });
  const legend = range.marks.map(
    (mark) => make("span", {}, lineSample(mark), `${mark.names.readout} ${shown(mark.metrics[metric])}`),
  );
  const less = finite.length > rows.length ? `the first ${rows.length} of ${finite.length} rows of the table; ` : "";
  const undrawn = readouts.length - finite.length;
  const without = undrawn ? `${undrawn} rows without a finite value are not drawn; ` : "";
  fill(figure,
    caption(title, `${group().definitions[metric].definition}; ${less}${without}dots: readouts, hollow without a rank; lines: floors, reference, ceilings`),
    make(
      "svg:svg",
      {
        viewBox: `0 0 ${width} ${height}`,
        width: "100%",
        role: "img",
        "aria-label": `${title}: ${rows.length} readouts as dots beside floors; the same numbers are in the table`,
      },
      parts,
    ),
    make("div", { class: "legend small" }, legend),
  );
}

// -- chosen rows

function drawSelection() {
  const rows = chosenRows();
  fill($("selection"), make("span", { class: "chip" }, swatch("--human"), "raters"), rows.map((row, i) =>
    make("span", { class: "chip", title: titleOf(row) }, swatch(colourOfChoice(i)), briefOf(row),
      rows.length > 1 ? make("button", { type: "button", "aria-label": `take out ${titleOf(row)}`, onclick: () => choose(row.number, true) }, "×") : null),
  ));
  drawDots();
  drawMeans();
  drawReliability();
  return Promise.all([drawScatter(), refreshClips()]);
}

async function drawScatter() {
  const figure = $("scatter");
  const { scale, labels } = group();
  const title = scale
    ? "Mean of the raters against the model's expected value, clip by clip"
    : "Entropy of the raters against disagreement, clip by clip";
  const rows = chosenRows();
  const [clips, ...cells] = await Promise.all([clipsOf(group()), ...rows.map(cellOf)]);
  if (rows.some((row, i) => row !== chosenRows()[i])) return;
  if (cells.every((cell) => !cell)) return empty(figure, title, notEmbedded());
  const least = scale ? Number(labels[0]) : 0;
  const top = scale ? Number(labels[labels.length - 1]) : Math.log2(labels.length);
  const said = scale ? "" : "; the utterances below can be sorted by both";
  const canvas = make("canvas", { role: "img", "aria-label": title + said });
  const explained = scale
    ? `${scale} in points; dashed: both equal; a click opens the clip below`
    : "JS divergence in bits; line: mean in steps of 0.25 bits; a click opens the clip below";
  fill(figure, caption(title, explained), canvas);
  const width = Math.max(260, figure.clientWidth - 26);
  const height = 300;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue(name).trim();
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const x = (value) => 40 + ((value - least) / (top - least)) * (width - 52);
  const values = cells.filter(Boolean).flatMap((cell) => [...cell.js].filter((js) => !Number.isNaN(js)));
  const high = scale ? top : Math.min(1, 1.05 * values.reduce((most, js) => Math.max(most, js), 0.1));
  const y = (value) => height - 34 - ((value - least) / (high - least)) * (height - 48);
  const place = scale
    ? (cell, clip) => [targetOf(clips, clip), probabilities(cell, clip, labels.length)].map((of) => numbersOf(of).mean)
    : (cell, clip) => [clips.entropy[clip], cell.js[clip]];
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = ink("--quiet");
  pen.strokeStyle = ink("--line");
  pen.textAlign = "center";
  for (const value of ticks(least, top, 5)) {
    pen.beginPath(); pen.moveTo(x(value), y(least)); pen.lineTo(x(value), y(high)); pen.stroke();
    pen.fillText(plain(value), x(value), height - 19);
  }
  pen.fillText(scale ? "mean of the raters" : "entropy of the raters (bits)", (40 + width) / 2, height - 4);
  pen.textAlign = "right";
  for (const value of ticks(least, high, 4)) {
    pen.beginPath(); pen.moveTo(x(least), y(value)); pen.lineTo(x(top), y(value)); pen.stroke();
    pen.fillText(plain(value), 35, y(value) + 4);
  }
  if (scale) {
    pen.setLineDash([5, 4]);
    pen.beginPath(); pen.moveTo(x(least), y(least)); pen.lineTo(x(top), y(top)); pen.stroke();
    pen.setLineDash([]);
  }
  const points = [];
  cells.forEach((cell, i) => {
    if (!cell) return;
    pen.fillStyle = ink(colourOfChoice(i));
    pen.globalAlpha = Math.max(0.12, Math.min(0.8, 250 / cell.js.length));
    const sums = new Map();
    cell.js.forEach((js, clip) => {
      if (Number.isNaN(js)) return;
      const [human, model] = place(cell, clip);
      const [px, py] = [x(human), y(model)];
      pen.beginPath(); pen.arc(px, py, cell.js.length > 2000 ? 2 : 3.2, 0, 7); pen.fill();
      points.push([px, py, clip, js, i]);
      const bin = Math.min(Math.floor(clips.entropy[clip] / 0.25), Math.ceil(top / 0.25) - 1);
      const sum = sums.get(bin) || [0, 0, 0];
      sums.set(bin, [sum[0] + clips.entropy[clip], sum[1] + js, sum[2] + 1]);
    });
    pen.globalAlpha = 1;
    if (scale) return;
    const line = [...sums.entries()].sort((a, b) => a[0] - b[0]).map(([, [h, js, n]]) => [x(h / n), y(js / n)]);
    pen.lineWidth = 4.5; pen.strokeStyle = ink("--paper"); pen.beginPath(); line.forEach(
      ([px, py]) => pen.lineTo(px, py),
    ); pen.stroke();
    pen.lineWidth = 2.2; pen.strokeStyle = ink(colourOfChoice(i)); pen.beginPath(); line.forEach(
      ([px, py]) => pen.lineTo(px, py),
    ); pen.stroke();
    pen.lineWidth = 1;
  });
  const against = ([, , clip, , i]) => {
    if (!scale) return `raters' entropy ${shown(clips.entropy[clip], 2)} bits`;
    const [human, model] = place(cells[i], clip);
    return `raters ${shown(human, 2)}, model ${shown(model, 2)}`;
  };
  const nearest = (event) => {
    const box = canvas.getBoundingClientRect();
    const [mx, my] = [event.clientX - box.left, event.clientY - box.top];
    let best = null;
    let nearby = 144;
    for (const point of points) {
      const distance = (point[0] - mx) ** 2 + (point[1] - my) ** 2;
      if (distance < nearby) [best, nearby] = [point, distance];
    }
    return best;
  };
  canvas.addEventListener("pointermove", (event) => {
    const point = nearest(event);
    canvas.style.cursor = point ? "pointer" : "default";
    if (point) showTip(
      event,
      `${clips.utterance_id[point[2]]}\n${titleOf(rows[point[4]])}\nJS ${shown(point[3])}, ${against(point)}`,
    );
    else hideTip();
  });
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("click", (event) => {
    const point = nearest(event);
    if (point) openClip(point[2], true);
  });
}

function notEmbedded() {
  return "The clips of this row are not in the page: only the best readouts and the floors are (report option --cells).";
}

function drawMeans() {
  const figure = $("means");
  const title = "Mean distributions";
  const rows = chosenRows().map((row, i) => [row, colourOfChoice(i)]).filter(
    ([row]) => row.mean && row.mean.some((value) => value !== null),
  );
  if (!rows.length) return empty(figure, title, "No distribution to average.");
  const labels = group().labels;
  const series = [
    { name: "raters", values: rows[0][0].human, colour: "--human" },
    ...rows.map(([row, colour]) => ({ name: titleOf(row), values: row.mean, colour })),
  ];
  const [width, height, left, bottom, top] = [drawnWidth(figure), 300, 36, 238, 10];
  const high = Math.max(...series.flatMap((one) => one.values)) * 1.05;
  const y = (value) => bottom - (value / high) * (bottom - top);
  const slot = (width - left - 6) / labels.length;
  const bar = Math.min(26, (slot * 0.8) / series.length);
  const parts = ticks(0, high, 4).map((value) => [
    make("svg:line", { x1: left, x2: width, y1: y(value), y2: y(value), class: "gridline" }),
    make("svg:text", { x: left - 5, y: y(value) + 4, "text-anchor": "end", class: "faint" }, plain(value)),
  ]);
  labels.forEach((label, k) => {
    const start = left + k * slot + (slot - bar * series.length) / 2;
    series.forEach((one, i) => parts.push(make("svg:rect", {
      x: start + i * bar, y: y(one.values[k]), width: Math.max(1, bar - 1), height: Math.max(0, bottom - y(one.values[k])),
      fill: one.colour,
      tip: `${label}\n${one.name}: ${shown(one.values[k], 4)}`,
    })));
    const cx = left + (k + 0.5) * slot;
    parts.push(
      make(
        "svg:text",
        { x: cx, y: bottom + 14, "text-anchor": "end", transform: `rotate(-38 ${cx} ${bottom + 14})` },
        shorten(label, 14),
      ),
    );
  });
  const counted = rows[0][0].n === group().size ? "all clips" : "the clips that the first chosen row has a distribution for";
  fill(
    figure,
    caption(title, `mean share of each label over ${counted}`),
    make(
      "svg:svg",
      {
        viewBox: `0 0 ${width} ${height}`,
        width: "100%",
        role: "img",
        "aria-label": `${title} of raters and chosen rows`,
      },
      parts,
    ),
  );
}

function drawReliability() {
  const figure = $("reliability");
  const title = "Reliability";
  const rows = chosenRows().map((row, i) => [row, colourOfChoice(i)]).filter(
    ([row]) => row.bins && row.bins.some((bin) => bin[0]),
  );
  if (!rows.length) return empty(figure, title, "No distribution to compare.");
  const [width, height, left, bottom, top, low] = [drawnWidth(figure), 300, 40, 212, 10, 268];
  const x = (value) => left + value * (width - left - 10);
  const y = (value) => bottom - value * (bottom - top);
  const parts = [0, 0.25, 0.5, 0.75, 1].map((value) => [
    make("svg:line", { x1: x(0), x2: x(1), y1: y(value), y2: y(value), class: "gridline" }),
    make("svg:text", { x: left - 5, y: y(value) + 4, "text-anchor": "end", class: "faint" }, plain(value)),
    make("svg:text", { x: x(value), y: low + 14, "text-anchor": "middle", class: "faint" }, plain(value)),
  ]);
  parts.push(make("svg:line", { x1: x(0), x2: x(1), y1: y(0), y2: y(1), class: "diagonal" }));
  const most = Math.max(...rows.flatMap(([row]) => row.bins.map((bin) => bin[0])));
  rows.forEach(([row, colour], i) => {
    const filled = row.bins.map((bin, at) => [at, ...bin]).filter((bin) => bin[1]);
    parts.push(
      make(
        "svg:polyline",
        {
          points: filled.map(([, , p, t]) => `${x(p)},${y(t)}`).join(" "),
          fill: "none",
          stroke: colour,
          "stroke-width": 1.8,
        },
      ),
    );
    for (const [at, times, p, t] of filled) {
      const tip = `${titleOf(row)}\npredicted ${shown(p)}, raters' share ${shown(t)}\n${count(times)} clips × labels`;
      parts.push(make("svg:circle", { cx: x(p), cy: y(t), r: 4.5, fill: colour, tip }));
      const [share, wide] = [(times / most) * 40, (x(0.1) - x(0) - 2) / rows.length];
      parts.push(
        make(
          "svg:rect",
          {
            x: x(at / row.bins.length) + 1 + i * wide,
            y: low - share,
            width: wide,
            height: share,
            fill: colour,
            opacity: 0.7,
            tip,
          },
        ),
      );
    }
  });
  parts.push(
    make(
      "svg:text",
      { x: (left + width) / 2, y: height - 4, "text-anchor": "middle", class: "faint" },
      "predicted probability",
    ),
  );
  fill(
    figure,
    caption(title, "raters' share by predicted probability, all labels together; columns: how many"),
    make(
      "svg:svg",
      { viewBox: `0 0 ${width} ${height}`, width: "100%", role: "img", "aria-label": `${title} of chosen rows` },
      parts,
    ),
  );
}
