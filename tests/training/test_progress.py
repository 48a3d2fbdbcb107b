"""Progress is one line: what it says, in how many characters, and where it goes."""

from __future__ import annotations

import os
import sys
import types

import pytest

from offlinekit.algos import BC, Population
from offlinekit.ground import progress as module
from offlinekit.ground.progress import Lines, Notebook, Progress, Terminal, duration, find_place
from offlinekit.testing import small_dataset


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


ROW = {"step": 40, "time": 20.0, "critic_loss": 0.12345, "advantage": 2.0, "eval/return_mean": -151.26}


def shown(clock, width, done=0):
    progress = Progress("IQL on pendulum-mixed", 100, done)
    clock.now += 20.0
    progress.advance(40)
    progress.log(ROW)
    return progress.text(width)


def test_the_whole_line(clock):
    # 40 of 100 in 20 s are 2/s; the other 60 take 30 s.
    assert shown(clock, 200) == (
        "IQL on pendulum-mixed   40%  40/100 updates  2/s  0:30 left  return -151.3  critic_loss 0.1235  advantage 2"
    )


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (78, "IQL on pendulum-mixed   40%  40/100 updates  2/s  0:30 left  return -151.3"),
        (50, "IQL on pendulum...   40%  0:30 left  return -151.3"),
        (34, " 40%  0:30 left  return -151.3"),
        (20, " 40%  2/s  0:30 left"),
        (5, " 40%"),
    ],
)
def test_a_narrow_line_keeps_what_matters(clock, width, line):
    text = shown(clock, width)
    assert len(text) <= width
    assert text == line


def test_a_resumed_call_counts_its_own_rate(clock):
    # 50 were done before; 40 more in 20 s are 2/s, and 10 are left.
    assert "90/100 updates  2/s  0:05 left" in shown(clock, 200, done=50)


def test_the_last_return_stays_beside_newer_losses(clock):
    progress = Progress("x", 100)
    progress.log(ROW)
    progress.log({"critic_loss": 0.5})
    assert "return -151.3  critic_loss 0.5" in progress.text(200)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (32, "0:32"), (3723, "1:02:03"), (59.6, "1:00")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_without_a_terminal_a_line_comes_with_each_row(clock, capsys):
    progress = Progress("IQL", 100)
    progress.advance(40)
    assert capsys.readouterr().err == ""
    progress.log(ROW)
    assert capsys.readouterr().err.startswith("IQL   40%")
    clock.now += 29.0
    progress.advance(1)
    assert capsys.readouterr().err == ""
    clock.now += 1.0  # Half a minute without a row.
    progress.advance(1)
    assert capsys.readouterr().err.startswith("IQL   42%")
    progress.close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("columns", [120, 60, 30])
def test_a_terminal_has_one_line_that_fits(clock, capsys, monkeypatch, columns):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2, raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda handle: os.terminal_size((columns, 24)))
    with Progress("IQL on pendulum-mixed", 100) as progress:
        for _ in range(10):
            clock.now += 1.0
            progress.advance(10)
        progress.log(ROW)
    *drawn, end = capsys.readouterr().err.split("\r\x1b[2K")[1:]
    assert all("\n" not in line for line in drawn)
    assert end.endswith("\n")
    assert all(len(line.rstrip("\n")) < columns for line in (*drawn, end))
    assert ("[" in end) == (columns == 120)


def test_a_notebook_rewrites_one_output(clock, monkeypatch):
    class ZMQInteractiveShell:
        pass

    updates = []
    handle = types.SimpleNamespace(update=lambda shown: updates.append(shown._repr_html_()))
    display = types.SimpleNamespace(display=lambda shown, display_id: handle)
    fake = types.SimpleNamespace(get_ipython=ZMQInteractiveShell, display=display)
    monkeypatch.setitem(sys.modules, "IPython", fake)
    with Progress("a < b", 4) as progress:
        assert isinstance(progress.place, Notebook)
        clock.now += 1.0
        progress.advance(1)
    assert updates[0].startswith("<progress value='0.250'></progress> <code>a &lt; b")


def test_silence(capsys):
    progress = Progress("x", 4, shown=False)
    progress.advance(4)
    progress.log(ROW)
    progress.close()
    assert capsys.readouterr().err == ""


def test_parts_count_for_the_whole(clock, capsys):
    """Parts know their own length alone; the whole knows what each is worth."""
    with Progress("sweep", 10, unit="trial") as whole:
        with whole.span(4):
            first = Progress("pack 1", 200, done=50, shown=False)  # A part is shown as its whole is.
            first.advance(50)
            first.log({"critic_loss": 0.5})
            assert (whole.done, whole.label) == (2.0, "sweep: pack 1")  # 4 * 100 / 200
        assert whole.done == 4.0  # As of one that stopped early: the rest needs no more time.
        with whole.span(6):
            second = Progress("pack 2", 1)
            with second.span(0.5):
                Progress("within", 10).advance(10)
            assert whole.done == 7.0  # 4 + 6 * 0.5
        assert whole.share == 1.0
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert Progress("after", 1).place is not None


def test_a_span_that_fails_ends():
    whole = Progress("x", 2, shown=False)
    with pytest.raises(KeyError), whole.span(1):
        raise KeyError("of my own")
    assert (whole.done, Progress("y", 1).span_within) == (0, None)


def test_places(monkeypatch):
    assert isinstance(find_place(), Lines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(find_place(), Terminal)


@pytest.mark.parametrize("kind", ["fit", "population"])
def test_runs_show_their_rows(capsys, kind):
    make = lambda seed: BC(seed=seed, encoder=[8], batch_size=8, device="cpu")  # noqa: E731
    trained = make(0) if kind == "fit" else Population([make(0), make(1)])
    trained.fit(small_dataset("continuous"), 4, out=None, log_interval=2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "actor_loss" in lines[1]
    assert lines[0].startswith("BC on small   50%  2/4" if kind == "fit" else "2 x BC on small   50%  4/8")
