"""Rows of the published table: trained, resumed, scored and written once."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import click
import numpy as np
import pytest

from offlinekit.algos import BC
from offlinekit.datasets import MDPDataset, get_dataset, record
from offlinekit.metrics.ope.deployment_rules import Candidate
from offlinekit.metrics.ope.selection import Selection

pytest.importorskip("mujoco")
TASK = "maze2d-umaze"


@pytest.fixture(scope="module", autouse=True)
def data(tmp_path_factory: pytest.TempPathFactory) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OFFLINEKIT_DATA", str(tmp_path_factory.mktemp("data")))
        record(TASK, n_steps=400, score_episodes=1)
        yield patch


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "reproductions"))
    import benchmark

    return benchmark  # type: ignore[no-any-return]


def test_a_row_resumes_and_is_written_once(benchmark: ModuleType, tmp_path: Path) -> None:
    dataset, _ = get_dataset(f"recorded/{TASK}")
    stopped = benchmark.run_folder(tmp_path / "runs", TASK, "bc", 1)
    BC.preset("maze2d-umaze-v1", seed=1, device="cpu").fit(
        dataset, 12, out=stopped, checkpoint_interval=1, max_seconds=1e-9
    )
    assert not list(stopped.glob("*/policy.okt"))
    row = benchmark.train_row(TASK, "bc", 1, 12, tmp_path / "runs", tmp_path, 2)
    assert len(list(stopped.glob("*/policy.okt"))) == 1
    whole = BC.preset("maze2d-umaze-v1", seed=1, device="cpu").fit(dataset, 12, out=None)
    resumed, _ = benchmark.trained(dataset, "bc", 1, 12, stopped)
    np.testing.assert_array_equal(resumed.predict(dataset.observations), whole.predict(dataset.observations))

    kept = benchmark.rows_of("benchmark", tmp_path)
    assert [benchmark.key_of("benchmark", each) for each in kept] == [(TASK, "bc", 1)]
    assert (row["n_steps"], row["episodes"], row["stands_for"]) == (12, 2, "maze2d-umaze-v1")
    assert row["data"].startswith("data2:")
    assert json.loads(row["settings"]) == {"n_steps": 12, "observation_scaler": "standard"}
    episodes = [float(each["return"]) for each in benchmark.rows_of("benchmark_episodes", tmp_path)]
    # D4RL's references are 23.85 and 161.86.
    assert float(row["score"]) == pytest.approx(
        100 * (np.mean(episodes) - 23.85) / (161.86 - 23.85), abs=0.01
    )
    assert benchmark.has("benchmark", tmp_path, task=TASK, algo="bc", seed=1, n_steps=12)
    assert not benchmark.has("benchmark", tmp_path, task=TASK, algo="bc", seed=1, n_steps=13)


def test_rows_are_replaced_by_key_and_sorted(benchmark: ModuleType, tmp_path: Path) -> None:
    rows = [{"task": "b", "algo": "bc", "seed": seed, "episode": i} for seed in (1, 0) for i in (10, 2)]
    benchmark.add("benchmark_episodes", tmp_path, rows)
    benchmark.add(
        "benchmark_episodes", tmp_path, [{"task": "a", "algo": "bc", "seed": 0, "episode": 3}, rows[0]]
    )
    kept = [
        (row["task"], row["seed"], row["episode"])
        for row in benchmark.rows_of("benchmark_episodes", tmp_path)
    ]
    assert kept == [("a", "0", "3"), ("b", "0", "2"), ("b", "0", "10"), ("b", "1", "2"), ("b", "1", "10")]


def test_selection_stands_beside_the_rows(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark.train_row(TASK, "bc", 0, 3, tmp_path / "runs", tmp_path, 1)

    def select(policies: dict[str, BC], dataset: MDPDataset, **settings: object) -> Selection:
        assert policies["bc"].grad_step == 3
        assert (len(dataset), settings["seed"]) == (400, 0)
        return Selection(
            [Candidate("bc", 4.5, 0.25, 0.5, -0.125, held_back="few rows")], 4.0, None, "no bound"
        )

    monkeypatch.setattr(benchmark, "select_policy", select)
    benchmark.select_rows(TASK, 0, tmp_path / "runs", tmp_path, None)
    (row,) = benchmark.rows_of("benchmark_selection", tmp_path)
    assert (row["value"], row["behaviour"], row["lower_bound"]) == ("4.5", "4", "-0.125")
    assert (row["chosen"], row["held_back"], row["reason"]) == ("", "few rows", "no bound")
    with pytest.raises(click.UsageError, match="no run of maze2d-umaze with seed 5 is finished"):
        benchmark.select_rows(TASK, 5, tmp_path / "runs", tmp_path, None)


def test_a_recording_has_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "reproductions"))
    import record as recording

    figures = recording.figures(get_dataset(f"recorded/{TASK}")[0])
    assert (figures["task"], figures["rows"], figures["d4rl_minimum"]) == (TASK, 400, 23.85)


def test_scores_of_seeds_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    import write_results

    rows = [
        {"task": TASK, "algo": "bc", "seed": "0", "score": "1.00", "standard_error": "0.3"},
        {"task": TASK, "algo": "bc", "seed": "1", "score": "5.00", "standard_error": "0.4"},
        {"task": TASK, "algo": "iql", "seed": "0", "score": "7.25", "standard_error": "0.5"},
    ]
    monkeypatch.setattr(write_results, "rows_of", lambda table: rows)
    # Mean 3, deviation sqrt((4 + 4) / 1) = 2.8.
    assert write_results.scored(TASK, "bc") == "**3.0** ± 2.8 (2 seeds)"
    assert write_results.scored(TASK, "iql") == "**7.2** ± 0.5 (1 seed)"
    assert write_results.scored(TASK, "awac") == "not run yet"
    assert "| maze2d-umaze | 0 | PercentBC, TD3PlusBC, AWAC, ReBRAC |" in write_results.missing()
    assert "| maze2d-umaze | 1 | PercentBC, TD3PlusBC, AWAC, IQL, ReBRAC |" in write_results.missing()
