"""A chat in a terminal, or with lines from a pipe: questions, answers, and a few commands."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from rich.console import Console
from rich.text import Text

from almost_kedro.commands.chat.show import View, choose_view, describe_answer
from almost_kedro.feedback.self_play import build_dialogue
from almost_kedro.jobs.chat import Chat, RefusalError
from almost_kedro.options.rules import Rules
from almost_kedro.rows.visible_text import make_line

PROMPT = "you: "
HELP = """\
/new      begin a new dialogue
/rewards  show rewards, or stop showing them
/help     show this
/quit     end the chat, as Ctrl-D does
Ctrl-C ends the answer that is being written. Put a space before a question that begins with "/"."""
HOW_TO_QUIT = "/quit or Ctrl-D ends the chat"
FULL = ", or begin a new dialogue by /new"
NO_REWARDS = "no rewards: there are no reward models; run `kedro run --pipeline reward_model` first"


class Talk:
    """A chat under way: each policy has its own dialogue, with its own answers."""

    def __init__(
        self, chat: Chat, names: Sequence[str], rules: Rules, rewards: bool, console: Console
    ):
        """Begin a dialogue; `rewards` says whether answers are rewarded."""
        self.chat, self.names, self.rules, self.console = chat, names, rules, console
        self.rewards = rewards
        self.turns: dict[str, list[tuple[str, str]]] = {name: [] for name in names}

    def run(self) -> None:
        """Ask until the end of the input, or /quit."""
        prepare_input()
        self._say(f"{' | '.join(self.names)}: /help lists the commands")
        while True:
            try:
                line = read_line(self.console)
            except EOFError:
                return
            except KeyboardInterrupt:
                self._say(f"\n{HOW_TO_QUIT}")
                continue
            if line.startswith("/"):
                if line.strip() == "/quit":
                    return
                self._obey(line.strip())
            elif line.strip():
                self.answer(line.strip())

    def answer(self, question: str) -> None:
        """Let each policy answer, one after the other."""
        # Between two answers, there is nothing to end.
        with on_interrupt(signal.SIG_IGN), choose_view(self.console, self.names) as view:
            for name in self.names:
                view.begin(name)
                view.end(self._answer(name, question, view))

    def _answer(self, name: str, question: str, view: View) -> str:
        """Let a policy answer, and remember its answer; return what became of it."""
        pieces: list[str] = []

        def show(piece: str) -> None:
            pieces.append(piece)
            view.add(piece)

        dialogue = build_dialogue(self.turns[name], question, self.rules)
        try:
            with on_interrupt(self._stop):
                answer = self.chat.ask(name, dialogue, self.rewards, show)
        except RefusalError as exc:
            return f"{exc}{FULL if self.turns[name] else ''}"
        if answer["text"]:
            self.turns[name].append((question, answer["text"]))
        return describe_answer(answer, "".join(pieces))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """End the answer that is being written; a second Ctrl-C ends the chat, should that hang."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.chat.stop()

    def _obey(self, command: str) -> None:
        match command:
            case "/new":
                self.turns = {name: [] for name in self.names}
                self._say("a new dialogue")
            case "/rewards" if not self.chat.judges:
                self._say(NO_REWARDS)
            case "/rewards":
                self.rewards = not self.rewards
                self._say(f"rewards are {'shown' if self.rewards else 'no longer shown'}")
            case "/help":
                self._say(HELP)
            case _:
                self._say(f"{make_line(command)}: no such command; /help lists them")

    def _say(self, text: str) -> None:
        self.console.print(Text(text, style="dim"), soft_wrap=True)


def prepare_input() -> None:
    """Let lines be edited and recalled on a terminal; bytes that are no text do no harm."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    if sys.stdin.isatty():
        with suppress(ImportError):
            import readline  # noqa: F401 (`input` uses it once it is imported)


def read_line(console: Console) -> str:
    """Read the next line; one from a pipe is shown, as the terminal shows what is typed.

    Raises EOFError at the end of the input, and KeyboardInterrupt at Ctrl-C.
    """
    if sys.stdin.isatty():
        return input(PROMPT)
    line = input()
    console.print(Text(PROMPT + make_line(line)), soft_wrap=True)
    return line


@contextmanager
def on_interrupt(
    handler: Callable[[int, FrameType | None], None] | signal.Handlers,
) -> Iterator[None]:
    """Handle Ctrl-C in the block."""
    usual = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
