const element = (id) => document.getElementById(id);
const talk = element("talk"), text = element("text");
let turns = [], stopping = null, tries = 0;

function shown(role, said) {
  const turn = document.createElement("div"), who = document.createElement("div"), body = document.createElement("p");
  turn.className = "turn " + role;
  who.className = "who";
  who.textContent = role === "user" ? "you" : talk.dataset.name;
  body.className = "said";
  body.textContent = said; // what anybody writes is text
  turn.append(who, body);
  talk.append(turn);
  return turn;
}

function note(turn, said, trouble) {
  const told = document.createElement("p");
  told.className = trouble ? "told trouble" : "told";
  told.textContent = said;
  turn.append(told);
}

function ready() {
  const busy = stopping !== null;
  element("send").disabled = busy;
  element("stop").disabled = !busy;
  element("retry").disabled = element("new").disabled = busy || !turns.length;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) if (part.startsWith("data: ") && part !== "data: [DONE]") yield JSON.parse(part.slice(6));
  }
}

async function ask(question) {
  const system = element("system").value.trim();
  const messages = [...(system ? [{ role: "system", content: system }] : []), ...turns, { role: "user", content: question }];
  const turn = shown("assistant", ""), body = turn.querySelector(".said"), began = performance.now();
  let said = "", usage = null, why = "";
  stopping = new AbortController();
  ready();
  try {
    const response = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({
        messages, stream: true, stream_options: { include_usage: true }, seed: tries,
        temperature: Number(element("temperature").value), max_tokens: Number(element("most").value),
      }),
      signal: stopping.signal,
    });
    if (!response.ok) throw new Error((await response.json()).error.message);
    for await (const event of events(response)) {
      const choice = event.choices[0];
      if (choice?.delta.content) body.textContent = said += choice.delta.content;
      why = choice?.finish_reason ?? why;
      usage = event.usage ?? usage;
      if (innerHeight + scrollY > document.body.scrollHeight - 200) scrollTo(0, document.body.scrollHeight);
    }
    const seconds = (performance.now() - began) / 1000;
    const rate = Math.round(usage.completion_tokens / seconds);
    note(turn, `${usage.completion_tokens} tokens, ${rate} tokens/s` + (why === "length" ? ", not ended" : "") + (said.trim() ? "" : "; it said nothing, and the question is not kept"));
  } catch (error) {
    note(turn, error.name === "AbortError" ? "stopped" : error.message, error.name !== "AbortError");
  }
  if (said.trim()) turns = [...turns, { role: "user", content: question }, { role: "assistant", content: said }];
  stopping = null;
  ready();
  text.focus();
}

element("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = text.value.trim();
  if (!question || stopping) return;
  text.value = "";
  tries = 0;
  shown("user", question);
  ask(question);
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    element("ask").requestSubmit();
  }
});
element("stop").addEventListener("click", () => stopping?.abort());
element("retry").addEventListener("click", () => {
  const question = turns.at(-2).content;
  turns = turns.slice(0, -2);
  tries += 1;
  talk.lastElementChild.remove();
  ask(question);
});
element("new").addEventListener("click", () => {
  turns = [];
  talk.replaceChildren();
  ready();
});
