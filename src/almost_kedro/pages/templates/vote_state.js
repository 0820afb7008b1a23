"use strict";
// What was voted, and how the browser keeps it; nothing here changes the page.

const PAGE = JSON.parse(document.getElementById("vote").textContent);
const IDS = PAGE.questions.map((question) => question.vote_id);
const CHOICES = ["left", "right", "tie", "skip"];
const PLACE = `almost_kedro vote ${PAGE.page}`;

/** Names this browser's votes, so that a file saved twice is not taken for two people. */
function drawBallot() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// `votes` has choice and time by id, in the order in which they were given; `at` is the place of the
// open question, or their number at the end.
const STATE = { ballot: drawBallot(), voter: "", at: 0, votes: new Map() };

/** Reads what the browser kept; what someone garbled there is left out. Says if it keeps anything. */
function restore() {
  let kept = null;
  try {
    kept = JSON.parse(localStorage.getItem(PLACE));
    localStorage.setItem(PLACE, JSON.stringify(kept));
  } catch (error) {
    if (!(error instanceof SyntaxError)) return false;
  }
  if (!kept || typeof kept !== "object") return true;
  if (/^[0-9a-f]{32}$/.test(kept.ballot)) STATE.ballot = kept.ballot;
  if (typeof kept.voter === "string") STATE.voter = kept.voter.slice(0, 80);
  if (Number.isInteger(kept.at)) STATE.at = Math.min(Math.max(kept.at, 0), IDS.length);
  for (const vote of Array.isArray(kept.votes) ? kept.votes : []) {
    const known = IDS.includes(vote?.vote_id) && CHOICES.includes(vote.choice);
    if (known && !Number.isNaN(Date.parse(vote.time))) STATE.votes.set(vote.vote_id, vote);
  }
  return true;
}

function listVotes() {
  return Array.from(STATE.votes.values(), ({ vote_id, choice, time }) => ({ vote_id, choice, time }));
}

/** Keeps the state; says whether the browser did. */
function keep() {
  const { ballot, voter, at } = STATE;
  try {
    localStorage.setItem(PLACE, JSON.stringify({ ballot, voter, at, votes: listVotes() }));
    return true;
  } catch {
    return false;
  }
}

/** Votes on the open question and goes to the next one without a vote, or to the end. */
function vote(choice) {
  const id = IDS[STATE.at];
  STATE.votes.delete(id); // the last vote is the last one of the map
  STATE.votes.set(id, { vote_id: id, choice, time: new Date().toISOString() });
  const order = [...IDS.keys()].map((step) => (STATE.at + 1 + step) % IDS.length);
  STATE.at = order.find((place) => !STATE.votes.has(IDS[place])) ?? IDS.length;
}

/** Takes the last vote back and goes to its question; says whether there was one. */
function undo() {
  const last = [...STATE.votes.keys()].at(-1);
  if (last === undefined) return false;
  STATE.votes.delete(last);
  STATE.at = IDS.indexOf(last);
  return true;
}

function move(steps) {
  STATE.at = Math.min(Math.max(STATE.at + steps, 0), IDS.length);
}

/** What `kedro vote --count` reads. */
function writeFile() {
  return {
    form: PAGE.form, page: PAGE.page, ballot: STATE.ballot, voter: STATE.voter.trim(),
    saved: new Date().toISOString(), votes: listVotes(),
  };
}
