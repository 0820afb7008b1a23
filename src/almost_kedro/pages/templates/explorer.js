"use strict";
// The table, the addresses, and what goes on between them.

const LIST = document.getElementById("list");
const TITLE = document.title;
// Characters of a text that a cell shows.
const CELL = 120;
let matching = null;

/** A cell that holds a text as a text; what sorts and filters gets nothing from it. */
function textCell(read) {
  return (_, type, pair) => (type === "display" ? make("span", {}, cut(read(pair), CELL)) : "");
}

function promptCell(_, type, pair) {
  if (type !== "display") return "";
  return make("a", { href: addressPair(pair) }, cut(pair.prompt.text, CELL) || "(empty prompt)");
}

function edgeCell(_, type, pair) {
  if (type !== "display") return nameEdge(pair.edge);
  const names = [pair.edge.chosen, pair.edge.rejected].map((place) => EXPLORER.assistants[place]);
  return make("span", {}, names[0], make("br"), make("span", { class: "soft" }, "over "), names[1]);
}

function ruleCell(_, type, pair) {
  if (type !== "display") return pair.rule;
  const parts = nameRule(pair.rule).split(/(?<=_)/); // where a long name may be broken
  return make("span", {}, ...parts.flatMap((part) => [part, make("wbr")]));
}

function numberCell(read, digits) {
  return (_, type, pair) =>
    type === "display" ? make("span", {}, sign(read(pair), digits)) : read(pair);
}

/** Pairs without a number come last, whichever way the column is sorted. */
function defineOrder() {
  const compare = (way) => (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return way * (a - b);
  };
  Object.assign(DataTable.ext.type.order, {
    "figure-pre": (value) => value, "figure-asc": compare(1), "figure-desc": compare(-1),
  });
}

function makeTable() {
  defineOrder();
  const text = { data: null, type: "string", orderable: false };
  const number = { data: null, type: "figure", className: "number", orderSequence: ["desc", "asc", ""] };
  const table = new DataTable("#pairs", {
    data: PAIRS,
    autoWidth: false, // it would write the widest texts as HTML to measure them
    order: [],
    pageLength: 25,
    lengthMenu: [10, 25, 50, 100],
    layout: {
      topStart: "info", topEnd: "paging", bottomStart: "pageLength", bottomEnd: "paging",
    },
    language: {
      info: "_START_ to _END_ of _TOTAL_ pairs", infoEmpty: "No pair",
      infoFiltered: "(of _MAX_ in all)", zeroRecords: "No pair is like that",
      lengthMenu: "_MENU_ pairs a page", thousands: ",",
    },
    columns: [
      { ...text, render: promptCell },
      { ...text, render: textCell((pair) => pair.chosen.text) },
      { ...text, render: textCell((pair) => pair.rejected.text) },
      { ...text, render: edgeCell, orderable: true },
      { ...text, render: ruleCell, orderable: true },
      { ...number, render: numberCell((pair) => pair.longer, 0) },
      { ...number, render: numberCell((pair) => pair.margin, 2) },
      { ...number, render: numberCell((pair) => pair.heldOutMargin, 2) },
    // Searching is ours: the library's would read cells as HTML, and texts are longer than cells.
    ].map((column) => ({ ...column, searchable: false })),
  });
  table.search.fixed("form", (_, pair) => !matching || matching[pair.place] === 1);
  return table;
}

function applyFilters(table) {
  const tests = readTests();
  matching = tests.length
    ? Uint8Array.from(PAIRS, (pair) => (tests.every((test) => test(pair)) ? 1 : 0))
    : null;
  table.draw();
  const fields = FORM.querySelectorAll("#more select, #more input");
  const used = [...fields].filter((field) => field.value).length;
  document.getElementById("used").textContent = used ? `(${used} in use)` : "";
}

/** Links to the neighbours of a pair in the table's present order. */
function makeNeighbours(table, pair) {
  const order = table.rows({ search: "applied", order: "applied" }).data().toArray();
  const at = order.indexOf(pair);
  const link = (neighbour, label) =>
    neighbour ? [make("a", { href: addressPair(neighbour) }, label), " "] : [];
  if (at < 0) return [];
  return [
    ...link(order[at - 1], "Previous pair"), ...link(order[at + 1], "Next pair"),
    `${(at + 1).toLocaleString("en")} of ${order.length.toLocaleString("en")}`,
  ];
}

/** Reads an id from an address; one that someone garbled is shown as it is. */
function decode(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

function route(table, first) {
  const found = /^#(comparison|prompt)=(.*)$/.exec(location.hash);
  if (!found && !["", "#list"].includes(location.hash)) return; // the link that skips to the content
  const wasOpen = !DETAIL.hidden;
  LIST.hidden = Boolean(found);
  DETAIL.hidden = !found;
  document.title = TITLE;
  if (!found) {
    if (wasOpen) document.getElementById("list-title").focus();
    return;
  }
  const [kind, id] = [found[1], decode(found[2])];
  const row = (kind === "comparison" ? PAIR_BY_ID : PROMPT_BY_ID).get(id);
  if (!row) fillDetail("Not found", make("p", {}, `This page has no ${kind} ${id}.`));
  else if (kind === "comparison") showPair(row);
  else showPrompt(row);
  const neighbours = row && kind === "comparison" ? makeNeighbours(table, row) : [];
  document.getElementById("neighbours").replaceChildren(...neighbours);
  const heading = document.getElementById("detail-title");
  document.title = `${heading.textContent} – ${TITLE}`;
  if (!first) heading.focus();
  scrollTo(0, 0);
}

function start() {
  fillFilters();
  document.getElementById("more").open = innerWidth > 600; // on a phone, they would hide the list
  const table = makeTable();
  FORM.addEventListener("input", () => applyFilters(table));
  FORM.addEventListener("submit", (event) => event.preventDefault());
  FORM.addEventListener("reset", () => setTimeout(() => applyFilters(table)));
  for (const button of document.querySelectorAll("[data-field]")) {
    button.addEventListener("click", () => {
      FORM.reset();
      FORM.elements[button.dataset.field].value = button.dataset.value;
      applyFilters(table);
    });
  }
  addEventListener("hashchange", () => route(table, false));
  route(table, true);
  performance.mark("usable");
}

start();
