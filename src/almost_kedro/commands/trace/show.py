"""What `kedro trace` prints. Rows hold what models wrote: nothing in them may act on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text
from rich.tree import Tree

from almost_kedro.commands.trace.ancestry import Ancestry, Link, Made
from almost_kedro.commands.trace.tables import Key, Row, Step
from almost_kedro.rows.feedback import Ledger
from almost_kedro.rows.validator import RowsValidator
from almost_kedro.rows.visible_text import make_line, make_visible

# Characters shown of a text, and of a fact or a headline, without --full.
LONG_TEXT, LONG_LINE = 2000, 160
VERDICTS = ("verdict", "rule")
KEPT = "ok"


def shorten(text: str, limit: int | None) -> str:
    """Cut a text and say how long it is; no limit leaves it whole."""
    if limit is None or len(text) <= limit:
        return make_visible(text)
    return f"{make_visible(text[:limit])}... ({len(text):,} characters)"


def write_headline(kind: type[RowsValidator], row: Row, full: bool = False) -> str:
    """Describe a row in a line: the rule that drops it, and the first line of its first text."""
    verdict = str(next((row[name] for name in VERDICTS if name in row), KEPT))
    if issubclass(kind, Ledger) and row["original"] != row["corrected"]:
        verdict = f"original {row['original']}, corrected {row['corrected']}"
    text = str(row[kind.texts[0]]).strip() if kind.texts else ""
    first, *more = text.split("\n", 1)
    line = shorten(first, None if full else LONG_LINE) + (" ..." if more else "")
    return line if verdict == KEPT else f"[{make_line(verdict)}] {line}".rstrip()


class AncestryTree:
    """Draws an ancestry: each row once, with its parents below it."""

    def __init__(
        self, ancestry: Ancestry, describe_model: Callable[[Step], str | None], full: bool
    ):
        """Take an ancestry, and what names a row's model; `full` cuts no text."""
        self.ancestry = ancestry
        self.describe_model = describe_model
        self.full = full
        self.depth = 0

    def draw(self) -> Tree:
        """Return the tree; `depth` is then how many levels it has."""
        start = self.ancestry.start
        tree = Tree(self._describe(start, ""))
        drawn = {start.key}
        stack = [(tree, 1, link) for link in reversed(self._links(tree, start.key))]
        while stack:
            branch, depth, link = stack.pop()
            label = link.reference.role
            if link.parent is None:
                branch.add(write_missing(link))
            elif not link.first:
                place = "above" if link.parent in drawn else "below"
                branch.add(Text(make_line(f"{label}: {' '.join(link.parent)} (see {place})")))
            else:
                drawn.add(link.parent)
                child = branch.add(self._describe(self.ancestry.steps[link.parent], f"{label}: "))
                self.depth = max(self.depth, depth)
                links = self._links(child, link.parent)
                stack += [(child, depth + 1, each) for each in reversed(links)]
        return tree

    def _links(self, branch: Tree, key: Key) -> Sequence[Link]:
        """Return a row's links; where the walk ended before its parents, say so."""
        if key not in self.ancestry.links and self.ancestry.steps[key].table.kind.parents:
            branch.add(Text("... (raise --depth for more)", style="dim"))
        return self.ancestry.links.get(key, [])

    def _describe(self, step: Step, label: str) -> Text:
        """Describe a row: what it is, its facts, its model, its texts and the verdicts on it."""
        kind = step.table.kind
        shown = Text()
        shown.append(make_line(f"{label}{step.table.name} {step.id}"), style="bold")
        shown.append(make_line(f"  {step.version}".rstrip()), style="dim")
        hidden = {kind.key, *kind.texts, *kind.parents, *VERDICTS}
        facts = {name: value for name, value in step.row.items() if name not in hidden}
        model = self.describe_model(step)
        if model is not None:
            facts["model"] = model
        if facts:
            shown.append("\n" + self._join(facts), style="dim")
        for name in kind.texts:
            text = shorten(str(step.row[name]), None if self.full else LONG_TEXT)
            shown.append(f"\n{name}: ", style="cyan")
            shown.append(text.replace("\n", "\n  "))
        for name in VERDICTS:
            if name in step.row:
                verdict = make_line(str(step.row[name]))
                shown.append(f"\n{name}: {verdict}", style="green" if verdict == KEPT else "red")
        for entry in self.ancestry.verdicts.get(step.key, []):
            shown.append("\n" + self._quote(entry, step), style="yellow")
        return shown

    def _quote(self, entry: Step, step: Step) -> str:
        """Write what a ledger says about a row."""
        facts = {name: entry.row[name] for name in ("rule", "detail", "original", "corrected")}
        version = "" if entry.version == step.version else f" {entry.version}"
        return make_line(f"{entry.table.name}{version}: ") + self._join(facts)

    def _join(self, facts: Mapping[str, Any]) -> str:
        """Write facts on one line."""
        limit = None if self.full else LONG_LINE
        written = []
        for name, value in facts.items():
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            written.append(f"{name}: " + shorten(text, limit).replace("\n", "\\n"))
        return "; ".join(written)


def write_missing(link: Link) -> Text:
    """Say that a parent was not found."""
    places = " or ".join(link.reference.datasets)
    line = f"{link.reference.role}: {link.reference.id} is in no version of {places}"
    return Text(make_line(line), style="red")


def write_made(made: Made) -> str:
    """Write what a dataset has: a line with the number of rows, and a line for each."""
    lines = [f"{made.dataset}  {made.version}  {len(made.headlines)}"]
    lines += [f"  {make_line(id_)}  {line}" for id_, line in made.headlines.items()]
    return "\n".join(lines)
