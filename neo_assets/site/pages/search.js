// Search and reading without a server: scripts are loaded as they are needed, and call `neo`. Nothing is sent anywhere.
"use strict";
const neo = (() => {
  const CJK = "\\u2e80-\\u2fdf\\u3005-\\u3007\\u3040-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uac00-\\ud7af\\uf900-\\ufaff\\u{20000}-\\u{3ffff}";
  const RUNS = new RegExp(`[${CJK}]+|(?:(?![${CJK}])[\\p{L}\\p{N}])+`, "gu");
  const IS_CJK = new RegExp(`^[${CJK}]`, "u");
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const VALUE = new Map([...DIGITS].map((c, i) => [c, i]));
  const SHARDS = 256, LONGEST_WORD = 32, PAGE = 20, AROUND = 70;
  const loading = new Map(), waiting = new Map();
  let listed = null, marks = new Map(), turn = 0, shown = 0, hits = [], asked = null, wrong = 0;

  const by = (id) => document.getElementById(id);
  const normal = (text) => text.normalize("NFKC").toLowerCase();
  const count = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

  function load(file, key) {
    if (!loading.has(key)) {
      loading.set(key, new Promise((resolve, reject) => {
        waiting.set(key, resolve);
        const script = document.createElement("script");
        script.src = file;
        script.onerror = () => { loading.delete(key); reject(new Error(`${file} cannot be read`)); };
        document.head.append(script);
      }));
    }
    return loading.get(key);
  }
  const came = (key, value) => { waiting.get(key)?.(value); };
  const index = (n) => load(`index/${n.toString(16).padStart(2, "0")}.js`, `i${n}`);
  const piece = (n) => load(`documents/${String(n).padStart(4, "0")}.js`, `d${n}`);
  const read = async (number) => (await piece(listed.rows[number][4]))[listed.rows[number][5]];

  // ---------------------------------------------------------------- finding
  function shardOf(term) {
    const [a, b] = [...term];
    return (a.codePointAt(0) * 31 + (IS_CJK.test(term) || b === undefined ? 0 : b.codePointAt(0))) % SHARDS;
  }
  function unpacked(text) {
    const out = [];
    let before = -1, value = 0, shift = 1;
    for (const c of text) {
      const v = VALUE.get(c);
      value += (v & 31) * shift;
      if (v & 32) { shift *= 32; } else { before += value + 1; out.push(before); value = 0; shift = 1; }
    }
    return out;
  }
  function both(a, b) {
    const out = [];
    for (let i = 0, j = 0; i < a.length && j < b.length;) {
      if (a[i] === b[j]) { out.push(a[i]); i++; j++; } else if (a[i] < b[j]) i++; else j++;
    }
    return out;
  }
  async function beginning(start) {
    const shard = await index(shardOf(start));
    const all = new Set();
    for (const term in shard) if (term.startsWith(start)) for (const n of unpacked(shard[term])) all.add(n);
    return [...all].sort((a, b) => a - b);
  }
  const exactly = async (term) => unpacked((await index(shardOf(term)))[term] || "");

  function understood(query) {
    const text = normal(query.trim());
    const phrases = [...text.matchAll(/["“”]([^"“”]+)["“”]/g)].map((m) => m[1].trim()).filter(Boolean);
    const runs = text.match(RUNS) || [];
    const open = runs.length && normal(query).endsWith(runs[runs.length - 1]);  // a last word is still being typed
    return { text, phrases, runs, open };
  }
  async function candidates(query) {
    const lists = [];
    for (const [i, run] of query.runs.entries()) {
      const signs = [...run];
      if (IS_CJK.test(run)) {
        if (signs.length === 1) lists.push(await beginning(run));
        else for (let k = 0; k + 1 < signs.length; k++) lists.push(await exactly(signs[k] + signs[k + 1]));
      } else {
        const word = signs.slice(0, LONGEST_WORD).join("");
        lists.push(await (query.open && i === query.runs.length - 1 && signs.length > 1 ? beginning(word) : exactly(word)));
      }
    }
    if (!lists.length) return listed.rows.map((_, n) => n);
    lists.sort((a, b) => a.length - b.length);
    return lists.reduce(both);
  }
  // Pairs can stand apart: a run of three characters and more, a phrase and a long word are looked for in the text.
  const certain = (query) => !query.phrases.length && query.runs.every((r) => IS_CJK.test(r) ? [...r].length <= 2 : [...r].length <= LONGEST_WORD);
  function holds(one, query) {
    const text = normal(`${one.title}\n${one.text || ""}`), flat = text.replace(/\s+/g, " ");
    return query.phrases.every((p) => text.includes(p) || flat.includes(p.replace(/\s+/g, " "))) && query.runs.every((r) => text.includes(r));
  }
  function ranked(numbers, query) {
    const title = (n) => query.text && normal(listed.rows[n][1]).includes(query.text.replace(/["“”]/g, "")) ? 0 : 1;
    const wanted = by("fate").value, lang = by("lang").value;
    const fits = (n) => {
      const fate = listed.rows[n][3];
      const is = wanted === "" || (wanted === "out" ? fate > 1 : wanted === String(fate));
      return is && (!lang || listed.rows[n][2] === lang);
    };
    return numbers.filter(fits).map((n) => [title(n), n]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map((p) => p[1]);
  }
  async function find(text) {  // every document that has what is asked for, by number
    const query = understood(text), numbers = await candidates(query);
    if (certain(query)) return numbers;
    const held = await Promise.all(numbers.map(async (n) => holds(await read(n), query)));
    return numbers.filter((_, i) => held[i]);
  }

  // ---------------------------------------------------------------- showing
  function node(tag, text, attributes = {}) {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }
  function fateOf(n) {
    const fate = listed.rows[n][3], stage = listed.stages[fate - 2];
    if (fate === 0) return node("span", "kept", { class: "fate in" });
    if (fate === 1) return node("span", "held out", { class: "fate" });
    return node("span", stage ? `dropped by ${stage[0]}` : "not kept", { class: "fate out" });
  }
  function spelled(text) {  // as it is compared, and the place in the text of each of its places; none where signs join
    const low = normal(text);
    if (low.length === text.length) return [low, null];
    let signs = "";
    const places = [];
    let at = 0;
    for (const sign of text) {
      const told = normal(sign);
      for (let k = 0; k < told.length; k++) places.push(at);
      signs += told;
      at += sign.length;
    }
    places.push(at);
    return [low, signs === low ? places : undefined];
  }
  function marked(text, query, whole) {
    const out = node("span"), [low, moved] = spelled(text);
    const same = moved !== undefined, place = (i) => moved ? moved[i] : i;
    const terms = [...query.phrases, ...query.runs].filter(Boolean).sort((a, b) => b.length - a.length);
    const places = [];
    if (same) for (const term of terms) for (let at = low.indexOf(term); at >= 0 && places.length < 400; at = low.indexOf(term, at + term.length)) places.push([place(at), place(at + term.length)]);
    places.sort((a, b) => a[0] - b[0]);
    let from = 0, to = text.length;
    if (!whole) {
      const first = places.length ? places[0][0] : same ? 0 : Math.max(0, low.indexOf(terms[0] || ""));
      from = Math.max(0, first - AROUND); to = Math.min(text.length, first + 3 * AROUND);
      if (from) out.append(node("span", "…", { class: "gap" }));
    }
    let at = from;
    for (const [a, b] of places) {
      if (a < at || b > to) continue;
      out.append(text.slice(at, a), node("mark", text.slice(a, b)));
      at = b;
    }
    out.append(text.slice(at, to));
    if (to < text.length) out.append(node("span", "…", { class: "gap" }));
    return out;
  }
  async function search() {
    const mine = ++turn, query = understood(by("query").value);
    const found = ranked(await candidates(query), query);
    if (mine !== turn) return;
    hits = found; asked = query; shown = 0; wrong = 0;
    by("found").replaceChildren();
    await more(mine);
  }
  function tell() {
    const rest = hits.length - shown, n = hits.length - wrong;
    const sure = certain(asked) || rest === 0;
    by("count").textContent = asked.text || by("fate").value || by("lang").value ? (n || rest ? `${sure ? "" : "at most "}${count(n, "document")}` : "No document has this.") : count(n, "document");
    by("more").hidden = rest <= 0;
  }
  async function more(mine = turn) {
    let put = 0;
    while (put < PAGE && shown < hits.length) {
      const batch = hits.slice(shown, shown + PAGE - put);
      const read_ = await Promise.all(batch.map(read));
      if (mine !== turn) return;
      for (const [i, one] of read_.entries()) {
        if (!certain(asked) && !holds(one, asked)) { wrong++; continue; }
        by("found").append(line(batch[i], one)); put++;
      }
      shown += batch.length;
    }
    tell();
  }
  function line(n, one) {
    const row = listed.rows[n], item = node("li"), link = node("a", row[1], { href: `#d=${row[0]}`, lang: row[2] });
    item.append(link, fateOf(n), node("span", row[2], { class: "fate" }));
    const says = node("p", undefined, { lang: row[2] });
    if (one.text === null) says.append(node("span", "its text is not shown: its licence is not among those that are", { class: "withheld" }));
    else says.append(marked(one.text.replace(/\s+/g, " "), asked, false));
    item.append(says);
    return item;
  }
  function difference(text, edits) {
    const out = node("div", undefined, { class: "text" });
    let at = 0;
    for (const [from, to, instead] of edits) {
      const same = text.slice(at, from);
      if (same.length > 4 * AROUND) out.append(at ? same.slice(0, AROUND) : "", node("span", ` … ${count(same.length - (at ? 2 : 1) * AROUND, "character")} … `, { class: "gap" }), same.slice(-AROUND));
      else out.append(same);
      if (to > from) out.append(node("del", text.slice(from, to)));
      if (instead) out.append(node("ins", instead));
      at = to;
    }
    const same = text.slice(at);
    if (same.length > 4 * AROUND) out.append(same.slice(0, AROUND), node("span", ` … ${count(same.length - AROUND, "character")} …`, { class: "gap" }));
    else out.append(same);
    return out;
  }
  function applied(text, edits) {
    let out = "", at = 0;
    for (const [from, to, instead] of edits) { out += text.slice(at, from) + instead; at = to; }
    return out + text.slice(at);
  }
  async function open(mark) {
    const n = marks.get(mark), at = by("document");
    at.replaceChildren();
    by("results").hidden = true; at.hidden = false;
    at.append(node("p", undefined), node("h2", n === undefined ? "There is no such document here." : listed.rows[n][1]));
    const back = node("a", "← all documents", { href: "#" });
    back.addEventListener("click", (event) => { if (history.length > 1 && came_from_list) { event.preventDefault(); history.back(); } });
    at.firstChild.append(back);
    if (n === undefined) return;
    const one = await read(n), row = listed.rows[n];
    const where = node("p", undefined, { class: "where" });
    if (/^https?:\/\//.test(one.url)) where.append(node("a", one.url, { href: one.url, rel: "noreferrer noopener" })); else where.append(one.url);
    where.append(fateOf(n), node("br"), `${one.source} · ${one.licence} · ${row[2]} · `, node("code", one.id));
    at.append(where);
    const steps = node("ol");
    const edits = new Map(one.edits);
    let text = one.text;
    for (const [stage, verdict, rule, value, threshold, twin, detail] of one.decided) {
      const [name, label] = listed.stages[stage], item = node("li");
      item.append(node("code", name), verdict === "dropped" ? " dropped it" : " changed it", rule ? node("span", `: ${rule}`) : "");
      if (value !== "") item.append(` ${value}`);
      if (threshold !== "") item.append(node("span", ` (threshold ${threshold})`, { class: "soft" }));
      if (twin) item.append("; stays instead: ", node("a", marks.has(twin) ? listed.rows[marks.get(twin)][1] : twin, { href: `#d=${twin}` }));
      if (detail) item.append(node("div", detail, { class: "soft" }));
      if (edits.has(stage) && text !== null) {
        const fold = node("details"); fold.append(node("summary", "what it changed"), difference(text, edits.get(stage)));
        item.append(fold);
        text = applied(text, edits.get(stage)); edits.delete(stage);
      }
      item.title = label;
      steps.append(item);
    }
    for (const change of edits.values()) if (text !== null) text = applied(text, change);
    at.append(node("h3", "What became of it"));
    if (!one.decided.length) at.append(node("p", "Every step kept it as it was."));
    else at.append(steps);
    for (const [run, times, first, last] of one.reads) {
      at.append(node("p", times === 1 ? `Run ${run} read it in step ${first.toLocaleString("en")}.` : `Run ${run} read it in ${count(times, "step")}, from ${first.toLocaleString("en")} to ${last.toLocaleString("en")}.`));
    }
    if (row[3] === 0 && !one.reads.length) at.append(node("p", "It is in the training pool; no step of these runs came to it."));
    if (row[3] === 1) at.append(node("p", "It is held out: no step was trained on it, and questions may be made of it."));
    if (one.text === null) { at.append(node("p", "Its text is not shown: its licence is not among those that are.", { class: "withheld" })); return; }
    const query = understood(by("query").value);
    const body = (told, what) => { const div = node("div", undefined, { class: "text", lang: row[2] }); div.append(marked(told, query, true)); at.append(node("h3", what), div); };
    body(text, row[3] > 1 ? "Its text when it was dropped" : row[3] === 1 ? "Its text, as it is held out" : "Its text, as it is trained on");
    if (text !== one.text) { const fold = node("details"), div = node("div", one.text, { class: "text", lang: row[2] }); fold.append(node("summary", "as it was extracted"), div); at.append(fold); }
    window.scrollTo(0, 0);
  }
  let came_from_list = false;
  function follow() {
    const told = new URLSearchParams(location.hash.slice(1)), mark = told.get("d");
    if (told.has("q") && told.get("q") !== by("query").value) { by("query").value = told.get("q"); search().catch(failed); }
    if (mark) open(mark).catch(failed);
    else { by("document").hidden = true; by("results").hidden = false; came_from_list = true; }
  }
  const failed = (error) => { by("count").textContent = String(error.message || error); by("results").hidden = false; };

  return {
    find,
    piece,
    candidates: (text) => candidates(understood(text)),
    ids: (numbers) => numbers.map((n) => listed.rows[n][0]),
    index: (n, terms) => came(`i${n}`, terms),
    documents: (n, told) => came(`d${n}`, told),
    list(told) {
      listed = told;
      told.rows.forEach((row, n) => marks.set(row[0], n));
      const fates = [["0", "kept"], ["1", "held out"], ["out", "dropped, by any step"]];
      told.stages.forEach(([name, label], i) => { if (told.rows.some((row) => row[3] === i + 2)) fates.push([String(i + 2), `dropped by ${name}`]); });
      for (const [value, text] of fates) by("fate").append(node("option", text, { value }));
      for (const lang of told.languages) by("lang").append(node("option", lang, { value: lang }));
      let timer = 0;
      const soon = () => { clearTimeout(timer); timer = setTimeout(() => { if (!by("document").hidden) location.hash = ""; search().catch(failed); }, 80); };
      by("query").addEventListener("input", soon);
      by("query").form.addEventListener("submit", (event) => { event.preventDefault(); soon(); });
      for (const id of ["fate", "lang"]) by(id).addEventListener("change", soon);
      by("more").addEventListener("click", () => more().catch(failed));
      window.addEventListener("hashchange", follow);
      search().then(follow).catch(failed);
    },
  };
})();
