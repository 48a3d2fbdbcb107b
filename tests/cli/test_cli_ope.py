"""`offlinekit ope`: a table of estimates, JSON, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from offlinekit.algos.dynamics import fitted_dynamics
from offlinekit.datasets import get_dataset

Call = Callable[..., Result]


def test_table(call: Call, trained: tuple[Path, Result], data_file: Path) -> None:
    result = call(
        "ope", trained[0], "--dataset", data_file, "--gamma", 1, "--estimator", "wis", "--estimator", "is"
    )
    assert result.exit_code == 0, result.output
    assert "DiscreteBC), its greedy actions" in result.output
    assert "tiny, 6 episodes" in result.output
    assert "fitted, calibration error" in result.output
    head, _, wis, is_ = result.output.splitlines()[-4:]
    assert head.split() == [
        "estimator",
        "value",
        "95%",
        "interval",
        "of",
        "the",
        "return",
        "episodes",
        "warning",
    ]
    assert "0.0% of what the policy does has no rows" in result.output
    assert "where 1 is due" in result.output
    assert wis.split()[:2] == ["wis", "40"]  # Every episode returns 40, so any weighted mean does.
    assert is_.split()[0] == "is"


def test_json(call: Call, trained: tuple[Path, Result], data_file: Path) -> None:
    result = call("ope", trained[0] / "policy.okt", "--dataset", data_file, "--json", "--interval", "t")
    found = json.loads(result.output)
    assert set(found["estimates"]) == {"is", "pdis", "wis", "wpdis"}
    assert found["gamma"] == "0.99"
    low, high = found["estimates"]["wpdis"]["interval"]
    assert low <= found["estimates"]["wpdis"]["value"] <= high
    assert found["behaviour_value"] == pytest.approx((1 - 0.99**40) / 0.01)


def test_refusals(call: Call, trained: tuple[Path, Result], data_file: Path) -> None:
    result = call("ope", trained[0], "--dataset", data_file, "--estimator", "wiz")
    assert (result.exit_code, "there is no 'wiz'; there are is, pdis" in result.stderr) == (2, True)
    result = call("ope", trained[0], "--dataset", data_file, "--sample")
    assert (result.exit_code, "no probabilities; give --greedy" in result.stderr) == (2, True)
    result = call("ope", trained[0], "--dataset", data_file, "--behaviour", "logged")
    assert (result.exit_code, "has no behavior_log_probs" in result.stderr) == (1, True)
    result = call("ope", trained[0], "--dataset", "no-such")
    assert result.exit_code == 2


def test_values_fitted_in_folds(
    call: Call, trained: tuple[Path, Result], data_file: Path, says_how_far: Callable[[Result, str], None]
) -> None:
    words = ("--dataset", data_file, "--q", "fqe", "--q-steps", "20", "--gamma", "0.9", "--json")
    result = call("ope", trained[0], *words)
    says_how_far(result, "values of tiny")
    found = json.loads(result.stdout)["estimates"]
    assert {"direct", "wdr", "wis"} <= set(found)
    assert found["direct"]["value"] != found["wis"]["value"]
    shown = call("ope", trained[0], *words[:-1]).output
    assert "train the fits longer (--q-steps)" in shown
    assert "n_steps" not in shown


def test_dynamics_are_fitted_where_they_are_named(
    call: Call, trained: tuple[Path, Result], data_file: Path, tmp_path: Path
) -> None:
    words = (
        "--dataset",
        data_file,
        "--estimator",
        "model_based",
        "--q-steps",
        "50",
        "--gamma",
        "0.9",
        "--json",
    )
    first, second = (json.loads(call("ope", trained[0], *words).stdout)["estimates"] for _ in range(2))
    assert list(first) == ["model_based"]
    assert first == second  # Of one seed.
    assert 1 <= first["model_based"]["value"] < 10.1  # Rewards of 1 at gamma 0.9.
    model = fitted_dynamics(get_dataset(str(data_file))[0], 50, seed=0).save(tmp_path / "model.okt")
    saved = call("ope", trained[0], *words[:4], "--dynamics", model, *words[6:])
    assert json.loads(saved.output)["estimates"] == first  # The same model, not fitted anew.
    alone = call("ope", trained[0], *words[:2], "--dynamics", model)
    assert (alone.exit_code, "give --estimator model_based as well" in alone.stderr) == (2, True)
    policy = call("ope", trained[0], *words[:4], "--dynamics", trained[0])
    assert "learned no dynamics; give a run of Dynamics or of MOPO, say" in policy.stderr
