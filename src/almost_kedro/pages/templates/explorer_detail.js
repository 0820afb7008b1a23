"use strict";
// A pair, or a prompt, in full.

const DETAIL = document.getElementById("detail");
const SPLITS = {
  reward_model: "trains the reward model",
  held_out: "tests both reward models",
  held_out_reward_model: "trains the held-out reward model, nothing else",
  self_play: "starts dialogues of self-play, which train the SFT policy",
  rl: "is answered by the policy during reinforcement learning",
  watch: "tells over-optimisation during reinforcement learning",
  policy_test: "is answered by all policies in the end",
  contaminated: "repeats a benchmark item and is used for nothing",
};
let markDifferences = true;

function writeText(row) {
  const text = make("div", { class: "text boxed" }, row.text);
  if (row.length <= EXPLORER.longest) return [text];
  const note = `Cut after ${EXPLORER.longest.toLocaleString("en")} of ` +
    `${row.length.toLocaleString("en")} characters: kedro trace ${row.id} --full prints all.`;
  return [text, make("p", { class: "soft" }, note)];
}

function writeVerdict(rule) {
  return rule === KEPT ? "keep it" : `drop it by ${rule}`;
}

/** Says what became of a pair, or of a prompt that gave none. */
function makeVerdict(row) {
  const inForce = row.rule === KEPT ? "Kept." : `Dropped by ${row.rule}.`;
  const sets = row.original === row.corrected
    ? `Both rule sets ${writeVerdict(row.original)}.`
    : `The original rules ${writeVerdict(row.original)}, ` +
      `the corrected rules ${writeVerdict(row.corrected)}.`;
  const detail = row.detail ? [" ", make("q", {}, row.detail)] : [];
  return make("p", {}, make("strong", {}, inForce), ` ${sets}`, ...detail);
}

function makeSplit(prompt) {
  return make("p", {}, "The prompt's split is ", make("code", {}, prompt.split),
    `, which ${SPLITS[prompt.split]}.`);
}

function makeFacts(pair) {
  const { chosen, rejected, scores } = pair;
  const show = (value) => value.toFixed(2).replace("-", "−");
  const rows = [
    ["Characters", chosen.length, rejected.length, sign(pair.longer)],
    ["Tokens", chosen.tokens, rejected.tokens, sign(chosen.tokens - rejected.tokens)],
  ];
  if (scores) {
    const [reward, rejectedReward, heldOut, rejectedHeldOut] = scores;
    rows.push(["Reward", show(reward), show(rejectedReward), sign(pair.margin, 2)]);
    rows.push(["Held-out reward", show(heldOut), show(rejectedHeldOut), sign(pair.heldOutMargin, 2)]);
  }
  for (const [policy, [reward, rejectedReward]] of Object.entries(EXPLORER.implicit[pair.id] ?? {})) {
    rows.push([`Implicit reward, ${policy}`, show(reward), show(rejectedReward),
      sign(reward - rejectedReward, 2)]);
  }
  const head = ["", "Chosen", "Rejected", "Difference"].map((name) =>
    name ? make("th", { scope: "col", class: "number" }, name) : make("td"),
  );
  const body = rows.map(([name, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, name),
      ...cells.map((cell) => make("td", { class: "number" }, String(cell)))),
  );
  const caption = scores
    ? "Rewards are log-odds, implicit ones nats; above 0, a difference agrees with the rubric."
    : "No rewards: the models were asked about held-out pairs only.";
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Facts" },
    make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...head)),
      make("tbody", {}, ...body)));
}

function makeAnswer(kind, answer) {
  const heading = make("h3", {}, `${kind}: ${EXPLORER.assistants[answer.assistant]}`);
  const parts = writeText(answer);
  return { section: make("div", {}, heading, ...parts), text: parts[0] };
}

function makeAnswers(pair) {
  const chosen = makeAnswer("Chosen", pair.chosen);
  const rejected = makeAnswer("Rejected", pair.rejected);
  const box = make("input", { type: "checkbox", id: "mark" });
  const label = make("label", { for: "mark" }, " Mark words that only one of them has: ",
    make("ins", {}, "underlined"), " in the chosen answer, ",
    make("del", {}, "struck through"), " in the rejected one");
  const draw = () => {
    if (markDifferences) {
      writeMarked(chosen.text, pair.chosen.text, pair.rejected.text, "ins");
      writeMarked(rejected.text, pair.rejected.text, pair.chosen.text, "del");
    } else {
      chosen.text.replaceChildren(pair.chosen.text);
      rejected.text.replaceChildren(pair.rejected.text);
    }
  };
  box.checked = markDifferences;
  box.addEventListener("change", () => {
    markDifferences = box.checked;
    draw();
  });
  draw();
  return [make("p", { class: "control" }, box, label), make("div", { class: "columns" }, chosen.section, rejected.section)];
}

function showPair(pair) {
  const { factors } = pair.edge;
  const differ = factors.length ? factors.join(" and ") : "nothing";
  fillDetail(
    `Comparison ${pair.id}`,
    make("h3", {}, "Prompt ", linkPrompt(pair.prompt)), ...writeText(pair.prompt),
    ...makeAnswers(pair),
    make("h3", {}, "Facts"), makeVerdict(pair),
    make("p", {}, `The assistants differ in ${differ}.`), makeSplit(pair.prompt), makeFacts(pair),
    ...makeOrigin(pair.prompt), ...makeFuture(pair.prompt, pair), ...makeCommands(pair.id),
  );
}

function makePromptAnswers(prompt) {
  if (!prompt.answers.length) return [];
  return [
    make("h3", {}, "What the assistants answer"),
    ...prompt.answers.flatMap((answer) => [
      make("h4", {}, EXPLORER.assistants[answer.assistant],
        answer.verdict === KEPT ? "" : ` – not used: ${answer.verdict}`),
      ...writeText(answer),
    ]),
  ];
}

function showPrompt(prompt) {
  fillDetail(
    `${prompt.split === null ? "Seed prompt" : "Prompt"} ${prompt.id}`,
    ...writeText(prompt),
    ...(prompt.split === null ? [] : [makeSplit(prompt)]),
    ...(prompt.leftOut ? [makeVerdict(prompt.leftOut)] : []),
    ...makeOrigin(prompt), ...makeFuture(prompt, null), ...makePromptAnswers(prompt),
    ...makeCommands(prompt.id),
  );
}

function fillDetail(title, ...parts) {
  const heading = make("h2", { tabindex: "-1", id: "detail-title" }, title);
  DETAIL.querySelector("#detail-body").replaceChildren(heading, ...parts);
}
