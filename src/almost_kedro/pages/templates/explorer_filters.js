"use strict";
// What the form asks for, and which pairs answer it.

const FORM = document.getElementById("filters");

function addOptions(name, options) {
  const select = FORM.elements[name];
  for (const [value, label] of options) {
    const option = make("option", {}, label);
    option.value = value;
    select.append(option);
  }
}

function fillFilters() {
  const edges = [...EDGES.values()];
  const combinations = [...new Set(edges.map((edge) => edge.factors.join(" + ")))].sort();
  const factors = [...new Set(edges.flatMap((edge) => edge.factors))].sort();
  const rules = [...new Set(PAIRS.map((pair) => pair.rule))].filter((rule) => rule !== KEPT);
  const splits = [...new Set(PAIRS.map((pair) => pair.prompt.split))].sort();
  addOptions("factor", [
    ...factors.map((factor) => [`any:${factor}`, factor]),
    ...combinations.filter(Boolean).map((all) => [`only:${all}`, `only ${all}`]),
  ]);
  addOptions("edge", edges.map((edge) => [String(edge.place), nameEdge(edge)]));
  addOptions("assistant", EXPLORER.assistants.map((name, place) => [String(place), name]));
  addOptions("split", splits.map((split) => [split, split]));
  addOptions("rule", rules.sort().map((rule) => [rule, `dropped by ${rule}`]));
}

/** Splits a query into words and "quoted phrases", all of which have to occur. */
function splitQuery(query) {
  const found = query.toLowerCase().matchAll(/"([^"]+)"?|([^\s"]+)/g);
  return [...found].map(([, phrase, word]) => phrase ?? word);
}

// Lower-case texts are made by the first search; places in them are those of the lists.
let lowered = null;

function findTexts(term) {
  lowered ??= [PROMPTS, ANSWERS].map((rows) =>
    rows.map((row) => `${row.text}\n${row.id}`.toLowerCase()),
  );
  const [prompts, answers] = lowered.map((texts) => texts.map((text) => text.includes(term)));
  return (pair) =>
    prompts[pair.prompt.place] || answers[pair.chosen.place] || answers[pair.rejected.place] ||
    pair.id.includes(term);
}

const REWARD_TESTS = {
  scored: () => true,
  right: (pair) => pair.margin > 0,
  wrong: (pair) => pair.margin < 0,
  both_wrong: (pair) => pair.margin < 0 && pair.heldOutMargin < 0,
  disagree: (pair) => pair.margin * pair.heldOutMargin < 0,
};
const RULE_SET_TESTS = {
  differ: (pair) => (pair.original === KEPT) !== (pair.corrected === KEPT),
  original: (pair) => pair.original === KEPT && pair.corrected !== KEPT,
  corrected: (pair) => pair.original !== KEPT && pair.corrected === KEPT,
};

function testFactor(value) {
  const at = value.indexOf(":");
  const wanted = value.slice(at + 1);
  return value.startsWith("only:")
    ? (pair) => pair.edge.factors.join(" + ") === wanted
    : (pair) => pair.edge.factors.includes(wanted);
}

function testRule(value) {
  if (value === "dropped") return (pair) => pair.rule !== KEPT;
  return (pair) => pair.rule === value;
}

/** Returns one test for each field of the form that asks for something. */
function readTests() {
  const value = (name) => FORM.elements[name].value.trim();
  const tests = [];
  const add = (name, makeTest) => value(name) && tests.push(makeTest(value(name)));
  add("edge", (edge) => (pair) => pair.edge.place === Number(edge));
  add("assistant", (wanted) => {
    const place = Number(wanted);
    return (pair) => pair.chosen.assistant === place || pair.rejected.assistant === place;
  });
  add("factor", testFactor);
  add("split", (split) => (pair) => pair.prompt.split === split);
  add("rule", testRule);
  add("rule_sets", (wanted) => RULE_SET_TESTS[wanted]);
  add("reward", (wanted) => (pair) => pair.scores && REWARD_TESTS[wanted](pair));
  add("margin_from", (low) => (pair) => pair.scores && pair.margin >= Number(low));
  add("margin_to", (high) => (pair) => pair.scores && pair.margin <= Number(high));
  for (const term of splitQuery(value("search"))) tests.push(findTexts(term));
  return tests;
}
