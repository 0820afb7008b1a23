"use strict";
// Which words only one of two answers has. The answers are drawn independently, so they hardly ever
// run in parallel: in two of five real pairs no two words stand in the same order. Their order is
// therefore left out of it.

/** Splits a text into words, each with the white space that follows it. */
function splitWords(text) {
  return text.match(/\S+\s*|^\s+/g) ?? [];
}

/** Returns a word in lower case, without the punctuation around it; empty if it has no letter. */
function bareWord(word) {
  return word.match(/[\p{L}\p{N}].*[\p{L}\p{N}]|[\p{L}\p{N}]/su)?.[0].toLowerCase() ?? "";
}

/** Writes a text; runs of words that the other text lacks go into elements of the name `mark`. */
function writeMarked(element, text, other, mark) {
  const words = splitWords(text);
  const known = new Set(["", ...splitWords(other).map(bareWord)]);
  const own = words.map((word) => !known.has(bareWord(word)));
  element.replaceChildren();
  for (let start = 0; start < words.length; ) {
    let end = start + 1;
    while (end < words.length && own[end] === own[start]) end++;
    const run = words.slice(start, end).join("");
    const marked = own[start] ? run.trimEnd() : "";
    if (marked) element.append(make(mark, {}, marked));
    element.append(run.slice(marked.length));
    start = end;
  }
}
