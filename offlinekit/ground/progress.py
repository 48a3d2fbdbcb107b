"""How far a long call is, in one line: rewritten on a terminal and in a notebook, printed at each row elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from time import monotonic
from types import TracebackType
from typing import Protocol

WIDTH = 120
"""Characters of a line where there is no terminal."""
PATIENCE, REDRAWN = 1.0, 0.2
"""Seconds before the first drawing of a line that is rewritten, and between two later ones."""
FIRST_LINE, SILENCE = 5.0, 30.0
"""Seconds before a line is printed where there is no terminal, and from one to the next, if no row came."""
RETURNS = {"eval/return_mean": "return", "online/return_mean": "return", "eval/score": "score"}
LEFT_OUT = ("step", "time", "updates", "value_diverged")


_SPAN: ContextVar[tuple[Progress, float, float] | None] = ContextVar("span", default=None)
"""The call of which what begins now is a part: its progress, where the part begins in it and how much it is."""


class Place(Protocol):
    """Where the line goes.

    Attributes:
        seconds: Least time before the next line that no row asked for; longer before the first one, so that a short
            call shows none.
    """

    seconds: float

    @property
    def width(self) -> int:
        """The most characters of the line."""

    def show(self, text: str, done: float) -> None:
        """Shows the line; `done` is the share of the whole."""

    def close(self) -> None:
        """Leaves the last line as it is."""


class Progress:
    """Counts what a call has done, and shows that with the newest figures and the time left.

    One that begins within a `span` of another shows nothing itself: it is a part of that one.

    Args:
        label: What is done.
        total: Number of updates, or of another unit; None if it is not known, and so no share and no time left is.
        done: Of them, those that an earlier call has behind it.
        shown: False for silence.
        unit: What is counted.
    """

    def __init__(
        self, label: str, total: float | None, done: float = 0, shown: bool = True, unit: str = "update"
    ) -> None:
        self.label, self.total, self.done, self.unit = label, total, done, unit
        self.figures: dict[str, str] = {}
        self.span_within = _SPAN.get()
        self.place = find_place() if shown and self.span_within is None else None
        self.first, self.began, self._last = done, monotonic(), monotonic()

    @contextmanager
    def span(self, amount: float) -> Iterator[None]:
        """Makes the calls within it count as so much of this one, whose own length they do not know."""
        end, label = self.done + amount, self.label
        token = _SPAN.set((self, self.done, amount))
        try:
            yield
        finally:
            _SPAN.reset(token)
            self.label = label
        self.advance(end - self.done)

    def advance(self, count: float) -> None:
        """Counts what was done since the last call."""
        self.done += count
        if self.span_within is not None:
            whole, start, amount = self.span_within
            whole.advance(max(start + amount * self.share - whole.done, 0.0))
        elif self.place is not None and monotonic() - self._last >= self.place.seconds:
            self.draw()

    def log(self, row: Mapping[str, float]) -> None:
        """Shows the returns, losses and other figures of a row; those that it lacks stay."""
        if self.span_within is not None:
            whole = self.span_within[0]
            whole.label = f"{whole.label.partition(': ')[0]}: {self.label}"
            whole.log(row)
            return
        self.figures |= {
            RETURNS.get(name, name): f"{value:.4g}"
            for name, value in row.items()
            if name in RETURNS or not name.startswith(LEFT_OUT)
        }
        if self.place is not None:
            self.draw()

    def close(self) -> None:
        """Shows where it ended."""
        if self.place is not None:
            if self.place.seconds == REDRAWN:
                self.draw()
            self.place.close()
        self.place = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def draw(self) -> None:
        """Shows the line as it is now."""
        if self.place is not None:
            self._last = monotonic()
            self.place.show(self.text(self.place.width), self.share)

    @property
    def share(self) -> float:
        """Share of the whole that is done, in [0, 1]; 0 if the whole is not known."""
        if self.total is None:
            return 0.0
        return min(self.done / self.total, 1.0) if self.total else 1.0

    def text(self, width: int) -> str:
        """Returns the line, without what has no room in so many characters.

        The share that is done comes first in rank, then the time left, the return, the label, other figures and counts.
        """
        seconds, done = (
            monotonic() - self.began,
            self.done + 1e-6,
        )  # Parts may add up to a little less than a whole.
        rate = (self.done - self.first) / seconds if seconds > 0 else 0.0
        share, left, of = "", f"in {duration(seconds)}", ""
        speed = f"{rate:,.4g}/s" if rate >= 0.1 else ""  # Of what takes longer the time left says enough.
        if self.total is not None:
            share, of = f"{self.share:4.0%}", f"/{int(self.total):,}"
            if done < self.total:
                left = f"{duration((self.total - self.done) / rate)} left" if rate > 0 else ""
        names = sorted(
            self.figures, key=lambda name: (name not in RETURNS.values(), not name.endswith("_loss"))
        )
        figures = [f"{name} {self.figures[name]}" for name in names]
        counts = f"{int(done):,}{of} {self.unit}s"
        ranked = [
            share,
            left,
            *figures[:1],
            self.label,
            counts,
            *figures[1:],
            speed,
        ]
        chosen: list[str] = []
        for piece in filter(None, ranked):
            room = width - sum(len(each) + 2 for each in chosen)
            if len(piece) <= room:
                chosen.append(piece)
            elif piece == self.label and room >= 12:
                chosen.append(f"{piece[: room - 3]}...")
        order = [self.label, share, counts, speed, left, *figures]
        return "  ".join(sorted(chosen, key=lambda each: order.index(each) if each in order else 0))


def duration(seconds: float) -> str:
    """Returns seconds as minutes and seconds, with hours before them if there are any: "0:32", "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def find_place() -> Place:
    """Returns where lines go: a notebook's output, a terminal, or else stderr as it is."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if type(shell).__name__ == "ZMQInteractiveShell":
        return Notebook()
    return Terminal() if sys.stderr.isatty() else Lines()


class Lines:
    """A line at each row, as in files."""

    width = WIDTH

    def __init__(self) -> None:
        self.seconds = FIRST_LINE

    def show(self, text: str, done: float) -> None:
        """Prints the line."""
        self.seconds = SILENCE
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Does nothing."""


class Terminal:
    """One line that is rewritten, with a bar if the terminal is wide enough."""

    def __init__(self) -> None:
        self.seconds = PATIENCE

    @property
    def width(self) -> int:
        """Columns of the terminal but the last, which would wrap; 79 if it does not say."""
        try:
            return (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
        except (OSError, ValueError):
            return 79

    def show(self, text: str, done: float) -> None:
        """Writes the line over the one before."""
        self.seconds = REDRAWN
        room = min(self.width - len(text) - 3, 30)
        bar = f" [{'#' * round(done * room):<{room}}]" if room >= 8 else ""
        print(f"\r\x1b[2K{text}{bar}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the line, if there is one."""
        if self.seconds == REDRAWN:
            print(file=sys.stderr, flush=True)


class Notebook:
    """One output of a cell that is rewritten; the notebook's file keeps the last."""

    width = WIDTH

    def __init__(self) -> None:
        self.text, self.done, self.seconds = "", 0.0, PATIENCE

    def _repr_html_(self) -> str:
        return f"<progress value='{self.done:.3f}'></progress> <code>{escape(self.text)}</code>"

    def __repr__(self) -> str:
        return self.text

    def show(self, text: str, done: float) -> None:
        """Shows the line in place of the one before."""
        self.text, self.done = text, done
        if self.seconds == PATIENCE:
            self.seconds = REDRAWN
            self.handle = sys.modules["IPython"].display.display(self, display_id=True)
        self.handle.update(self)

    def close(self) -> None:
        """Does nothing: the output stays."""
