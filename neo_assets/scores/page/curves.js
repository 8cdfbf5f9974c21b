// Score over tokens: a small chart for each task and metric, drawn by Vega when it comes near the screen.
"use strict";

const TODAY = { dash: [], mark: "circle", word: " solid, today's" };
const OLDER = [
  { dash: [6, 4], mark: "diamond", word: " dashed, older" },
  { dash: [9, 3, 2, 3], mark: "square", word: " dash-dotted, older" },
  { dash: [14, 4], mark: "triangle-up", word: " long-dashed, older" },
];
const MARKED = 60; // points up to which each has its mark; of a longer line of an older identity some have, today's has none
const curves = document.getElementById("curves");
const charts = new Map(); // plot element -> its rows and what to draw
const views = new Map(); // plot element -> what Vega drew
const queue = new Set();
let drawing = false;
let looked = false; // whether the browser has said which charts are near the screen
const visible = new IntersectionObserver(
  (entries) => {
    looked = true;
    entries.forEach((e) => (e.isIntersecting ? queue.add(e.target) : queue.delete(e.target)));
    drawQueued();
  },
  { rootMargin: "150px" },
);
addEventListener("DOMContentLoaded", drawQueued);

function drawCurves(rows) {
  curves.setAttribute("aria-busy", "true");
  visible.disconnect();
  queue.clear();
  views.forEach(({ finalize }) => finalize());
  views.clear();
  charts.clear();
  looked = false;
  const names = state.subset === "source" ? [...new Set(rows.map(seriesName))].sort() : RUNS;
  const colours = new Map(names.map((name, i) => [name, COLOURS[i % COLOURS.length]]));
  const colourOf = (row) => colours.get(state.subset === "source" ? seriesName(row) : row.run);
  const shown = new Map(rows.map((row) => [seriesName(row), colourOf(row)]));
  document.getElementById("legend").replaceChildren(
    ...[...shown].map(([name, colour]) => {
      const item = element("li", {}, name);
      item.style.setProperty("--colour", colour);
      return item;
    }),
  );
  const cards = [...grouped(rows, (row) => `${row.task}\0${row.metric}`).values()].map((own) => card(own, colourOf));
  curves.querySelector(".grid").replaceChildren(...cards);
  charts.forEach((_, plot) => visible.observe(plot));
  if (!charts.size) curves.setAttribute("aria-busy", "false");
}

function card(rows, colourOf) {
  const newest = rows.reduce((a, b) => (latest(a, b) > 0 ? a : b));
  const facts = [newest.metric, newest.higher_is_better ? "higher is better" : "lower is better", `n ${number(newest.n)}`, `${newest.shots} shots`];
  const identities = inOrder(rows);
  const plot = element("div", { class: "plot", role: "img", "aria-label": spoken(rows, newest) });
  charts.set(plot, { rows, spec: () => chart(rows, identities, newest, colourOf) });
  const older = identities.length > 1 ? element("p", { class: "soft" }, ...identities.flatMap((identity, i) => [i ? " · " : "", element("code", {}, identity.id.slice(0, 6)), identity.word])) : null;
  const large = element("button", { type: "button", "aria-expanded": "false", ...(EXPLAINED[newest.task] ? { title: EXPLAINED[newest.task] } : {}) }, newest.task);
  const own = element("article", { class: "card" }, element("h3", {}, large), element("p", { class: "soft" }, facts.join(" · ")), plot, older);
  large.addEventListener("click", () => {
    large.setAttribute("aria-expanded", own.classList.toggle("large"));
    fit();
  });
  return own;
}

function spoken(rows, newest) {
  const first = rows.reduce((a, b) => (latest(a, b) <= 0 ? a : b));
  const chance = newest.chance === null ? "" : ` Chance is ${number(newest.chance)}.`;
  return `${newest.task}, ${newest.metric}: ${number(first.value)} at ${amount(first.tokens)} tokens, ${number(newest.value)} at ${amount(newest.tokens)} tokens.${chance}`;
}

/** The identities of a chart's scores, oldest first and today's last, with the dash and mark of each. */
function inOrder(rows) {
  const begins = new Map();
  for (const row of rows) {
    const known = begins.get(row.identity);
    begins.set(row.identity, { id: row.identity, current: row.current, from: Math.min(row.tokens, known?.from ?? Infinity) });
  }
  const ordered = [...begins.values()].sort((a, b) => a.current - b.current || a.from - b.from);
  return ordered.map((identity, i) => ({ ...identity, ...(identity.current ? TODAY : OLDER[i % OLDER.length]) }));
}

/** A chart as Vega reads it. Each identity of a series is a line of its own, so none joins scores that cannot be compared. */
function chart(rows, identities, newest, colourOf) {
  const parts = [];
  const breaks = [];
  for (const series of grouped(rows, seriesName).values()) {
    const colour = colourOf(series[0]);
    const byIdentity = grouped(series.sort((a, b) => a.tokens - b.tokens), (row) => row.identity);
    let before = null;
    for (const identity of identities) {
      const part = byIdentity.get(identity.id);
      if (!part) continue;
      parts.push(line(part.filter((row) => row.attempt <= 1), colour, identity), again(part.filter((row) => row.attempt > 1), colour));
      if (before) breaks.push({ x: breakAt(before, part), label: `task changed: ${before[0].identity.slice(0, 6)} → ${identity.id.slice(0, 6)}` });
      before = part;
    }
  }
  const lines = levels(newest, rows);
  const reached = [...rows.flatMap((row) => [row.value - (row.stderr ?? 0), row.value + (row.stderr ?? 0)]), ...lines.map((one) => one.y)];
  const [low, high] = [reached.reduce((a, b) => Math.min(a, b)), reached.reduce((a, b) => Math.max(a, b))];
  const span = high - low || Math.abs(high) || 1;
  const right = Math.max(1, rows.reduce((most, row) => Math.max(most, row.tokens), 0));
  const text = { fontSize: 10.5, font: "sans-serif" };
  return {
    $schema: "https://vega.github.io/schema/vega/v6.json", autosize: { type: "fit", contains: "padding" }, padding: 2, config: { aria: false },
    scales: [
      { name: "x", type: "linear", range: "width", domain: [0, right] },
      { name: "y", type: "linear", range: "height", zero: false, domain: [low - span * 0.05, high + span * (breaks.length ? 0.18 : 0.08)] },
    ],
    axes: [
      { orient: "left", scale: "y", grid: true, tickCount: 5, domain: false, ticks: false, labelFontSize: 11, labelPadding: 6 },
      { orient: "bottom", scale: "x", tickCount: 5, labelFontSize: 11, encode: { labels: { update: { text: { signal: "replace(format(datum.value, '~s'), 'G', 'B')" } } } }, title: "tokens", titleFontSize: 11, titleFontWeight: "normal" },
    ],
    ...marks([...parts, ...apart(lines, span).map((one) => levelMark(one, text)), ...breaks.filter(unlike(right)).map((b, i) => breakMark(b, i, right, text))]),
  };
}

/** Between the last score under the old identity and the first under the new one, or at the latter where they overlap. */
function breakAt(before, after) {
  const last = before.at(-1).tokens;
  return last < after[0].tokens ? (last + after[0].tokens) / 2 : after[0].tokens;
}

/** Runs that meet the same change at the same place share its line. */
const unlike = (right) => (b, i, all) => !all.slice(0, i).some((known) => known.label === b.label && Math.abs(known.x - b.x) < right * 0.01);

/** What is to be bettered, and other models: chance, or, where lower is better, the untrained model, of which a uniform guess is so far off that it would flatten every curve. */
function levels(newest, rows) {
  const others = state.others && newest.main && newest.subset === null ? COMPARATORS.filter((c) => c.task === newest.task).sort((a, b) => a.value - b.value) : [];
  const untrained = rows.find((row) => row.tokens === 0 && row.identity === newest.identity && row.subset === newest.subset);
  const level = newest.higher_is_better ? [newest.chance, "chance"] : [untrained?.value ?? null, "untrained"];
  const chance = level[0] === null ? [] : [{ name: "chance", y: level[0], label: `${level[1]} ${number(level[0])}` }];
  return [...chance, ...others.map((other) => ({ name: "other", y: other.value, label: `${other.model} ${number(other.value)} (${other.harness})` }))];
}

/** The same, with the labels of near values moved apart. */
function apart(lines, span) {
  let free = -Infinity;
  return lines.map((one) => {
    const told = one.name === "other" ? Math.max(one.y, free) : one.y;
    if (one.name === "other") free = told + span * 0.085;
    return { ...one, told };
  });
}

// ---------------------------------------------------------------- parts of a chart: rows, and marks over them

const at = (scale, from) => ({ scale, ...from });
function marks(parts) {
  const all = parts.flatMap(({ marks: own }, i) => own.map((mark) => ({ interactive: false, ...mark, name: `${mark.name}-${i}`, from: { data: `part${i}` } })));
  const labels = (mark) => mark.type === "text"; // over all else
  return { data: parts.map(({ values }, i) => ({ name: `part${i}`, values })), marks: [...all.filter((mark) => !labels(mark)), ...all.filter(labels)] };
}
const place = { x: at("x", { field: "tokens" }), y: at("y", { field: "value" }) };

function line(rows, colour, { dash, mark, current }) {
  const apart = rows.length <= MARKED ? 1 : current ? Infinity : Math.ceil(rows.length / 12);
  const values = rows.map((row, i) => ({ tokens: row.tokens, value: row.value, marked: i % apart === 0 && apart < Infinity, low: row.value - (row.stderr ?? 0), high: row.value + (row.stderr ?? 0) }));
  const points = { type: "symbol", name: "points", encode: { update: { ...place, size: { signal: `datum.marked ? ${current ? 22 : 36} : 0` }, shape: { value: mark }, fill: { value: colour } } } };
  return {
    values,
    marks: [
      { type: "area", name: "band", encode: { update: { x: place.x, y: at("y", { field: "low" }), y2: at("y", { field: "high" }), fill: { value: colour }, fillOpacity: { value: 0.18 } } } },
      { type: "line", name: "curve", encode: { update: { ...place, stroke: { value: colour }, strokeWidth: { value: rows.length > 200 ? 1.1 : 1.7 }, strokeDash: { value: dash } } } },
      ...(apart < Infinity ? [points] : []),
    ],
  };
}

const again = (rows, colour) => ({
  values: rows.map((row) => ({ tokens: row.tokens, value: row.value })),
  marks: [{ type: "symbol", name: "again", encode: { update: { ...place, size: { value: 60 }, shape: { value: "M-1,-1L1,1M-1,1L1,-1" }, stroke: { value: colour }, strokeWidth: { value: 1.8 } } } }],
});

function levelMark({ name, y, told: height, label }, text) {
  const [where, left] = [at("y", { value: y }), name === "other"];
  const rule = { x: { value: 0 }, x2: { signal: "width" }, y: where, strokeDash: { value: left ? [1, 3] : [5, 4] }, strokeWidth: { value: left ? 1 : 1.3 } };
  const told = { x: left ? { value: 4 } : { signal: "width - 2" }, y: at("y", { value: height, offset: -3 }), align: { value: left ? "left" : "right" }, text: { value: label } };
  return { values: [{}], marks: [{ type: "rule", name, encode: { update: rule } }, textMark(told, text)] };
}

function breakMark({ x, label }, i, right, text) {
  const where = at("x", { value: x });
  const leftHalf = x < right / 2;
  const told = { x: { ...where, offset: leftHalf ? 4 : -4 }, y: { value: 9 + 13 * i }, align: { value: leftHalf ? "left" : "right" }, text: { value: label } };
  return { values: [{}], marks: [{ type: "rule", name: "break", encode: { update: { x: where, y: { value: 0 }, y2: { signal: "height" }, strokeWidth: { value: 1.4 } } } }, textMark(told, text)] };
}

const textMark = (told, { fontSize, font }) => ({ type: "text", name: "label", encode: { update: { fontSize: { value: fontSize }, font: { value: font }, ...told } } });

// ---------------------------------------------------------------- drawing

/** Draw what is on the screen, then what is near it, giving the browser a turn now and then. */
async function drawQueued() {
  if (drawing || !window.vegaEmbed) return;
  drawing = true;
  let began = performance.now();
  while (queue.size) {
    let plot = [...queue].find(onScreen);
    if (!plot) {
      settled();
      [plot] = queue;
    }
    queue.delete(plot);
    await draw(plot);
    if (performance.now() - began > 50) {
      await new Promise(requestAnimationFrame);
      began = performance.now();
    }
  }
  drawing = false;
  settled();
}

function onScreen(plot) {
  const { top, bottom } = plot.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

function settled() {
  if (!looked || curves.getAttribute("aria-busy") === "false") return;
  curves.setAttribute("aria-busy", "false");
  performance.mark("curves drawn");
}

async function draw(plot) {
  const chart = charts.get(plot);
  if (!chart || views.has(plot)) return;
  visible.unobserve(plot);
  const spec = { ...chart.spec(), width: plot.clientWidth, height: plot.clientHeight };
  const drawn = await vegaEmbed(plot, spec, { mode: "vega", renderer: "svg", ast: true, actions: false, defaultStyle: false, tooltip: false });
  if (!charts.has(plot)) return drawn.finalize(); // the filters moved on meanwhile
  views.set(plot, drawn);
  plot.addEventListener("pointermove", (event) => point(plot, event));
  plot.addEventListener("pointerleave", () => (tip.hidden = dot.hidden = true));
  if (!performance.getEntriesByName("first curve").length) performance.mark("first curve");
}

async function drawEveryCurve() {
  await Promise.all([...charts.keys()].map(draw));
}

const fit = () => views.forEach(({ view }, plot) => view.width(plot.clientWidth).height(plot.clientHeight).runAsync());
addEventListener("resize", fit);

// ---------------------------------------------------------------- what a point says

const tip = element("div", { id: "tip", role: "tooltip", hidden: true });
const dot = element("div", { id: "dot", hidden: true });
document.body.append(tip, dot);

/** Show the score nearest to the pointer, unless none is near. */
function point(plot, event) {
  const { view } = views.get(plot);
  const box = plot.getBoundingClientRect();
  const [left, top] = view.origin();
  const [x, y] = [view.scale("x"), view.scale("y")];
  let [nearest, distance] = [null, 40];
  for (const row of charts.get(plot).rows) {
    const away = Math.hypot(box.left + left + x(row.tokens) - event.clientX, box.top + top + y(row.value) - event.clientY);
    if (away < distance) [nearest, distance] = [row, away];
  }
  tip.hidden = dot.hidden = nearest === null;
  if (nearest === null) return;
  tip.replaceChildren(...story(nearest).map((text) => element("div", {}, text)));
  const [px, py] = [box.left + left + x(nearest.tokens), box.top + top + y(nearest.value)];
  dot.style.translate = `${px}px ${py}px`;
  tip.style.translate = `${Math.max(4, Math.min(px + 12, innerWidth - tip.offsetWidth - 4))}px ${py + 14 + tip.offsetHeight > innerHeight ? py - 14 - tip.offsetHeight : py + 14}px`;
}

/** "12 of 400", "" where nothing was cut. */
function cutRequests(row) {
  return row.cut ? `${number(row.cut)} of ${number(row.requests)}` : "";
}

function story(row) {
  return [
    `${row.task}, ${seriesName(row)}`,
    `${row.metric} ${number(row.value)}${row.stderr === null ? "" : ` ± ${number(row.stderr)}`}`,
    `n ${number(row.n)}, ${row.shots} shots${row.attempt > 1 ? `, attempt ${row.attempt}` : ""}`,
    row.cut ? `${cutRequests(row)} requests cut: longer than the model reads` : "",
    `step ${number(row.step)}, ${amount(row.tokens)} tokens`,
    `checkpoint ${row.checkpoint}`,
    `identity ${row.identity}${row.current ? "" : " (older)"}`,
    row.detectable === null ? "" : `detectable difference ${number(row.detectable)}`,
  ].filter(Boolean);
}
