// The state of the view stands in the address, behind the #, so that a view can be sent as a link.
const BOARD = ["text", "intervals", "all", "others", "partial", "layers"];

// A name for a row that holds when the page is written again with other runs beside it.
function markOf(row) {
  let hash = 2166136261;
  for (const sign of NAMES.map((part) => row.names[part]).join("\0")) {
    hash = Math.imul(hash ^ sign.codePointAt(0), 16777619) >>> 0;
  }
  return hash.toString(36);
}

const clipStates = () => Object.entries(state.clips).map(([name, value]) => [`clips.${name}`, String(value)]);
const boardStates = () => BOARD.map((name) => [name, String(state[name])]);
const INITIAL = Object.fromEntries([...boardStates(), ...clipStates()]);

function viewed() {
  return {
    metric: state.metric, sort: `${state.sort.key} ${state.sort.up ?? ""}`, rows: state.chosen.map((i) => markOf(group().rows[i])).join(" "),
    ...Object.fromEntries([...boardStates(), ...clipStates()]),
    ...Object.fromEntries(Object.entries(state.only).filter(([, value]) => value).map(([name, value]) => [`only.${name}`, value])),
    clip: view.clips && state.clip !== null ? view.clips.utterance_id[state.clip] : "",
  };
}

const keepLink = later(() => {
  const { usual } = group(); // what the view is when the group is opened
  if (!usual) return;
  const parts = Object.entries(viewed()).filter(([name, value]) => value !== (usual[name] ?? ""));
  const address = new URLSearchParams([["group", group().name], ...parts]);
  const wanted = `#${address}`;
  // a browser that lets no page of a file change its address keeps the old one
  try { if (location.hash !== wanted) history.replaceState(null, "", wanted); } catch { /* the view is still right */ }
}, 200);

// Open what an address asks for; what this page does not have is said and left out.
async function openLink() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const place = Math.max(0, data.groups.findIndex((one) => one.name === asked.get("group")));
  const lost = asked.get("group") && data.groups[place].name !== asked.get("group") ? ["the group"] : [];
  await openGroup(place);
  if ([...asked].length > 1) {
    lost.push(...readState(asked));
    drawControls();
    drawBoard();
    await drawSelection();
    const id = asked.get("clip");
    const clip = id ? view.clips.utterance_id.indexOf(id) : -1;
    if (id && clip < 0) lost.push("the utterance");
    if (clip >= 0) openClip(clip, false);
  }
  $("lost").hidden = !lost.length;
  $("lost").textContent = `This link asks for what this page does not have: ${lost.join(", ")}.`;
}

function readState(asked) {
  const lost = [];
  const text = (name, otherwise) => asked.get(name) ?? otherwise;
  const metric = text("metric", state.metric);
  if (metric in group().definitions) state.metric = metric;
  else lost.push("the metric");
  const [key, up] = text("sort", `metric:${state.metric} `).split(" ");
  const [kind, name] = [key.slice(0, key.indexOf(":")), key.slice(key.indexOf(":") + 1)];
  const known = {
    metric: name in group().definitions, name: NAMES.includes(name), fact: ["failed", "n", "mass"].includes(name),
    set: (group().settings || []).includes(name),
  }[kind];
  if (known) state.sort = { key, up: up === "" || up === undefined ? null : up === "true" };
  for (const one of BOARD) {
    if (asked.has(one)) state[one] = typeof state[one] === "boolean" ? asked.get(one) === "true" : asked.get(one);
  }
  for (const [one, value] of asked) {
    if (one.startsWith("only.")) state.only[one.slice(5)] = value;
    const filter = one.startsWith("clips.") ? one.slice(6) : "";
    if (Object.hasOwn(state.clips, filter)) state.clips[filter] = filter === "sound" ? value === "true" : value;
  }
  if (!ORDERS.some(([order]) => order === state.clips.order)) state.clips.order = "js";
  if (!INTERVALS.some(([which]) => which === state.intervals)) state.intervals = "chosen";
  const marks = group().rows.map(markOf);
  const wanted = text("rows", "").split(" ").filter(Boolean);
  const found = wanted.map((mark) => marks.indexOf(mark)).filter((i) => i >= 0);
  if (found.length < wanted.length) lost.push("a row");
  if (found.length) state.chosen = found.slice(0, COLOURS.length);
  return lost;
}

async function copyLink(event) {
  const button = event.target;
  let said = "The address bar has the link";
  try {
    await navigator.clipboard.writeText(location.href);
    said = "Copied";
  } catch { /* no clipboard for this page */ }
  button.textContent = said;
  setTimeout(() => { button.textContent = "Copy link to this view"; }, 2_500);
}
