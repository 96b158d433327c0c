// What emoprobe judge has written: strata, prompts, groups of speakers; each is unpacked when it is opened.
const MAX_LINES = 200;

function drawTables() {
  $("judged").hidden = !group().tables.length;
  fill($("tables"), group().tables.map((one) => {
    const place = make("div", { class: "scroll" });
    const told = make("p", { class: "quiet small" });
    return make("details", {
      class: "run", "data-table": one.name,
      ontoggle: async (event) => { if (event.target.open && !place.firstChild) drawTable(one, await unpackJson(one.rows), place, told); },
    }, make("summary", {}, one.title), told, place);
  }));
}

function drawTable(one, rows, place, told) {
  const value = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(Number(text).toPrecision(4)).toString() : text);
  const guarded = (text) => (text !== "" && Number.isFinite(Number(text)) ? Number(text) : text);
  fill(told, `${count(rows.length)} rows${rows.length > MAX_LINES ? `, the first ${MAX_LINES} here` : ""}`, csvButton(one.name, () => [one.columns, rows.map((row) => row.map(guarded))]));
  fill(place, make("table", {},
    make("thead", {}, make("tr", {}, one.columns.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, rows.slice(0, MAX_LINES).map((row) => make("tr", {}, row.map((text) => make("td", {}, value(text))))))));
}
