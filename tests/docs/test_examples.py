"""The examples run, and what they promise comes out."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from offlinekit.algos import BC, DiscreteBC, DiscreteCQL, MLPEncoder, TD3PlusBC
from offlinekit.datasets import get_dataset
from offlinekit.metrics import evaluate

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_custom_algorithm_is_short_and_runs(capsys):
    assert len((EXAMPLES / "custom_algorithm.py").read_text().splitlines()) < 40
    algo, result = load("custom_algorithm")["main"](n_steps=20, n_episodes=1)
    assert type(algo.impl).__name__ == "CautiousSACImpl"
    assert algo.grad_step == 20
    assert "cloning" in algo.history[-1]
    assert np.isfinite(result.mean)
    assert "policy" in capsys.readouterr().out


def test_demo_runs_and_draws(tmp_path, capsys):
    curve = load("demo")["main"](n_steps=40, n_episodes=2, out=str(tmp_path))
    assert curve.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    for policy in ("discrete CQL", "behaviour (the data)", "behaviour cloning", "random"):
        assert policy in printed


def test_population_prints_each_member_and_draws(tmp_path, capsys):
    population = load("population")["main"](n_steps=2, out=str(tmp_path))
    assert population.stacks == [list(range(8))]
    assert capsys.readouterr().out.count("alpha 2.5") == 2
    assert (tmp_path / "population.png").read_bytes().startswith(b"\x89PNG")


def test_the_clinic_by_hand():
    """Mild fever, 1 point a visit, all values 0: waiting -1 + 0.15 * 10 = 0.5, tablets -1.5 + 0.55 * 10 = 4."""
    clinic = load("clinic")
    outcomes = clinic["_outcomes"](1, 0, np.zeros((6, 2)))
    np.testing.assert_allclose(outcomes, [0.5, 4.0, -np.inf])
    assert clinic["best_treatments"]()["mild", "yes"] == "wait"  # Nothing else is allowed.
    staff, best = (clinic["true_value"](choose, 200)[0] for choose in (None, clinic["best"]))
    assert staff < -10 < best
    with pytest.raises(ValueError, match="tablets is not allowed for"):
        clinic["true_value"](lambda rows: ["tablets"] * len(rows), 50)
    table = clinic["table"](50)
    assert {"date", "fever", "temperature", "may tablets", "treatment", "points", "left", "moved"} <= set(
        table
    )
    assert (table["temperature"] == "").any()


# Networks and batches smaller than the defaults learn the same in a tenth of the time.


@pytest.mark.slow
def test_offline_rl_beats_cloning_on_mixed_data():
    dataset, env = get_dataset("cartpole-mixed")
    small = {"encoder": MLPEncoder((64, 64)), "batch_size": 64, "seed": 0}
    cql = DiscreteCQL(learning_rate=1e-3, lr_schedule="cosine", n_step=5, **small)
    cql.fit(dataset, 5_000, out=None, progress=False)
    cloning = DiscreteBC(**small).fit(dataset, 1_500, out=None, progress=False)
    assert evaluate(cql, env, 20).mean > 250
    assert evaluate(cloning, env, 20).mean < 150


@pytest.mark.slow
def test_td3_plus_bc_beats_cloning_on_mixed_pendulum():
    dataset, env = get_dataset("pendulum-mixed")
    small = {"encoder": MLPEncoder((64, 64)), "batch_size": 128, "seed": 0}
    rates = {"actor_learning_rate": 1e-3, "critic_learning_rate": 1e-3}
    ours = TD3PlusBC(alpha=20.0, reward_scaler="standard", **rates, **small)
    ours.fit(dataset, 5_000, out=None, progress=False)
    cloning = BC(**small).fit(dataset, 1_500, out=None, progress=False)
    assert evaluate(ours, env, 20).mean > -500
    assert evaluate(cloning, env, 20).mean < -700
