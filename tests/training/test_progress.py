"""Progress is one line: what it says, in how many characters, and where it goes."""

from __future__ import annotations

import os
import re
import sys
import types

import gymnasium
import numpy as np
import pytest

from offlinekit.algos import BC, Population
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.tabular.drift import drift
from offlinekit.envs.evaluation import evaluate
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


class Ticking(Clock):
    """Two seconds pass whenever somebody looks."""

    def __call__(self):
        self.now += 2.0
        return self.now


@pytest.fixture
def ticking(monkeypatch):
    monkeypatch.setattr(module, "monotonic", Ticking())


def lasting(n_steps):
    """Returns an environment whose episodes end after so many steps."""
    return gymnasium.make("Pendulum-v1", max_episode_steps=n_steps)


def test_evaluations_count_the_steps_of_episodes(ticking, capsys):
    evaluate(lambda seen: np.zeros((len(seen), 1)), lasting(20), 4)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("evaluation    ")  # 1 of 80 steps, after the 5 s of silence.
    assert "0/4 episodes" in lines[0]
    assert all(re.search(r"\d+%  \d/4 episodes .* \d+:\d\d left", line) for line in lines), lines
    # A line whenever 30 s, 15 looks at the clock, are over: 80 steps and 4 ends.
    assert len(lines) == 6


def test_episodes_that_end_early_count_as_whole_ones(clock):
    env = gymnasium.make("CartPole-v1")  # 500 steps at most.
    with Progress("x", 3, shown=False) as whole, whole.span(3):
        evaluate(lambda seen: np.zeros(len(seen), int), env, 3)
        assert whole.done == pytest.approx(3.0)


def test_an_evaluation_can_be_silent(ticking, capsys):
    evaluate(lambda seen: np.zeros((len(seen), 1)), lasting(20), 4, progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", ["fit", "population", "silent"])
def test_evaluations_within_a_run_show_the_line_of_the_run(ticking, capsys, kind):
    algo = BC(seed=0, encoder=[8], batch_size=8, device="cpu")
    trained = Population([algo]) if kind == "population" else algo
    shown = {"progress": False} if kind == "silent" else {}
    trained.fit(get_dataset("pendulum-mixed")[0], 4, out=None, eval_env=lasting(50), **shown)
    lines = capsys.readouterr().err.splitlines()
    if kind == "silent":
        assert not lines
    else:
        assert len(lines) > 10
        assert all("BC on pendulum-mixed" in line and "episodes" not in line for line in lines)


def test_drift_counts_columns(ticking, capsys):
    dataset = small_dataset("continuous")
    drift(*dataset.split(0.5, seed=0), n_permutations=19)
    assert "drift of small" in capsys.readouterr().err
    drift(*dataset.split(0.5, seed=0), n_permutations=19, progress=False)
    assert capsys.readouterr().err == ""


def test_a_large_file_is_counted_as_it_is_written(ticking, capsys, tmp_path):
    n = 200_000  # Rows of 48 bytes of observations, 16 chunks at once of 1 MB.
    MDPDataset(np.ones((n, 12), np.float32), np.zeros(n, int), np.zeros(n), np.arange(n) == n - 1).save(
        tmp_path / "large.h5"
    )
    lines = capsys.readouterr().err.splitlines()
    assert lines
    assert all(re.match(r"writing large.h5 +\d+%  \d+/1\d megabytes", line) for line in lines), lines


def test_parts_that_add_up_to_nearly_a_whole_are_one(clock):
    progress = Progress("x", 1, unit="episode")
    clock.now += 1.0
    for _ in range(10):
        progress.advance(0.1)  # 0.9999999999999999 in the end.
    assert progress.text(80) == "x  100%  1/1 episodes  1/s  in 0:01"


def test_of_an_unknown_whole_there_is_no_share(clock):
    progress = Progress("file", None, unit="megabyte")
    clock.now += 10.0
    progress.advance(20)
    assert (progress.text(80), progress.share) == ("file  20 megabytes  2/s  in 0:10", 0.0)


def test_a_moment_shows_nothing(clock, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress("x", 2) as progress:
        clock.now += 0.9
        progress.advance(1)
        progress.advance(1)
    assert capsys.readouterr().err == ""


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
