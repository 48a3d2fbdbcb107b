"""`offlinekit select` on two policies of one-step episodes."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner

from offlinekit.algos import DiscreteBC
from offlinekit.algos.dynamics import fitted_dynamics
from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Policies that take one action each, and data in which action 1 pays."""
    monkeypatch.chdir(tmp_path)
    actions = np.arange(200) % 2
    seen = np.ones((200, 1), np.float32)
    MDPDataset(seen, actions, actions.astype(np.float32), np.ones(200, bool)).save("arms.h5")
    for action in (0, 1):
        own = MDPDataset(seen, np.full(200, action), seen[:, 0], np.ones(200, bool), action_space=_two())
        policy = DiscreteBC(encoder={"type": "mlp", "hidden_sizes": [8]}, learning_rate=0.05, seed=0)
        policy.fit(own, 50, out=None, progress=False).save(f"{action}.okt")
    return tmp_path


def _two():
    from gymnasium.spaces import Discrete

    return Discrete(2)


def run(*words):
    settings = ("--dataset", "arms.h5", "--steps", "200", "--resamples", "3", "--set", "learning_rate=0.02")
    return CliRunner().invoke(main, ["select", *words, *settings])


def test_the_better_policy(folder, says_how_far):
    result = run("0.okt", "1.okt")
    says_how_far(result, "values of 3 policies")
    rows = result.stdout.splitlines()
    assert rows[2].startswith("1.okt")
    assert "Deploy 1.okt: 1.okt gains at least" in result.output
    assert rows[0].split("  ")[-1] == "episodes"
    assert rows[2].split()[-1].startswith(("99.", "100"))  # Of 200 rows, 100 show action 1.
    assert "by both estimates." in result.output


def test_none(folder):
    result = run("0.okt", "--margin", "1")
    assert "Deploy none: keep the behaviour" in result.output


def test_rules_and_what_was_not_heard(folder):
    strict = run("1.okt", "--min-effective-sample", "150")
    assert "1.okt is held back: the data show" in strict.output
    assert "Deploy none: keep the behaviour: 1.okt gains" in strict.output
    alone = run("1.okt", "--behaviour", "none", "--sample")
    assert "fitted Q alone for 1.okt: propensities are left out" in alone.output
    assert alone.stdout.splitlines()[2].split()[-1] == "-"


def test_wrong_hyperparameter(folder):
    result = run("0.okt", "--set", "learning_rat=1")
    assert result.exit_code == 2
    assert "did you mean 'learning_rate'" in result.output


def test_remedies_name_options(folder):
    settings = ("--dataset", "arms.h5", "--steps", "2", "--resamples", "2")
    result = CliRunner().invoke(main, ["select", "1.okt", *settings])
    assert "train the fits longer (--steps)" in result.output
    assert "n_steps" not in result.output


def test_data_of_another_kind_are_named(folder):
    MDPDataset(np.ones((4, 2), np.float32), np.arange(4) % 2, np.ones(4), np.ones(4, bool)).save("wide.h5")
    for command in (["select", "0.okt"], ["ope", "0.okt"]):
        result = CliRunner().invoke(main, [*command, "--dataset", "wide.h5"])
        assert result.exit_code == 1
        assert "this DiscreteBC was built for observations of" in result.output


def test_dynamics_that_all_are_rolled_out_in(folder):
    data = MDPDataset.load("arms.h5")
    layer = {"type": "mlp", "hidden_sizes": [8]}
    fitted_dynamics(data, 300, encoder=layer, learning_rate=0.02, seed=0, device="cpu").save("model.okt")
    result = run("0.okt", "1.okt", "--dynamics", "model.okt")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert "gain by dynamics" in result.stdout.splitlines()[0]
    assert abs(float(rows[2][5]) - 0.5) < 0.25  # Action 1 pays 1, the data 1/2.
    none = run("1.okt", "--dynamics", "0.okt")
    assert (none.exit_code, "learned no dynamics" in none.stderr) == (1, True)
