"""A plain file that memory would not hold, at every door: nothing copies its columns whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from click.testing import CliRunner
from gymnasium import spaces

from offlinekit import memory
from offlinekit.algos import BC, TD3, MLPEncoder
from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.formats import mapping
from offlinekit.datasets.sources import native
from offlinekit.errors import DatasetWarning, UnsupportedError
from offlinekit.metrics import ope
from offlinekit.metrics.ope import held_data, selection
from offlinekit.sampling import blocks
from offlinekit.sweeps.pack import fitted_start_values
from offlinekit.training.online import remembering

SMALL: dict[str, Any] = {"batch_size": 8, "encoder": MLPEncoder((4,)), "device": "cpu"}
N, D = 400_000, 60
BYTES = N * D * 4
"""Of the observations, 96 MB, of which no door may take 60%."""


class Still(gymnasium.Env[Any, Any]):
    """Shows zeros, for two steps an episode."""

    observation_space, action_space = spaces.Box(-1, 1, (D,)), spaces.Box(0, 1, (2,))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.step_of_episode = 0
        return np.zeros(D, np.float32), {}

    def step(self, action: Any) -> Any:
        self.step_of_episode += 1
        return np.zeros(D, np.float32), 1.0, self.step_of_episode == 2, False, {}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    observations, actions = rng.random((N, D), np.float32), rng.random((N, 2), np.float32)
    dataset = MDPDataset(observations, actions, np.arange(N) % 7, np.arange(N) % 1000 == 999)
    folder = tmp_path_factory.mktemp("large")
    discrete = {"action_space": spaces.Discrete(2), "behavior_log_probs": np.full(N, np.log(0.5))}
    plain = (observations, np.arange(N) % 2, np.arange(N) % 7, np.arange(N) % 1000 == 999)
    MDPDataset(*plain, **discrete).save(folder / "discrete.h5", compress=False)
    return dataset.save(folder / "large.h5", compress=False)


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "memory_limit", lambda: BYTES)
    monkeypatch.setattr(held_data, "memory_limit", lambda: BYTES)
    monkeypatch.setattr(remembering, "memory_limit", lambda: BYTES)
    monkeypatch.setattr(blocks, "POOL_BYTES", 1 << 23)
    monkeypatch.setitem(blocks.BlockSampler.__init__.__kwdefaults__, "pool_bytes", 1 << 22)
    monkeypatch.setitem(blocks.BlockSampler.__init__.__kwdefaults__, "block_bytes", 1 << 20)
    monkeypatch.setattr(mapping, "LARGE", 1 << 20)


def command(*words: str) -> None:
    result = CliRunner().invoke(main, [*words], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def opened(path: Path) -> MDPDataset:
    return get_dataset(path)[0]


def describe(path: Path, out: Path) -> None:
    assert opened(path).statistics()["observations"]["mean"][0] == pytest.approx(0.5, abs=0.01)


def split(path: Path, out: Path) -> None:
    first, second = opened(path).split(0.7)
    assert len(first) + len(second) == N
    whole = MDPDataset.open(path)
    drawn = np.random.default_rng(0).permutation(whole.n_episodes)[:280]
    rows = np.concatenate([np.arange(i * 1000, i * 1000 + 1000) for i in np.sort(drawn)[:3]])
    np.testing.assert_array_equal(first.observations[:3000], whole.observations[rows])


def joined(path: Path, out: Path) -> None:
    whole = opened(path)
    both = whole.concat(whole)
    np.testing.assert_array_equal(both.observations[N : N + 9], whole.observations[:9])


def even_odds(observations: np.ndarray) -> np.ndarray:
    """Takes either of two actions as often as the other."""
    return np.full((len(observations), 2), 0.5)


def estimate(path: Path, out: Path) -> None:
    with pytest.warns(DatasetWarning, match=r"larger than estimates may hold: [\d,]+ of 400 episodes"):
        report = ope.estimate(even_odds, opened(path.with_name("discrete.h5")), ["is"], gamma=1.0)
    # Each episode earns 1,000 rows of 0 to 6, 3 on average, and every weight is 1.
    assert report.estimates["is"].value == pytest.approx(3000, abs=20)


def fine_tune(mixing: str) -> Callable[[Path, Path], None]:
    def run(path: Path, out: Path) -> None:
        TD3(seed=0, **SMALL).fit_online(
            Still(), 4, dataset=opened(path), mixing=mixing, buffer_size=100, out=out, progress=False
        )

    return run


def refused(path: Path, out: Path) -> None:
    for mixing in ("append", "balanced"):
        with pytest.raises(
            UnsupportedError, match=r"held in memory.* give (mixing='symmetric'), which draws"
        ):
            fine_tune(mixing)(path, out)
    assert not out.exists()


DOORS: dict[str, Callable[[Path, Path], None]] = {
    "statistics": describe,
    "split": split,
    "concat": joined,
    "ope.estimate": estimate,
    "fit_online, half of each": fine_tune("symmetric"),
    "fit_online, among new rows": refused,
    "info": lambda path, _: command("datasets", "info", str(path)),
    "info --json": lambda path, _: command("datasets", "info", str(path), "--json"),
    "validate": lambda path, _: command("datasets", "validate", str(path)),
    "relabel": lambda path, out: command(
        "datasets", "relabel", str(path), str(out), "--reward", "scale=2", "--plain"
    ),
    "subsample": lambda path, out: command(
        "datasets", "subsample", str(path), str(out), "--fraction", "0.9", "--plain"
    ),
    "merge": lambda path, out: command("datasets", "merge", str(path), str(path), str(out), "--plain"),
    "convert": lambda path, out: command("datasets", "convert", str(path), str(out), "--plain"),
}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_copies_the_columns(door: str, path: Path, tmp_path: Path) -> None:
    opened(path).statistics()  # Imports count, too.
    tracemalloc.start()
    DOORS[door](path, tmp_path / "out.h5")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.6 * BYTES


def test_sweeps_by_fqe_estimate_from_what_fits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[MDPDataset] = []

    def fitted(policies: dict[str, Any], dataset: MDPDataset, **_: Any) -> dict[str, list[float]]:
        held.append(dataset)
        return {name: [0.0] for name in policies}

    monkeypatch.setattr(selection, "fitted_values", fitted)
    data = opened(path)
    algos = [BC(seed=seed, **SMALL).build(data[:2]) for seed in range(2)]
    with pytest.warns(DatasetWarning, match=r"larger than estimates may hold: [\d,]+ of 400 episodes"):
        assert fitted_start_values(algos, data, 3, 0) == [0.0, 0.0]
    # A tenth of the memory, which the observations would fill, for each of two policies: 20 of 400 episodes or fewer.
    assert 15 <= held[0].n_episodes <= 20


def test_what_memory_holds_is_loaded_and_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mapping.is_mapped(opened(path).observations)
    monkeypatch.setattr(native, "memory_limit", lambda: 10 * BYTES)
    assert not mapping.is_mapped(opened(path).observations)


def test_the_limit_is_the_lowest_one_stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated, unlimited = tmp_path / "memory.max", tmp_path / "unlimited"
    stated.write_text("1234\n")
    unlimited.write_text("max\n")  # As Linux writes it.
    monkeypatch.setattr(memory, "CONTROL_GROUP", (unlimited, tmp_path / "missing"))
    assert memory.memory_limit() > 1 << 20
    monkeypatch.setattr(memory, "CONTROL_GROUP", (unlimited, stated))
    assert memory.memory_limit() == 1234
