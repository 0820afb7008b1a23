"use strict";
// The page's document, with places replaced by what they stand for. Texts get into the page by
// textContent alone, so that nothing in them is markup.

const KEPT = "ok";
const EXPLORER = JSON.parse(document.getElementById("explorer").textContent);

function readVerdict(verdict) {
  if (!verdict) return { rule: KEPT, original: KEPT, corrected: KEPT, detail: "" };
  const [rule, original, corrected] = verdict.map((place) => EXPLORER.names[place]);
  return { rule, original, corrected, detail: EXPLORER.details[verdict[3]] };
}

const PROMPTS = EXPLORER.prompts.map(([id, text, length, split, shots, verdict], place) => ({
  place, id, text, length, shots,
  split: split === null ? null : EXPLORER.names[split],
  leftOut: verdict ? readVerdict(verdict) : null,
  answers: [], pairs: [], later: [],
}));

const ANSWERS = EXPLORER.answers.map(
  ([id, prompt, assistant, verdict, length, tokens, text], place) => ({
    place, id, prompt: PROMPTS[prompt], assistant, verdict: EXPLORER.names[verdict],
    length, tokens, text,
  }),
);

const EDGES = new Map(
  EXPLORER.edges.map(([chosen, rejected, factors], place) => [
    `${chosen}>${rejected}`, { place, chosen, rejected, factors },
  ]),
);

const PAIRS = EXPLORER.pairs.map(([id, chosenPlace, rejectedPlace, verdict, scores], place) => {
  const [chosen, rejected] = [ANSWERS[chosenPlace], ANSWERS[rejectedPlace]];
  return {
    place, id, chosen, rejected, scores, ...readVerdict(verdict),
    prompt: chosen.prompt,
    edge: EDGES.get(`${chosen.assistant}>${rejected.assistant}`),
    longer: chosen.length - rejected.length,
    margin: scores ? scores[0] - scores[1] : null,
    heldOutMargin: scores ? scores[2] - scores[3] : null,
  };
});

for (const answer of ANSWERS) answer.prompt.answers.push(answer);
for (const pair of PAIRS) pair.prompt.pairs.push(pair);
for (const prompt of PROMPTS) {
  for (const shot of prompt.shots) if (PROMPTS[shot]) PROMPTS[shot].later.push(prompt);
}

const PAIR_BY_ID = new Map(PAIRS.map((pair) => [pair.id, pair]));
const PROMPT_BY_ID = new Map(PROMPTS.map((prompt) => [prompt.id, prompt]));

/** Makes an element; children are elements, or texts that stay texts. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function cut(text, limit) {
  return text.length > limit ? `${text.slice(0, limit).trimEnd()}…` : text;
}

function count(number, noun) {
  return `${number ? number.toLocaleString("en") : "no"} ${noun}${number === 1 ? "" : "s"}`;
}

/** Writes a difference with its sign; the minus is as wide as the plus. */
function sign(number, digits = 0) {
  if (number === null) return "–";
  const size = Math.abs(number).toFixed(digits);
  return `${number < 0 ? "−" : "+"}${size}`;
}

function nameRule(rule) {
  return rule === KEPT ? "kept" : rule;
}

function nameEdge(edge) {
  return `${EXPLORER.assistants[edge.chosen]} > ${EXPLORER.assistants[edge.rejected]}`;
}

function addressPair(pair) {
  return `#comparison=${encodeURIComponent(pair.id)}`;
}

function addressPrompt(prompt) {
  return `#prompt=${encodeURIComponent(prompt.id)}`;
}
