// How classes and answers look. Each card is made once and brought up to date, so that the keyboard keeps its place.

import { exampleOf, state } from "./state.js";

const template = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
const percent = (share) => (share > 0.995 ? ">99%" : `${Math.round(100 * share)}%`);
export const plural = (count, what) => `${count} ${what}${count === 1 ? "" : what.endsWith("s") ? "es" : "s"}`;

function element(tag, how = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), how);
  made.append(...inside);
  return made;
}

export function shown(thing, what) {
  if (thing.url) return element("img", { src: thing.url, alt: what, title: what });
  return element("q", { textContent: thing.content });
}

export function classCard(one, act) {
  const card = template("class-card");
  const name = card.querySelector(".name");
  name.value = one.name;
  name.onchange = () => {
    act.rename(one, name.value.trim());
    name.value = one.name;
  };
  name.addEventListener("keydown", (event) => event.key === "Enter" && name.blur());
  card.querySelector(".remove").onclick = () => act.removeClass(one);
  one.card = card;
  return card;
}

export function updateClass(one, act) {
  const kind = state.about.kind;
  const noun = kind === "pictures" ? "picture" : "line";
  const list = one.card.querySelector(".examples");
  const doubts = new Map((state.learned?.left_out?.doubts ?? []).map((doubt) => [doubt.example, doubt.rather]));
  one.card.setAttribute("aria-label", `Class ${one.name}, ${plural(one.examples.length, noun)}`);
  one.card.querySelector(".remove").setAttribute("aria-label", `Remove class ${one.name}`);
  const hint = kind === "pictures" ? `Drop ${one.examples.length ? "more" : "one to ten pictures"} here` : "No lines yet";
  one.card.querySelector(".hint").textContent = one.examples.length && kind === "texts" ? "" : hint;
  one.card.querySelector("input[type=file]")?.setAttribute("aria-label", `Choose pictures of ${one.name}`);
  one.card.querySelector("textarea")?.setAttribute("aria-label", `Lines of ${one.name}`);
  const items = one.examples.map((example, place) => {
    example.item ??= exampleItem(one, example, act);
    updateExample(example, doubts.get(example.number), `${one.name}, example ${place + 1}`, kind);
    return example.item;
  });
  const same = items.length === list.children.length && items.every((item, place) => item === list.children[place]);
  if (!same) list.replaceChildren(...items);
}

function exampleItem(one, example, act) {
  const remove = element("button", { type: "button", className: "quiet", textContent: "✕" });
  const item = element("li", {}, shown(example, ""), element("span", { className: "doubt" }), remove);
  remove.onclick = () => {
    const list = item.parentElement;
    const place = [...list.children].indexOf(item);
    act.removeExample(one, example);
    (list.children[Math.min(place, list.children.length - 1)] ?? one.card).querySelector("button, input").focus();
  };
  return item;
}

function updateExample({ item, url }, rather, what, kind) {
  const why = rather ? `The others say ${rather}` : "";
  const doubt = item.querySelector(".doubt");
  if (url) Object.assign(item.querySelector("img"), { alt: what, title: what });
  item.classList.toggle("doubted", Boolean(rather));
  Object.assign(doubt, { hidden: !rather, title: why, textContent: kind === "texts" ? why : `${rather}?` });
  item.querySelector("button").ariaLabel = `Remove ${what}`;
}

export function queryCard(query, act) {
  const card = template("query-card");
  card.querySelector(".asked").append(shown(query, "What was asked about"));
  card.querySelector(".remove").onclick = () => act.removeQuery(query);
  query.card = card;
  return card;
}

export const named = (answer) => (answer.strange ? "None of these" : answer.label);

export function updateQuery(query, place, act) {
  const { card, answer, before } = query;
  const part = (name) => card.querySelector(name);
  part(".remove").setAttribute("aria-label", `Remove query ${place + 1}`);
  card.classList.toggle("waiting", !answer);
  card.classList.toggle("strange", Boolean(answer?.strange));
  part(".label").replaceChildren(
    ...(answer
      ? [named(answer), element("small", { textContent: answer.strange ? `nearest is ${answer.label}, ${percent(answer.confidence)}` : percent(answer.confidence) })]
      : ["No answer yet"]),
  );
  const bar = part(".bar");
  bar.firstElementChild.style.width = answer ? `${100 * answer.confidence}%` : "0";
  bar.setAttribute("aria-valuenow", answer ? Math.round(100 * answer.confidence) : 0);
  const same = !answer || !before || (named(answer) === named(before) && percent(answer.confidence) === percent(before.confidence));
  part(".change").textContent = same ? "" : `Before: ${named(before)}, ${percent(before.confidence)}`;
  if (!answer) return;
  const chips = answer.set.map((label) => element("span", { className: "chip", textContent: label }));
  part(".set").replaceChildren(...(chips.length ? chips : ["No class fits well enough."]));
  const unlike = answer.strange ? "Yes" : answer.none_of_these > 0.8 ? "Perhaps" : "No";
  part(".unlike").textContent = `${unlike}: stranger than ${Math.floor(100 * answer.none_of_these)}% of what belongs to the classes`;
  part(".nearest").replaceChildren(
    ...answer.nearest.flatMap(({ example, label }) => {
      const found = exampleOf(example);
      return found ? [element("figure", {}, shown(found, label), element("figcaption", { textContent: label }))] : [];
    }),
  );
  part(".teach").replaceChildren(
    ...state.classes.map((one) => {
      const button = element("button", { type: "button", className: "small", textContent: one.name });
      button.setAttribute("aria-label", `Add query ${place + 1} to the examples of ${one.name}`);
      button.onclick = () => act.teach(query, one);
      return button;
    }),
  );
}

export function estimate(learned) {
  if (!learned || !Object.keys(learned.classes).length) return "";
  const counts = Object.values(learned.classes);
  const examples = plural(counts.reduce((sum, count) => sum + count, 0), "example");
  if (!learned.ready) return `${examples} of one class. Show another class, and it can tell them apart.`;
  const told = `Learned ${plural(counts.length, "class")} from ${examples}.`;
  const left = learned.left_out;
  if (!left) return `${told} With a second example of a class it can estimate how often it is right.`;
  return (
    `${told} Shown all others, it gives ${left.right} of ${left.of} examples the label they have; so it is probably right ` +
    `${Math.round(100 * left.low)} to ${Math.round(100 * left.high)}% of the time.`
  );
}
