// Names are cut where they agree with each other, never where they differ; the whole name stands in a tooltip.
const SHARED = 6; // signs; a shorter beginning or end that all names have stays
const WORD_ENDS = /[/_\-.:, ]/;

// How many signs all texts begin with, back to the last end of a word.
function sharedStart(texts) {
  let n = 0;
  while (texts.every((text) => n < text.length && text[n] === texts[0][n])) n++;
  while (n > 0 && !WORD_ENDS.test(texts[0][n - 1])) n--;
  return n;
}

// Of "org/model-base" and "org/model-tiny": a function that gives "…base" and "…tiny"; other texts stay as they are.
function withoutShared(names) {
  const texts = [...new Set(names)].filter((name) => !["", "-", "none"].includes(name));
  if (texts.length < 2) return (name) => name;
  const long = (n) => (n >= SHARED ? n : 0);
  const head = long(sharedStart(texts));
  const rest = texts.map((text) => text.slice(head));
  const end = long(sharedStart(rest.map((text) => [...text].reverse().join(""))));
  const tail = rest.every((text) => text.length > end) ? end : 0;
  return (name) => (texts.includes(name)
    ? (head ? "…" : "") + name.slice(head, name.length - tail) + (tail ? "…" : "")
    : name);
}

function shorten(text, length) {
  const signs = [...text];
  if (signs.length <= length) return text;
  const half = Math.floor((length - 1) / 2);
  return signs.slice(0, half).join("") + "…" + signs.slice(-half).join("");
}

// A function that gives each of the names in so many signs; one that would then look like another stays longer.
function fitted(names, length) {
  const brief = withoutShared(names);
  const unique = [...new Set(names)];
  const counts = new Map();
  for (const name of unique) {
    const text = shorten(brief(name), length);
    counts.set(text, (counts.get(text) || 0) + 1);
  }
  return (name) => {
    const text = shorten(brief(name), length);
    return counts.get(text) > 1 ? brief(name) : text;
  };
}

// In lines of at most so many signs, broken between parts where that is possible; nothing is left out.
function wrapped(parts, length) {
  const lines = [""];
  for (const part of parts) {
    const joined = lines[lines.length - 1] ? `${lines[lines.length - 1]} · ${part}` : part;
    if ([...joined].length <= length) lines[lines.length - 1] = joined;
    else if (lines[lines.length - 1]) lines.push(part);
    else lines[lines.length - 1] = part;
    while ([...lines[lines.length - 1]].length > length) {
      const signs = [...lines.pop()];
      lines.push(signs.slice(0, length).join(""), signs.slice(length).join(""));
    }
  }
  return lines;
}

function telling() {
  const current = group();
  return once(current, "telling", () => {
    const rows = current.rows.filter((row) => !isOther(row));
    return NAMES.filter((part) => part === "readout" || new Set(rows.map((row) => row.names[part])).size > 1);
  });
}

// A name as the table has it, without what all rows share.
function briefName(row, part) {
  const rows = group().rows.filter((one) => !isOther(one));
  const briefs = once(group(), "briefs", () => ({}));
  return once(briefs, part, () => withoutShared(rows.map((one) => one.names[part])))(row.names[part]);
}

const saying = (row) => telling().filter((part) => !["", "-", "none"].includes(row.names[part]));
const titleOf = (row) => saying(row).map((part) => row.names[part]).join(" · ") || row.names.readout;
const briefParts = (row) => (saying(row).length ? saying(row).map((part) => briefName(row, part)) : [row.names.readout]);
const briefOf = (row) => briefParts(row).join(" · ");
