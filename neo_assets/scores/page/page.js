// The page's data, its state and its filters. The state is the address's hash, so that a view can be linked; what is as at first is left out.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const ROWS = decoded(DATA.rows);
const COMPARATORS = decoded(DATA.comparators);
const GENERATIONS = decoded(DATA.generations);
const RUNS = [...new Set([...ROWS, ...GENERATIONS].map((row) => row.run))];
const { languages: LANGUAGES, colours: COLOURS, explained: EXPLAINED } = DATA;
const FIRST = { suite: "", lang: "", runs: [], task: "", subset: "", metrics: "", others: true, all: false, prompt: 0, left: "", right: "" };
const state = { ...FIRST };

/** Rows of a table written by page.columnar. */
function decoded({ count, columns }) {
  const rows = Array.from({ length: count }, () => ({}));
  for (const [name, { values, at }] of Object.entries(columns)) {
    for (let i = 0; i < count; i++) rows[i][name] = at ? values[at[i]] : values[i];
  }
  return rows;
}

// ---------------------------------------------------------------- elements and numbers

/** An element whose texts, however hostile, stay texts. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

const htmlLang = (lang) => (lang === "zh" ? "zh-Hans" : lang);

function number(value) {
  if (value === null) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 1 }) : size >= 10 ? value.toFixed(2) : size >= 0.001 ? value.toFixed(3) : value.toPrecision(2);
}

function amount(value) {
  for (const [size, unit] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]]) if (value >= size) return `${+(value / size).toPrecision(3)}${unit}`;
  return String(value);
}

const seriesName = (row) => row.run + (row.subset ? ` · ${row.subset.replace(/^source:/, "")}` : "");
const latest = (a, b) => a.step - b.step || a.current - b.current || a.attempt - b.attempt;

function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) {
    const name = key(row);
    const group = groups.get(name);
    if (group) group.push(row);
    else groups.set(name, [row]);
  }
  return groups;
}

// ---------------------------------------------------------------- state

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, first] of Object.entries(FIRST)) {
    const value = given.get(name);
    if (name === "runs") state.runs = given.getAll("runs").filter((run) => RUNS.includes(run));
    else if (typeof first === "boolean") state[name] = value === null ? first : value === "1";
    else if (typeof first === "number") state[name] = Number(value) || first;
    else state[name] = value ?? first;
  }
}

function writeHash() {
  const given = new URLSearchParams();
  for (const [name, first] of Object.entries(FIRST)) {
    if (name === "runs") state.runs.forEach((run) => given.append("runs", run));
    else if (state[name] !== first) given.set(name, typeof first === "boolean" ? Number(state[name]) : state[name]);
  }
  history.replaceState(null, "", `#${given}`);
}

/** The scores that the filters leave. */
function chosen() {
  const tasks = state.suite && DATA.suites[state.suite] ? new Set(DATA.suites[state.suite]) : null;
  const runs = new Set(state.runs);
  const part = state.task.toLowerCase();
  const inSubset = { "": (s) => s === null, clean: (s) => s === "clean", source: (s) => s !== null && s.startsWith("source:") }[state.subset] ?? (() => false);
  return ROWS.filter(
    (row) =>
      row.value !== null && inSubset(row.subset) && (row.main || state.metrics === "all") && (!tasks || tasks.has(row.task)) &&
      (!state.lang || row.lang === state.lang) && (!runs.size || runs.has(row.run)) && (!part || row.task.toLowerCase().includes(part)),
  );
}

// ---------------------------------------------------------------- filters

const filters = document.getElementById("filters");

function fillFilters() {
  const option = (select, value, text) => filters.elements[select].append(element("option", { value }, text));
  option("suite", "", "all tasks");
  Object.keys(DATA.suites).forEach((suite) => option("suite", suite, suite));
  option("lang", "", "all");
  [...new Set(ROWS.map((row) => row.lang))].sort().forEach((lang) => option("lang", lang, LANGUAGES[lang] ?? lang));
  RUNS.forEach((run) => document.getElementById("runs").append(element("label", { class: "tick" }, element("input", { type: "checkbox", name: "runs", value: run }), run)));
}

function showState() {
  for (const name of ["suite", "lang", "task", "subset", "metrics"]) filters.elements[name].value = state[name];
  for (const name of ["others", "all"]) filters.elements[name].checked = state[name];
  for (const box of document.querySelectorAll("#runs input")) box.checked = state.runs.includes(box.value);
}

function readFilters() {
  for (const name of ["suite", "lang", "task", "subset", "metrics"]) state[name] = filters.elements[name].value;
  for (const name of ["others", "all"]) state[name] = filters.elements[name].checked;
  state.runs = [...document.querySelectorAll("#runs input:checked")].map((box) => box.value);
}

/** Sections are drawn when they come near the screen, and once more after each change. */
const waiting = new Map();
const nearby = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((e) => drawWaiting(e.target)), { rootMargin: "300px" });

function drawWaiting(section) {
  const draw = waiting.get(section);
  nearby.unobserve(section);
  waiting.delete(section);
  if (!draw) return;
  draw();
  section.setAttribute("aria-busy", "false");
  performance.mark(`${section.id} drawn`);
}

function drawLater(id, draw) {
  const section = document.getElementById(id);
  section.setAttribute("aria-busy", "true");
  waiting.set(section, draw);
  nearby.unobserve(section);
  nearby.observe(section);
}

function drawScores() {
  const rows = chosen();
  const tasks = new Set(rows.map((row) => row.task)).size;
  const checkpoints = new Set(rows.map((row) => `${row.run}\0${row.step}`)).size;
  document.getElementById("count").textContent = rows.length
    ? `${number(rows.length)} scores: ${number(tasks)} ${tasks === 1 ? "task" : "tasks"}, ${number(checkpoints)} ${checkpoints === 1 ? "checkpoint" : "checkpoints"}.`
    : "No score is left by these filters.";
  drawCurves(rows);
  drawLater("matrix", () => drawMatrix(rows));
  drawLater("newest", () => drawNewest(rows));
}

function start() {
  fillFilters();
  readHash();
  showState();
  let typing = 0;
  const changed = (name) => {
    readFilters();
    writeHash();
    if (name === "all") drawLater("matrix", () => drawMatrix(chosen()));
    else drawScores();
  };
  filters.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("change", (event) => event.target.form === filters && event.target.name !== "task" && changed(event.target.name)); // one box stands beside the heat map
  filters.elements.task.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(changed, 120);
  });
  filters.querySelectorAll("[data-to]").forEach((button) => button.addEventListener("click", () => document.getElementById(button.dataset.to).scrollIntoView()));
  addEventListener("hashchange", () => {
    readHash();
    showState();
    drawScores();
    drawLater("generations", drawGenerations);
  });
  addEventListener("beforeprint", () => {
    [...waiting.keys()].forEach(drawWaiting);
    drawEveryCurve();
  });
  drawScores();
  drawLater("generations", drawGenerations);
}
