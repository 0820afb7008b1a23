"""Progress of a child program: lines that its parent shows as a bar or as log lines."""

from __future__ import annotations

import json
import time

MARK = "@progress "


class Progress:
    """Counts rows and tokens, and prints one marked JSON line a second."""

    def __init__(self, what: str, total: int, every: float = 1.0):
        """Start counting to `total` rows; `what` is for people, `every` is in seconds."""
        self.what, self.total, self.every = what, total, every
        self.rows = self.rows_at_start = self.tokens = 0
        # Rows that are being written, and the tokens that they may still take.
        self.asked_rows = self.asked_tokens = 0
        # The rate counts from the first token on: loading a model is no generation.
        self.start: float | None = None
        self.last = time.monotonic()

    def add_rows(self, n: int) -> None:
        """Count finished rows."""
        self.set_rows(self.rows + n)

    def set_rows(self, n: int) -> None:
        """Set how many rows are finished; those before the first token were so from the start."""
        self.rows = n
        if self.start is None:
            self.rows_at_start = n
        self._print_when_due()

    def add_tokens(self, n: int) -> None:
        """Count generated tokens."""
        if self.start is None:
            self.start = time.monotonic()
        self.tokens += n
        self.asked_tokens -= n
        self._print_when_due()

    def ask(self, rows: int, tokens_each: int) -> None:
        """Say that so many rows are being written, of so many tokens at most."""
        self.asked_rows, self.asked_tokens = rows, rows * tokens_each

    def end_row(self, spared: int) -> None:
        """Say that one of them has ended, so many tokens before it had to."""
        self.asked_rows -= 1
        self.asked_tokens -= spared

    def finish(self) -> None:
        """Print the last line."""
        self._print()

    def _print_when_due(self) -> None:
        if time.monotonic() - self.last >= self.every:
            self._print()

    def _print(self) -> None:
        self.last = time.monotonic()
        state = {
            "what": self.what,
            "rows": self.rows,
            "rows_at_start": self.rows_at_start,
            "total": self.total,
            "tokens": self.tokens,
            "asked_rows": self.asked_rows,
            "asked_tokens": max(0, self.asked_tokens),
            "seconds": round(self.last - (self.start or self.last), 2),
        }
        print(MARK + json.dumps(state), flush=True)
