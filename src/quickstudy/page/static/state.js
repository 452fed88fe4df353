// What was shown and asked, and how the server is kept level with it: one request after another.

import { Problem, call, leave, opened } from "./api.js";

const AT_ONCE = 6_000_000; // characters of a request

export const state = { about: null, classes: [], queries: [], learned: null };

let known = new Map(); // the examples that the server has: number -> label
let queue = Promise.resolve();
let era = 0; // raised by forgetting: what was asked for before is of no account any more

class Forgotten extends Error {}

async function callInSession(path, body) {
  const mine = era;
  try {
    await opened();
    if (mine === era) return await call(path, body);
  } finally {
    if (mine !== era) throw new Forgotten();
  }
}

const every = () => state.classes.flatMap((one) => one.examples.map((example) => ({ one, example })));

export const exampleOf = (number) => every().find(({ example }) => example.number === number)?.example;

// Brings the server level, asks all queries again, and calls back; problems are told, and what caused them is left out.
// Whether it came to an end, and nothing was forgotten meanwhile.
export function refresh(changed, tell) {
  queue = queue.then(async () => {
    let ended = true;
    try {
      await again(level, tell);
      await again(ask, tell);
    } catch (error) {
      ended = !(error instanceof Forgotten);
      if (ended) tell(error.message);
    }
    changed();
    return ended;
  });
  return queue;
}

// A session that was forgotten begins anew, with what the page still holds.
async function again(step, tell) {
  try {
    await step(tell);
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 404) throw error;
    forgotten();
    await level(tell);
    await step(tell);
  }
}

export function forgotten() {
  leave();
  era += 1;
  known = new Map();
  state.learned = null;
  for (const { example } of every()) example.number = null;
}

async function level(tell) {
  const wanted = new Map(every().map(({ one, example }) => [example.number, one.name]));
  const gone = [...known].filter(([number, label]) => wanted.get(number) !== label).map(([number]) => number);
  if (gone.length) {
    state.learned = await callInSession("forget", { examples: gone });
    for (const { example } of every()) if (gone.includes(example.number)) example.number = null;
    gone.forEach((number) => known.delete(number));
  }
  const added = every().filter(({ example }) => !example.number);
  for (const batch of batches(added, ({ example }) => example.content)) await adapt(batch, tell);
}

async function adapt(batch, tell) {
  const examples = batch.map(({ one, example }) => ({ label: one.name, content: example.content }));
  try {
    state.learned = await callInSession("adapt", { examples });
  } catch (error) {
    if (!(error instanceof Problem) || ![413, 415, 422].includes(error.status)) throw error;
    if (batch.length > 1) { // which of them was it?
      for (const one of batch) await adapt([one], tell);
      return;
    }
    batch[0].one.examples = batch[0].one.examples.filter((example) => example !== batch[0].example);
    tell(error.message, batch[0].one.card, batch[0].example.content);
    return;
  }
  state.learned.added.forEach((number, place) => {
    batch[place].example.number = number;
    known.set(number, batch[place].one.name);
  });
}

async function ask(tell) {
  if (!state.learned?.ready) {
    for (const query of state.queries) query.answer = query.before = null;
    return;
  }
  for (const batch of batches(state.queries, (query) => query.content, state.about.queries)) await predict(batch, tell);
}

async function predict(batch, tell) {
  try {
    const { answers } = await callInSession("predict", { queries: batch.map((query) => query.content) });
    answers.forEach((answer, place) => {
      batch[place].before = batch[place].answer;
      batch[place].answer = answer;
    });
  } catch (error) {
    if (!(error instanceof Problem) || ![413, 415, 422].includes(error.status)) throw error;
    if (batch.length > 1) {
      for (const one of batch) await predict([one], tell);
      return;
    }
    state.queries = state.queries.filter((query) => query !== batch[0]);
    tell(error.message, document.getElementById("asking"), batch[0].content);
  }
}

function batches(items, content, most = 50) {
  const found = [];
  let size = Infinity;
  for (const item of items) {
    size += content(item).length;
    if (size > AT_ONCE || found.at(-1).length >= most) {
      found.push([]);
      size = content(item).length;
    }
    found.at(-1).push(item);
  }
  return found;
}
