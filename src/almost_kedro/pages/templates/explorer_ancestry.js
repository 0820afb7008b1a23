"use strict";
// Where a prompt comes from, step by step, and what was made with it.

// Prompts and comparisons that a list shows before "all of them" is asked for.
const FEW = 20;

function linkPrompt(prompt) {
  return make("a", { href: addressPrompt(prompt) }, prompt.id);
}

function linkPair(pair) {
  const link = make("a", { href: addressPair(pair) }, pair.id);
  return [link, ` ${nameEdge(pair.edge)}, ${nameRule(pair.rule)}`];
}

function nameKind(prompt) {
  return make("span", { class: "kind" }, prompt.split === null ? "seed prompt" : "prompt");
}

/** One step back: a seed prompt is an end, a generated one opens to the shots of its request. */
function makeStep(shot) {
  const prompt = PROMPTS[shot];
  if (!prompt) return make("li", {}, `${shot}: in no dataset that this page was made from`);
  const line = [nameKind(prompt), " ", make("span", { class: "line" }, cut(prompt.text, 160))];
  if (!prompt.shots.length) return make("li", {}, ...line, " ", linkPrompt(prompt));
  const details = make("details", {}, make("summary", {}, ...line));
  // Filled when it is opened: a late prompt descends from nearly all earlier ones.
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) {
      details.append(make("p", {}, linkPrompt(prompt)), makeShots(prompt));
    }
  });
  return make("li", {}, details);
}

function makeShots(prompt) {
  return make("ul", { class: "steps" }, ...prompt.shots.map(makeStep));
}

/** A list that starts short and grows on demand. */
function makeList(rows, makeRow) {
  const list = make("ul", {}, ...rows.slice(0, FEW).map((row) => make("li", {}, ...makeRow(row))));
  if (rows.length <= FEW) return list;
  const button = make("button", { type: "button" }, `Show all ${rows.length}`);
  button.addEventListener("click", () => {
    list.append(...rows.slice(FEW).map((row) => make("li", {}, ...makeRow(row))));
    list.children[FEW].querySelector("a").focus();
    button.remove();
  });
  return make("div", {}, list, button);
}

function makeOrigin(prompt) {
  const heading = make("h3", {}, "Where the prompt comes from");
  if (prompt.split === null) {
    return [heading, make("p", {}, "It is a seed prompt: someone wrote it, in the seed file.")];
  }
  const shots = `A model wrote it when it was shown ${count(prompt.shots.length, "prompt")}. ` +
    "Open one to see what its own request showed; every way ends at seed prompts.";
  return [heading, make("p", {}, shots), makeShots(prompt)];
}

function makeFuture(prompt, pair) {
  const others = prompt.pairs.filter((other) => other !== pair);
  const parts = [make("h3", {}, "What was made with it")];
  if (prompt.split !== null) {
    const noun = pair ? "other pair" : "pair";
    parts.push(make("p", {}, `There ${others.length === 1 ? "is" : "are"} ${count(others.length, noun)} of answers to this prompt.`));
    if (others.length) parts.push(makeList(others, linkPair));
  }
  const later = count(prompt.later.length, "later prompt");
  const shown = prompt.later.length ? `The requests for ${later} showed it.` : "No later request showed it.";
  parts.push(make("p", {}, shown));
  if (prompt.later.length) {
    parts.push(makeList(prompt.later, (row) => [linkPrompt(row), ` ${cut(row.text, 160)}`]));
  }
  return parts;
}

function makeCommands(id) {
  const lines = `kedro trace ${id}\nkedro trace ${id} --forward`;
  return [
    make("h3", {}, "The whole walk, in a terminal"),
    make("p", {}, "With requests, verdicts, models and data versions; add the run's --env."),
    make("pre", { class: "boxed" }, lines),
  ];
}
