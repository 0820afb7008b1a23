"use strict";
// Which words of two texts differ: a longest common subsequence of words.

// Cells of the table that finds it: beyond this it would take seconds and hundreds of megabytes.
const MOST_CELLS = 4e6;

/** Splits a text into words, each with the white space that follows it. */
function splitWords(text) {
  return text.match(/\S+\s*|^\s+/g) ?? [];
}

/** Returns the places (left, right) of the words that two texts share, in order; null if too long. */
function matchWords(left, right) {
  const [a, b] = [left, right].map((words) => words.map((word) => word.trim()));
  const width = b.length + 1;
  if ((a.length + 1) * width > MOST_CELLS) return null;
  // lengths[i * width + j]: the longest common subsequence of a from i and b from j.
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const at = i * width + j;
      lengths[at] = a[i] === b[j]
        ? lengths[at + width + 1] + 1
        : Math.max(lengths[at + width], lengths[at + 1]);
    }
  }
  const shared = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const at = i * width + j;
    if (a[i] === b[j]) shared.push([i++, j++]);
    else if (lengths[at + width] >= lengths[at + 1]) i++;
    else j++;
  }
  return shared;
}

/** Leaves out single words between others that differ: that both texts say "the" means nothing. */
function dropLoneWords(shared, nLeft, nRight) {
  const follows = (one, other) => one && other && one[0] + 1 === other[0] && one[1] + 1 === other[1];
  return shared.filter((place, at) =>
    follows(shared[at - 1], place) || follows(place, shared[at + 1]) ||
    (place[0] === 0 && place[1] === 0) || (place[0] === nLeft - 1 && place[1] === nRight - 1),
  );
}

/** Adds words to an element; runs of words that are not shared go into elements of `mark`. */
function appendMarked(element, words, shared, mark) {
  for (let start = 0; start < words.length; ) {
    let end = start + 1;
    while (end < words.length && shared.has(end) === shared.has(start)) end++;
    const run = words.slice(start, end).join("");
    const bare = run.trimEnd();
    if (shared.has(start)) element.append(run);
    else element.append(make(mark, {}, bare), run.slice(bare.length));
    start = end;
  }
}

/** Writes two texts into two elements, differences marked; returns what keeps it from that, if anything. */
function compareTexts(chosen, rejected, chosenElement, rejectedElement) {
  const words = [splitWords(chosen), splitWords(rejected)];
  const matched = matchWords(...words);
  if (matched === null) return "These answers are too long to mark differences.";
  const shared = dropLoneWords(matched, words[0].length, words[1].length);
  if (!shared.length) return "These answers share no two words in a row: nothing is marked.";
  for (const element of [chosenElement, rejectedElement]) element.replaceChildren();
  appendMarked(chosenElement, words[0], new Set(shared.map(([left]) => left)), "ins");
  appendMarked(rejectedElement, words[1], new Set(shared.map(([, right]) => right)), "del");
  return "";
}
