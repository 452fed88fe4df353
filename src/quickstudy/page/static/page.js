// The page: what a user does, and what follows from it.

import { call, download, leave } from "./api.js";
import { classCard, estimate, named, plural, queryCard, updateClass, updateQuery } from "./cards.js";
import { fromBase64, prepared, shoot } from "./pictures.js";
import { forgotten, refresh, state } from "./state.js";

const $ = (id) => document.getElementById(id);
let last = null; // the card that pasted pictures go to
let exporting = false;

const act = {
  rename(one, name) {
    if (!name || name === one.name) return;
    if (state.classes.some((other) => other.name === name)) return tell(`There is a class ${name} already.`);
    one.name = name;
    learn();
  },
  removeClass(one) {
    state.classes = state.classes.filter((other) => other !== one);
    one.card.remove();
    learn();
    $("add-class").focus();
  },
  removeExample(one, example) {
    one.examples = one.examples.filter((other) => other !== example);
    learn();
  },
  removeQuery(query) {
    state.queries = state.queries.filter((other) => other !== query);
    query.card.remove();
    show();
    $("asking").focus();
  },
  teach(query, one) {
    add(one, [{ url: query.url, content: query.content }]);
    say(`Added to ${one.name}.`);
  },
};

function say(text) {
  $("status").textContent = text;
}

// A line that the server refused goes back to where it was written.
function tell(problem, card, line) {
  $("problem").firstElementChild.textContent = problem;
  $("problem").hidden = !problem;
  if (!card || state.about.kind !== "texts") return;
  const area = card.querySelector("textarea");
  area.value = [area.value, line].filter(Boolean).join("\n");
}

function show() {
  for (const query of [...$("queries").children]) if (!state.queries.some(({ card }) => card === query)) query.remove();
  state.classes.forEach((one) => updateClass(one, act));
  state.queries.forEach((query, place) => updateQuery(query, place, act));
  const ready = Boolean(state.learned?.ready);
  $("learned").textContent = estimate(state.learned);
  $("ask-how").textContent = ready
    ? "A bar is the confidence in the first answer; nine times in ten the right class is among those that it could be."
    : "Needs examples of two classes at least.";
  $("download").disabled = !ready;
  $("export").disabled = !ready || exporting;
}

async function learn() {
  show();
  say("Learning…");
  document.body.setAttribute("aria-busy", "true");
  const ended = await refresh(show, tell);
  document.body.removeAttribute("aria-busy");
  if (!ended) return;
  const answers = state.queries.filter(({ answer }) => answer);
  const news = answers.map(({ answer }, place) => `Query ${place + 1}: ${named(answer)}, ${Math.round(100 * answer.confidence)}%`);
  say(news.length ? news.join(". ") : estimate(state.learned));
}

function addClass(name) {
  const free = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"].map((letter) => `Class ${letter}`);
  const taken = new Set(state.classes.map((one) => one.name));
  if (state.classes.length >= state.about.classes) return tell(`A task has ${state.about.classes} classes at most.`);
  const one = { name: name ?? free.find((candidate) => !taken.has(candidate)), examples: [] };
  state.classes.push(one);
  const card = classCard(one, act);
  $("classes").append(card);
  receive(card, (items) => add(one, items), () => one.name);
  return one;
}

function add(one, items) {
  const room = state.about.per_class - one.examples.length;
  if (items.length > room) tell(`A class has ${plural(state.about.per_class, "example")} at most; the others were left out.`);
  one.examples.push(...items.slice(0, Math.max(0, room)).map((item) => ({ ...item, number: null })));
  return learn();
}

function ask(items) {
  for (const item of items) {
    const query = { ...item, answer: null, before: null };
    state.queries.push(query);
    $("queries").append(queryCard(query, act));
  }
  return learn();
}

// Lets a card take pictures in every way, or lines of text.
function receive(card, take, name) {
  for (const part of card.querySelectorAll("[data-kind]")) part.hidden = part.dataset.kind !== state.about.kind;
  const files = async (chosen) => {
    tell("");
    const found = await Promise.allSettled([...chosen].slice(0, 100).map(prepared));
    for (const { reason } of found) if (reason) tell(reason.message);
    const items = found.flatMap(({ value }) => value ?? []);
    if (items.length) await take(items);
  };
  card.takeFiles = files;
  card.addEventListener("pointerdown", () => (last = card));
  card.addEventListener("focusin", () => (last = card));
  card.addEventListener("dragover", (event) => {
    event.preventDefault();
    card.classList.add("over");
  });
  card.addEventListener("dragleave", () => card.classList.remove("over"));
  card.addEventListener("drop", (event) => {
    event.preventDefault();
    card.classList.remove("over");
    if (state.about.kind === "pictures") files(event.dataTransfer.files);
  });
  const input = card.querySelector("input[type=file]");
  input.onchange = async () => {
    await files(input.files);
    input.value = "";
  };
  card.querySelector(".camera").onclick = () => shoot(`Camera: ${name()}`, files).catch((error) => tell(error.message));
  const area = card.querySelector("textarea");
  const lines = () => {
    const items = area.value.split("\n").map((line) => line.trim()).filter(Boolean).map((content) => ({ content }));
    area.value = "";
    if (items.length) take(items);
  };
  card.querySelector(".take").onclick = lines;
  area.addEventListener("keydown", (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && lines());
}

document.addEventListener("paste", (event) => {
  const pasted = [...event.clipboardData.files];
  if (!pasted.length || state.about?.kind !== "pictures") return;
  event.preventDefault();
  const card = last?.isConnected ? last : state.learned?.ready ? $("asking") : $("classes").firstElementChild;
  card?.takeFiles(pasted);
});
for (const type of ["dragover", "drop"]) document.addEventListener(type, (event) => event.preventDefault());

function clear() {
  forgotten();
  for (const { url } of [...state.classes.flatMap((one) => one.examples), ...state.queries]) if (url) URL.revokeObjectURL(url);
  state.classes = [];
  state.queries = [];
  $("classes").replaceChildren();
  $("queries").replaceChildren();
  tell("");
}

function begin() {
  clear();
  addClass();
  addClass();
  show();
}

async function startFromSample() {
  try {
    const sample = await call("sample");
    const item = (content) => (state.about.kind === "pictures" ? { url: fromBase64(content), content } : { content });
    clear();
    for (const { label, content } of sample.examples) {
      const one = state.classes.find(({ name }) => name === label) ?? addClass(label);
      one.examples.push({ ...item(content), number: null });
    }
    await ask(sample.queries.map(item));
  } catch (error) {
    tell(error.message);
  }
}

$("add-class").onclick = () => {
  const one = addClass();
  if (!one) return;
  show();
  one.card.querySelector(".name").select();
};
$("over").onclick = () => {
  begin();
  say("Everything is forgotten.");
};
$("sample").onclick = startFromSample;
async function exportTask() {
  exporting = true;
  show();
  say("Writing the ONNX file, which takes a while. You can go on meanwhile.");
  try {
    await download("task.onnx", "task.onnx");
    say("The ONNX file is written.");
  } catch (error) {
    tell(error.message);
  }
  exporting = false;
  show();
}

$("export").onclick = exportTask;
$("download").onclick = () => download("task", "task.safetensors").catch((error) => tell(error.message));
$("problem").querySelector("button").onclick = () => tell("");
window.addEventListener("pagehide", leave);
window.addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  forgotten();
  learn();
});

try {
  state.about = await call("about");
  for (const part of document.querySelectorAll("[data-kind]")) part.hidden = part.dataset.kind !== state.about.kind;
  $("learner").textContent = ` · ${state.about.learner}`;
  $("minutes").textContent = Math.round(state.about.session_seconds / 60);
  receive($("asking"), ask, () => "queries");
  begin();
} catch (error) {
  tell(error.message);
}
