"""How answers appear while they are written: below one another, or in columns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from almost_kedro.rows.visible_text import make_line, make_visible
from almost_kedro.training.chat_job import Answer

# Characters of a column that can be read.
NARROWEST = 36
REASONS = {
    "eos": "ended by itself",
    "stop": "stopped where another turn began",
    "length": "cut off by the token limit",
    "interrupted": "interrupted",
}


class View(Protocol):
    """Shows the answers to one question; as a context, from the first to the last."""

    def __enter__(self) -> View:
        """Begin."""

    def __exit__(self, *_: object) -> None:
        """End."""

    def begin(self, name: str) -> None:
        """Say who answers next."""

    def add(self, piece: str) -> None:
        """Show the next piece of the answer."""

    def end(self, note: str) -> None:
        """Say what became of the answer."""


class Lines:
    """One answer below the other."""

    def __init__(self, console: Console):
        """Write to a console."""
        self.console = console

    def __enter__(self) -> Lines:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End."""

    def begin(self, name: str) -> None:
        """Say who answers next."""
        self.console.print(Text(f"{name}: ", style="bold"), end="")

    def add(self, piece: str) -> None:
        """Show the next piece of the answer: the terminal itself folds lines."""
        self.console.file.write(make_visible(piece))
        self.console.file.flush()

    def end(self, note: str) -> None:
        """Say what became of the answer, on a line of its own."""
        self.console.print(Text("\n" + make_line(note), style="dim"), soft_wrap=True)


class Columns:
    """Answers side by side."""

    def __init__(self, console: Console, names: Sequence[str]):
        """Draw a column for each name."""
        self.texts = dict.fromkeys(names, "")
        self.notes = dict.fromkeys(names, "")
        self.current = ""
        self.live = Live(self._draw(), console=console, refresh_per_second=8)

    def __enter__(self) -> Columns:
        """Begin."""
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Draw a last time; it stays."""
        self.live.stop()

    def begin(self, name: str) -> None:
        """Fill this column next."""
        self.current = name

    def add(self, piece: str) -> None:
        """Show the next piece of the answer."""
        self.texts[self.current] += piece
        self.live.update(self._draw())

    def end(self, note: str) -> None:
        """Say below the answer what became of it."""
        self.notes[self.current] = note
        self.live.update(self._draw())

    def _draw(self) -> Table:
        grid = Table.grid(padding=(0, 2), expand=True)
        for _ in self.texts:
            grid.add_column(ratio=1, overflow="fold")
        grid.add_row(*(Text(name, style="bold") for name in self.texts))
        cells = [
            Group(Text(make_visible(text)), Text(make_line(self.notes[name]), style="dim"))
            for name, text in self.texts.items()
        ]
        grid.add_row(*cells)
        return grid


def choose_view(console: Console, names: Sequence[str]) -> View:
    """Choose columns where there are several answers and a terminal wide enough."""
    wide = console.is_terminal and console.width >= NARROWEST * len(names)
    return Columns(console, names) if len(names) > 1 and wide else Lines(console)


def describe_answer(answer: Answer, shown: str) -> str:
    """Say in one line how an answer ended, what it is worth, and what of `shown` is no part."""
    parts = [f"{answer['n_tokens']} tokens, {REASONS[answer['finish_reason']]}"]
    if not answer["text"]:
        parts.append("no answer is left, so the dialogue goes on without it")
    elif left := len(shown) - len(answer["text"]):
        parts.append(f"its last {left} characters, an unfinished sentence, do not count")
    if answer["rewards"]:
        reward, held_out = answer["rewards"]
        parts.append(f"reward {reward:.3f}, held-out reward {held_out:.3f}")
    return f"[{'; '.join(parts)}]"


def show_loading(names: Sequence[str]) -> AbstractContextManager[object]:
    """Show, on a terminal only, that models are being loaded."""
    console = Console(stderr=True)
    return console.status(f"loading {', '.join(names)}") if console.is_terminal else nullcontext()
