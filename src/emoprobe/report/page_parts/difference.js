// Two chosen rows clip by clip: JS of the first minus JS of the second, below 0 where the first is nearer the raters.
const isApart = () => state.clips.order.startsWith("diff") && Boolean(view.cells[0] && view.cells[1]);
const differenceOf = (cells, clip) => (cells[0] && cells[1] ? cells[0].js[clip] - cells[1].js[clip] : NaN);

function drawDifference(kept) {
  const [first, second] = chosenRows();
  const values = second ? kept.map((clip) => differenceOf(view.cells, clip)).filter((value) => !Number.isNaN(value)) : [];
  $("difference").hidden = !values.length;
  if (!values.length) return fill($("difference"));
  const times = (test) => count(values.filter(test).length);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  fill(
    $("difference"),
    `Of ${count(values.length)} utterances that both rows have a distribution for, ${briefOf(first)} is nearer the raters on ${times((value) => value < 0)}, ${briefOf(second)} on ${times((value) => value > 0)}; JS of the first minus JS of the second is ${shown(mean)} on average. Whether that is chance, emoprobe compare tests. `,
    csvButton("difference", () => differenceTable(first, second)),
  );
}

function differenceTable(first, second) {
  const { clips, cells, order } = view;
  return [
    ["utterance_id", "speaker", `js: ${titleOf(first)}`, `js: ${titleOf(second)}`, "difference"],
    order.map((clip) => [
      clips.utterance_id[clip], clips.speaker[clip], cells[0]?.js[clip], cells[1]?.js[clip], differenceOf(cells, clip),
    ]),
  ];
}
