"use strict";
// Which words of two texts differ: a longest common subsequence of words.

// Cells of the table that finds it: beyond this it would take seconds and hundreds of megabytes.
const MOST_CELLS = 4e6;

/** Splits a text into words, each with the white space that follows it. */
function splitWords(text) {
  return text.match(/\S+\s*|^\s+/g) ?? [];
}

/** Returns for each word of both texts whether the other has it, too; null if they are too long. */
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
  const common = [new Array(a.length).fill(false), new Array(b.length).fill(false)];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    const at = i * width + j;
    if (a[i] === b[j]) common[0][i++] = common[1][j++] = true;
    else if (lengths[at + width] >= lengths[at + 1]) i++;
    else j++;
  }
  return common;
}

/** Adds words to an element; runs of words that the other text lacks go into elements of `mark`. */
function appendMarked(element, words, common, mark) {
  for (let start = 0; start < words.length; ) {
    let end = start + 1;
    while (end < words.length && common[end] === common[start]) end++;
    const run = words.slice(start, end).join("");
    const bare = run.trimEnd();
    if (common[start]) element.append(run);
    else element.append(make(mark, {}, bare), run.slice(bare.length));
    start = end;
  }
}

/** Writes two texts into two elements, differences marked; returns false if they are too long. */
function compareTexts(chosen, rejected, chosenElement, rejectedElement) {
  const words = [splitWords(chosen), splitWords(rejected)];
  const common = matchWords(...words);
  if (common === null) return false;
  for (const element of [chosenElement, rejectedElement]) element.replaceChildren();
  appendMarked(chosenElement, words[0], common[0], "ins");
  appendMarked(rejectedElement, words[1], common[1], "del");
  return true;
}
