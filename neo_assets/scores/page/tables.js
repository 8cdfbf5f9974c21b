// The heat map, the newest scores and what the checkpoints write, as plain HTML.
"use strict";

const MOST_ROWS = 60; // of the heat map, unless every checkpoint is asked for
const scores = new WeakMap(); // cell of the heat map -> its score

// ---------------------------------------------------------------- heat map

function drawMatrix(rows) {
  const columns = [...grouped(rows, (row) => `${row.task}\0${row.metric}\0${row.subset ?? ""}`).values()];
  const best = new Map(rows.map((row) => [scaleOf(row), row.value]));
  const worst = new Map(best);
  for (const row of rows) {
    const [key, better, worse] = [scaleOf(row), ...(row.higher_is_better ? [Math.max, Math.min] : [Math.min, Math.max])];
    best.set(key, better(best.get(key), row.value));
    worst.set(key, worse(worst.get(key), row.value));
  }
  const share = (row) => {
    const from = row.chance ?? worst.get(scaleOf(row));
    const reach = (best.get(scaleOf(row)) - from) * (row.higher_is_better ? 1 : -1);
    return reach > 0 ? Math.max(0, Math.min(1, ((row.value - from) * (row.higher_is_better ? 1 : -1)) / reach)) : 0;
  };
  const cells = columns.map((column) => {
    const found = new Map();
    for (const row of column.sort(latest)) found.set(checkpointOf(row), row);
    return found;
  });
  const every = [...new Map(rows.map((row) => [checkpointOf(row), row])).values()];
  const byRun = grouped(every.sort((a, b) => a.step - b.step), (row) => row.run);
  const most = state.all ? Infinity : Math.max(5, Math.floor(MOST_ROWS / byRun.size));
  const body = element("tbody");
  let count = 0;
  for (const [run, own] of byRun) {
    body.append(element("tr", {}, element("th", { class: "run", scope: "rowgroup", colspan: 2 }, run)));
    for (const checkpoint of thinned(own, most)) {
      const line = element("tr", {}, element("th", { scope: "row", title: checkpoint.checkpoint }, number(checkpoint.step)));
      for (const column of cells) line.append(heatCell(column.get(checkpointOf(checkpoint)), share));
      body.append(line);
      count += 1;
    }
  }
  const heads = columns.map(([row]) => {
    const name = row.task + (state.metrics === "all" ? ` · ${row.metric}` : "") + (row.subset ? ` · ${row.subset.replace(/^source:/, "")}` : "");
    return element("th", { scope: "col", title: `${name}, ${row.metric}, ${row.higher_is_better ? "higher" : "lower"} is better` }, element("span", {}, name + (row.higher_is_better ? "" : " ↓")));
  });
  const table = element("table", {}, element("colgroup", {}, element("col"), ...columns.map(() => element("col"))), element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "step"), ...heads)), body);
  document.querySelector("#matrix .note").textContent =
    count < every.length ? `${count} of ${number(every.length)} checkpoints are shown, evenly spaced, the first and the last of each run among them.` : `All ${number(every.length)} checkpoints.`;
  document.querySelector("#matrix .scroll").replaceChildren(table);
}

const checkpointOf = (row) => `${row.run}\0${row.step}`;
const scaleOf = (row) => `${row.task}\0${row.metric}\0${row.subset ?? ""}\0${row.identity}`;

function thinned(rows, most) {
  if (rows.length <= most) return rows;
  return Array.from({ length: most }, (_, i) => rows[Math.round((i * (rows.length - 1)) / (most - 1))]);
}

function heatCell(row, share) {
  const cell = document.createElement("td");
  if (!row) return cell;
  cell.textContent = Math.abs(row.value) < 10 ? row.value.toFixed(3) : number(row.value);
  cell.className = `z${Math.round(share(row) * 10)}${row.current ? "" : " older"}`;
  scores.set(cell, row);
  return cell;
}

/** A cell's whole story is written when it is pointed at: 20,000 of them beforehand take half a second. */
document.getElementById("matrix").addEventListener("pointerover", ({ target }) => {
  if (scores.has(target)) target.title = story(scores.get(target)).join("\n");
});

// ---------------------------------------------------------------- newest scores


const NEWEST = [
  ["run", (r) => r.run],
  ["task", (r) => r.task],
  ["metric", (r) => r.metric + (r.subset ? ` · ${r.subset}` : "")],
  ["value", (r) => r.value, (r) => `${number(r.value)}${r.stderr === null ? "" : ` ± ${number(r.stderr)}`}`],
  ["chance", (r) => r.chance, (r) => number(r.chance)],
  ["detectable", (r) => r.detectable, (r) => number(r.detectable)],
  ["n", (r) => r.n, (r) => number(r.n)],
  ["shots", (r) => r.shots, (r) => number(r.shots)],
  ["cut", (r) => r.cut, (r) => cutRequests(r)],
  ["step", (r) => r.step, (r) => number(r.step)],
  ["identity", (r) => r.identity],
];

function drawNewest(rows) {
  const newest = [...grouped(rows, (row) => `${row.run}\0${row.task}\0${row.metric}\0${row.subset ?? ""}`).values()].map((own) => own.reduce((a, b) => (latest(a, b) > 0 ? a : b)));
  document.querySelector("#newest .scroll").replaceChildren(sortable(NEWEST, newest, (cell, name, row) => {
    if (name === "identity" && !row.current) {
      cell.classList.add("older");
      cell.append(" older");
    }
    if (name === "cut" && row.cut) cell.title = "requests that were longer than the model reads, and were cut from the left: it saw fewer examples than “shots” says";
    if (name === "detectable") cell.title = "smallest difference that so many items can show";
  }));
  const tasks = new Set(rows.map((row) => row.task));
  const others = COMPARATORS.filter((other) => tasks.has(other.task));
  const columns = ["model", "task", "value", "provenance", "harness"].map((name) => [name, (r) => r[name], name === "value" ? (r) => number(r.value) : undefined]);
  document.getElementById("comparators").replaceChildren(
    ...(others.length ? [element("h3", {}, "Other models"), element("div", { class: "scroll", tabindex: 0 }, sortable(columns, others))] : []),
  );
}

/** A table that a click on a column's name sorts; what is not known stands last. */
function sortable(columns, rows, finish = () => {}) {
  const body = element("tbody");
  const fill = (sorted) => body.replaceChildren(...sorted.map((row) => element("tr", {}, ...columns.map(([name, value, shown = value]) => {
    const cell = element("td", { class: shown === value ? null : "n" }, name === "identity" ? element("code", {}, value(row)) : shown(row));
    finish(cell, name, row);
    return cell;
  }))));
  const heads = columns.map(([name, value, shown]) => {
    const button = element("button", { type: "button" }, name);
    const head = element("th", { scope: "col", class: shown ? "n" : null }, button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = (a, b) => (a === null) - (b === null) || (typeof a === "string" ? a.localeCompare(b) : a - b) * (down && a !== null && b !== null ? -1 : 1);
      fill([...rows].sort((a, b) => order(value(a), value(b))));
    });
    return head;
  });
  fill(rows);
  return element("table", { class: "plain" }, element("thead", {}, element("tr", {}, ...heads)), body);
}

// ---------------------------------------------------------------- generations

function drawGenerations() {
  const prompts = [...grouped(GENERATIONS, (row) => `${row.lang}\0${row.prompt}`).values()];
  const body = document.querySelector("#generations .body");
  if (!prompts.length) {
    body.replaceChildren(element("p", { class: "soft" }, "No checkpoint was asked to write."));
    return;
  }
  state.prompt = Math.min(state.prompt, prompts.length - 1);
  const select = element("select", {}, ...prompts.map(([row], i) => element("option", { value: i, lang: htmlLang(row.lang), selected: i === state.prompt }, `${row.lang.toUpperCase()}: ${printable(row.prompt)}`)));
  select.addEventListener("change", () => {
    state.prompt = Number(select.value);
    writeHash();
    drawGenerations();
  });
  const own = prompts[state.prompt].sort((a, b) => RUNS.indexOf(a.run) - RUNS.indexOf(b.run) || a.step - b.step);
  body.replaceChildren(
    element("div", { class: "prompt" }, element("label", {}, "Prompt", select)),
    element("div", { class: "sides" }, side("left", own, 0), side("right", own, own.length - 1)),
  );
}

const placeOf = (row) => `${row.run}@${row.step}`;
const printable = (text) => text.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "\ufffd");

const BLANKS = { "\n": "↵", "\t": "⇥", " ": "␣" };

/** A text in which long runs of one white space are told instead of shown: a young model writes little else. */
const readable = (text) =>
  printable(text)
    .split(/(\n{4,}|\t{4,}| {4,})/)
    .map((part) => (/^(\n{4,}|\t{4,}| {4,})$/.test(part) ? element("i", {}, `${BLANKS[part[0]]} × ${part.length}`) : part));

const NOT_CAUSE = "Underlined is what stands verbatim in the training pool; a click tells where. It is no proof that it made the model write it.";

/** What a checkpoint wrote. A click on a passage that stands in the training pool tells in ``place`` where. */
function written(pieces, passages, place) {
  return pieces.flatMap(([text, number]) => {
    if (!number) return readable(text);
    const quoted = element("button", { type: "button", class: "quoted" }, ...readable(text));
    quoted.addEventListener("click", () => place.replaceChildren(passageTold(passages[number - 1]), element("p", { class: "note" }, NOT_CAUSE)));
    return [quoted];
  });
}

/** A passage, and the documents that it stands in, with the steps that read them; the first one is open. */
function passageTold(passage) {
  const documents = passage.documents.map((one, i) =>
    element(
      "details",
      { lang: htmlLang(one.lang), open: i === 0 },
      element("summary", {}, printable(one.title), element("span", { class: "soft" }, ` ${one.source}, ${one.licence}`)),
      element("p", { class: "around" }, "…", printable(one.before), element("mark", {}, printable(one.text)), printable(one.after), "…"),
      element("p", { class: "where" }, /^https?:/.test(one.url) ? element("a", { href: one.url, rel: "noreferrer" }, one.url) : printable(one.url)),
      ...one.steps.map((line) => element("p", { class: "read" }, line)),
    ),
  );
  return element("div", { class: "passages" }, element("p", { class: "soft" }, passage.told), ...documents);
}

/** One of the two checkpoints beside each other, with a slider over all that wrote after this prompt. */
function side(name, rows, first) {
  const asked = rows.findIndex((row) => placeOf(row) === state[name]);
  let at = asked < 0 ? first : asked;
  const slider = element("input", { type: "range", min: 0, max: rows.length - 1, value: at, "aria-label": `checkpoint on the ${name}` });
  const [back, on] = [element("button", { type: "button", "aria-label": "earlier" }, "‹"), element("button", { type: "button", "aria-label": "later" }, "›")];
  const told = element("output");
  const quote = element("blockquote");
  const place = element("div", { role: "status" });
  const show = () => {
    const row = rows[at];
    slider.value = at;
    slider.setAttribute("aria-valuetext", `run ${row.run}, step ${number(row.step)}`);
    [back.disabled, on.disabled] = [at === 0, at === rows.length - 1];
    told.textContent = `${row.run}@${row.step}`;
    told.title = row.checkpoint;
    quote.lang = htmlLang(row.lang);
    const { pieces, passages } = row.traced ? JSON.parse(row.traced) : { pieces: [[row.continuation, 0]], passages: [] };
    place.replaceChildren(...(passages.length ? [element("p", { class: "note" }, NOT_CAUSE)] : []));
    quote.replaceChildren(element("b", {}, printable(row.prompt)), ...written(pieces, passages, place));
  };
  const go = (to) => {
    at = Math.max(0, Math.min(rows.length - 1, to));
    state[name] = placeOf(rows[at]);
    show();
  };
  slider.addEventListener("input", () => go(Number(slider.value)));
  slider.addEventListener("change", writeHash);
  for (const [button, by] of [[back, -1], [on, 1]]) {
    button.addEventListener("click", () => {
      go(at + by);
      writeHash();
    });
  }
  show();
  return element("div", { class: "side" }, element("div", { class: "steps" }, back, slider, on), told, quote, place);
}

start();
