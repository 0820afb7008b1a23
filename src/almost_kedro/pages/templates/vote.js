"use strict";
// The page: texts get into it by textContent alone, so that nothing in them is markup.

const find = (id) => document.getElementById(id);
const BUTTONS = [...document.querySelectorAll("[data-choice]")];
const SAID = { left: "answer 1 is better", right: "answer 2 is better", tie: "tie", skip: "skipped" };
const KEYS = {
  1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 3: "tie", t: "tie", 4: "skip", s: "skip",
};
let keeps = false;
let unsaved = false;

function showQuestion() {
  const shown = PAGE.questions[STATE.at];
  find("number").textContent = `Question ${STATE.at + 1} of ${IDS.length}`;
  find("question").textContent = shown.question;
  for (const side of ["left", "right"]) find(side).textContent = shown[side] || "(nothing)";
}

function show() {
  const [ended, done] = [STATE.at === IDS.length, STATE.votes.size];
  find("ask").hidden = find("choices").hidden = ended;
  find("done").hidden = !ended;
  if (!ended) showQuestion();
  const left = IDS.length - done;
  find("left-over").textContent = left
    ? `${left} of ${IDS.length} questions have no vote yet; “Previous” leads back to them.`
    : "All questions are done. Save your votes below.";
  const chosen = STATE.votes.get(IDS[STATE.at])?.choice;
  for (const button of BUTTONS) {
    button.setAttribute("aria-pressed", String(button.dataset.choice === chosen));
  }
  find("bar").value = done;
  find("voted").textContent = `${done} of ${IDS.length} done`;
  find("previous").disabled = STATE.at === 0;
  find("next").disabled = ended;
  find("undo").disabled = done === 0;
  find("forgetful").hidden = keeps;
}

/** Shows what changed, keeps it, and leads the reader to the question. */
function update(message) {
  keeps = keep();
  show();
  find("status").textContent = message;
  find(STATE.at === IDS.length ? "done-title" : "number").focus({ preventScroll: true });
  scrollTo(0, 0);
}

function cast(choice) {
  if (STATE.at === IDS.length) return;
  const number = STATE.at + 1;
  vote(choice);
  unsaved = true;
  update(`Question ${number}: ${SAID[choice]}.`);
}

function takeBack() {
  if (!undo()) return;
  unsaved = true;
  update("The last vote was taken back.");
}

function go(steps) {
  move(steps);
  update("");
}

function save() {
  const file = new Blob([JSON.stringify(writeFile(), null, 2)], { type: "application/json" });
  const link = document.createElement("a");
  const who = STATE.voter.trim().replace(/[^\p{L}\p{N}]+/gu, "-") || STATE.ballot.slice(0, 8);
  link.href = URL.createObjectURL(file);
  link.download = `votes-${PAGE.page.slice(0, 8)}-${who}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  unsaved = false;
  find("status").textContent = `${STATE.votes.size} of ${IDS.length} saved in ${link.download}.`;
}

function pressKey(event) {
  const typing = event.target.matches("input:not([type=checkbox])");
  const other = event.ctrlKey || event.altKey || event.metaKey || event.repeat;
  if (typing || other || !find("keys").checked) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const moves = { u: takeBack, Backspace: takeBack, p: () => go(-1), n: () => go(1) };
  const act = Object.hasOwn(KEYS, key) ? () => cast(KEYS[key]) : Object.hasOwn(moves, key) && moves[key];
  if (!act) return;
  event.preventDefault();
  act();
}

function start() {
  keeps = restore();
  find("voter").value = STATE.voter;
  find("voter").addEventListener("input", (event) => {
    STATE.voter = event.target.value;
    keeps = keep();
  });
  for (const button of BUTTONS) button.addEventListener("click", () => cast(button.dataset.choice));
  find("previous").addEventListener("click", () => go(-1));
  find("next").addEventListener("click", () => go(1));
  find("undo").addEventListener("click", takeBack);
  find("save").addEventListener("click", save);
  addEventListener("keydown", pressKey);
  addEventListener("beforeunload", (event) => {
    if (unsaved && !keeps) event.preventDefault();
  });
  show();
}

start();
