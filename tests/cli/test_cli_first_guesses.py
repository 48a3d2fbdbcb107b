"""Commands as people first try them: previews, completion, advice, metrics without an environment, progress."""

from __future__ import annotations

import json
import re

import click
import numpy as np
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from offlinekit.algos import catalogue
from offlinekit.cli.advice import Facts, advise
from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset, known_datasets
from offlinekit.testing import small_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a small dataset and one run."""
    folder = tmp_path_factory.mktemp("first")
    small_dataset("discrete").save(folder / "small.h5")
    done = call(
        folder, *TRAIN, "--steps", 4, "--seed", 1, "--eval-env", "none", "--run-name", "one", "--tag", "a"
    )
    assert done.exit_code == 0, done.output
    return folder


TRAIN = (
    "train",
    "--algo",
    "discrete-cql",
    "--dataset",
    "small.h5",
    "--set",
    "encoder=[8]",
    "--set",
    "batch_size=8",
)


IMITATE = ("--algo", "discrete-bc", *TRAIN[3:])


def call(folder, *words):
    """Calls a command in a folder, with its own paths."""
    places = {"--out": folder / "runs"} if words[0] in ("train", "evolve") else {}
    given = [str(folder / word) if word == "small.h5" else str(word) for word in words]
    return CliRunner().invoke(main, [*given, *(str(part) for pair in places.items() for part in pair)])


def run_of(folder):
    return next((folder / "runs").glob("one_*"))


# Before anything is trained.


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (TRAIN, r"DiscreteCQL.*\non small: .*Would take 100,000 updates, evaluate every 5,000"),
        (
            ("sweep", *TRAIN[1:5], "--vary", "alpha=[1,2]", "--metric", "td_error", "--seeds", "3"),
            "Would train 2 settings of .* on small with 3 seeds each, 100,000 updates",
        ),
        (
            ("evolve", *TRAIN[1:5], "--search", "batch_size=[8, 16]", "--generations", "2"),
            "Would evolve 4 members of discrete-cql on small for 2 generations of 10,000 updates",
        ),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_a_dry_run_writes_nothing(folder, words, says, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before = sorted((folder / "runs").iterdir())
    done = call(folder, *words, "--dry-run")
    assert done.exit_code == 0, done.output
    assert re.search(says, done.stdout, re.DOTALL)
    assert "nothing was trained (--dry-run)" in done.stdout
    config = call(folder, *words, "--print-config")
    assert isinstance(json.loads(config.stdout), dict)
    assert sorted((folder / "runs").iterdir()) == before
    assert not list(tmp_path.iterdir())


def test_the_printed_config_is_that_of_the_run(folder):
    printed = json.loads(
        call(
            folder,
            *TRAIN,
            "--steps",
            4,
            "--seed",
            1,
            "--eval-env",
            "none",
            "--run-name",
            "one",
            "--tag",
            "a",
            "--print-config",
        ).stdout
    )
    assert printed == json.loads((run_of(folder) / "config.json").read_text())


def test_a_dry_run_refuses_what_a_run_would(folder):
    done = call(folder, *TRAIN, "--set", "alhpa=3", "--dry-run")
    assert (done.exit_code, "did you mean 'alpha'" in done.output) == (2, True)


# Names.


def completions(*words):
    complete = ShellComplete(main, {}, "offlinekit", "_OFFLINEKIT_COMPLETE")
    return {item.value for item in complete.get_completions(list(words[:-1]), words[-1])}


def test_names_complete():
    assert completions("train", "--algo", "discrete_c") == {"discrete_cql", "discrete_crr"}
    assert "td3_plus_bc" in completions("algos", "td3")
    assert completions("sweep", "--dataset", "pendulum-m") == {"pendulum-mixed"}
    own = {name for name, front in catalogue().items() if front.__module__.startswith("offlinekit.")}
    assert completions("evolve", "--algo", "") == own
    assert completions("algos", "--for", "") >= set(known_datasets())


# Advice.


def rows_of(returns, actions="continuous", rewarded=1.0, length=10):
    """Makes a dataset whose episodes have these returns, earned in a share of their steps."""
    n = len(returns) * length
    paid = max(1, round(rewarded * length))
    rewards = np.concatenate([[r / paid] * paid + [0.0] * (length - paid) for r in returns])
    terminals = np.tile([0.0] * (length - 1) + [1.0], len(returns))
    chosen = np.zeros((n, 1), np.float32) if actions == "continuous" else np.arange(n) % 2
    return MDPDataset(np.arange(n, dtype=np.float32)[:, None], chosen, rewards, terminals)


@pytest.mark.parametrize(
    ("dataset", "goal", "first", "others"),
    [
        (rows_of([1.0, 5.0] * 5), "offline", "bc", {"percent_bc", "td3_plus_bc", "iql", "rebrac"}),
        (rows_of([5.0] * 10), "offline", "bc", {"iql"}),  # All alike: nothing to put together.
        (rows_of([1.0, 5.0] * 5), "imitate", "bc", {"percent_bc"}),
        (rows_of([1.0, 5.0] * 5), "online", "bc", {"percent_bc", "iql", "cal_ql", "rlpd"}),
        (
            rows_of([1.0, 5.0] * 5, "discrete"),
            "offline",
            "discrete_bc",
            {"discrete_bcq", "discrete_iql", "discrete_cql"},
        ),
        (rows_of([1.0, 5.0] * 1500), "offline", "bc", {"percent_bc", "td3_plus_bc", "rebrac", "edac"}),
    ],
)
def test_advice_follows_the_data_and_the_goal(dataset, goal, first, others):
    advice = advise(dataset, goal)
    assert advice[0][0] == first
    assert {name for name, _ in advice[1:]} == others
    assert {name for name, _ in advice} <= set(catalogue())
    assert all("{" not in reason for _, reason in advice)


def test_facts_of_a_dataset():
    facts = Facts.of(rows_of([1.0] * 9 + [11.0], rewarded=0.1), "offline")
    # Mean (9 + 11) / 10 = 2, the best tenth is the 11, and 1 of 10 rows is rewarded.
    assert (facts.mean, facts.best, facts.rewarded, facts.n_rows) == (2.0, 11.0, 0.1, 100)
    assert (facts.is_narrow, facts.is_small, facts.is_sparse) == (False, True, False)


def test_advice_on_the_command_line(folder):
    done = call(folder, "algos", "--for", "small.h5")
    assert "discrete_bc   the baseline that others must beat: imitates 120 rows" in done.stdout


# Without an environment.


def test_the_table_has_own_metrics_and_points_on(folder):
    done = call(folder, *TRAIN, "--steps", 2, "--eval-env", "none", "--run-name", "other", "--seed", 2)
    run = next((folder / "runs").glob("other_*"))
    for name in ("action_match", "initial_value", "td_error", "critic_loss"):
        assert re.search(rf"^{name} +-?\d", done.stdout, re.MULTILINE), name
    source = (folder / "small.h5").resolve()
    assert f"offlinekit ope {run} --dataset {source} --q fqe" in done.stdout
    assert f"offlinekit select {run} --dataset {source}" in done.stdout


# Progress; that of `select`, `ope` and `sweep` in their own tests.


def test_train_and_evolve_say_how_far_they_are(folder, says_how_far, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    says_how_far(call(folder, *TRAIN, "--steps", "4", "--eval-env", "none"), "DiscreteCQL on small")
    settings = ("--generations", "2", "--steps", "4", "--population", "2", "--fitness", "action_match")
    done = call(folder, "evolve", *IMITATE, "--search", "batch_size=[8, 16]", *settings)
    says_how_far(done, "Evolution on small")


def test_a_dry_option_is_in_the_help_of_what_trains():
    for name in ("train", "sweep", "evolve"):
        command = main.get_command(click.Context(main), name)
        assert {"print_config", "dry_run"} <= {parameter.name for parameter in command.params}
