"""Rows drawn more often than others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from offlinekit.algos import DiscreteCQL
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.sampling import blocks
from offlinekit.sampling.loss_weights import weighted
from offlinekit.sampling.n_step import drawable_rows
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.scalers import Scaling
from offlinekit.sampling.weights import Chooser, return_weights

CPU = torch.device("cpu")


def dataset(**options: Any) -> MDPDataset:
    """Episodes of 2, 1 and 3 rows with returns 0, 1 and 2 that start at 0, 1 and 3; row 5 ends by a timeout."""
    columns = [[0], [7], [1], [3], [7], [7]], np.zeros(6, int), [0, 0, 1, 2, 0, 0], [0, 1, 1, 0, 0, 0]
    return MDPDataset(*columns, **options)


def test_return_weights_by_hand() -> None:
    # Returns mapped to 0, 1/2, 1; temperature 1/2: exp(0), exp(1), exp(2); rows 2, 1 and 3 of them.
    raw = np.exp([0, 0, 1, 2, 2, 2])
    np.testing.assert_allclose(return_weights(dataset(), 0.5), raw / raw.sum())
    np.testing.assert_allclose(return_weights(dataset(), 1e9), 1 / 6)
    np.testing.assert_allclose(return_weights(dataset(), 1e-9), [0, 0, 0, 1 / 3, 1 / 3, 1 / 3])
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        return_weights(dataset(), 0)


def test_advantage_weights_by_hand() -> None:
    # Least squares of returns (0, 1, 2) on starts (0, 1, 3): slope = 3 / (14/3) = 9/14, intercept = 1 - 12/14.
    # Expected 2/14, 11/14, 29/14; advantages -2/14, 3/14, -1/14; mapped to 0, 1, 1/5.
    raw = np.exp(np.array([0, 0, 1, 0.2, 0.2, 0.2]) / 0.5)
    np.testing.assert_allclose(return_weights(dataset(), 0.5, advantage=True), raw / raw.sum(), rtol=1e-6)


def test_equal_returns_weigh_the_same() -> None:
    np.testing.assert_allclose(return_weights(dataset()[[1, 1]]), [0.5, 0.5])


def test_numbers_are_drawn_by_their_weights() -> None:
    chooser = Chooser(4, np.array([0, 1, 0, 3.0]), CPU)
    drawn = torch.bincount(chooser.draw(40_000, torch.Generator().manual_seed(0)), minlength=4)
    assert drawn[[0, 2]].tolist() == [0, 0]
    assert abs(drawn[3] / 40_000 - 0.75) < 0.01
    assert Chooser(2, np.array([1.0, 0]), CPU).draw(50, torch.Generator()).sum() == 0


@pytest.mark.parametrize("draw", [0.0, 0.25, 1 - 2**-53])
def test_numbers_of_no_weight_are_never_drawn(monkeypatch: pytest.MonkeyPatch, draw: float) -> None:
    chooser = Chooser(5, np.array([0, 1, 0, 3.0, 0]), CPU)
    monkeypatch.setattr(torch, "rand", lambda size, **_: torch.full((size,), draw, dtype=torch.float64))
    assert chooser.draw(1, torch.Generator()).item() == (1 if draw < 0.25 else 3)


def sampler(**options: Any) -> TransitionSampler:
    settings: dict[str, Any] = {"batch_size": 1000, "gamma": 0.9, "n_step": 1, "seed": 0}
    return TransitionSampler(dataset(), device=CPU, scaling=Scaling(), **{**settings, **options})


def test_the_sampler_draws_usable_rows_by_their_weights() -> None:
    # Row 5 has no next observation, so what is left of the weights is 1 : 1 for rows 2 and 3.
    weights = np.array([0, 0, 2, 2, 0, 9.0])
    rows = torch.cat([sampler(sampling_weights=weights).next_rows() for _ in range(4)])
    assert set(rows.tolist()) == {2, 3}
    assert abs((rows == 2).double().mean() - 0.5) < 0.04
    seen = sampler(sampling_weights=weights).sample().observations
    assert isinstance(seen, torch.Tensor)
    assert set(seen[:, 0].tolist()) == {1, 3}
    only = sampler(sampling_weights=weights, rows=np.array([3, 5])).next_rows()
    assert set(only.tolist()) == {3}


def test_weighted_draws_go_on_from_a_state() -> None:
    first = sampler(sampling_weights=np.arange(6.0))
    for _ in range(3):
        first.sample()
    state = first.state()
    expected = [first.next_rows() for _ in range(70)]
    second = sampler(sampling_weights=np.arange(6.0), seed=5)
    second.set_state(state)
    assert all(torch.equal(rows, second.next_rows()) for rows in expected)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(5), r"weights must have shape \[6\], one a row, got shape \[5\]"),
        (np.array([1, 1, -1, 0, 0, 0.0]), "at least 0, got -1.0 at row 2"),
        (np.array([1, np.nan, 1, 0, 0, 0.0]), "finite and at least 0, got nan at row 1"),
        (np.zeros(6), "weights are all 0"),
        (np.array([0, 0, 0, 0, 0, 1.0]), "weights are all 0"),
    ],
)
def test_wrong_weights(weights: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        sampler(sampling_weights=weights)


def test_an_algorithm_draws_by_weights_where_its_sampler_says_so() -> None:
    class Weighted(DiscreteCQL):
        """Sees the best episode alone."""

        def make_sampler(self, dataset: MDPDataset, **settings: Any) -> Any:
            return super().make_sampler(dataset, sampling_weights=return_weights(dataset, 1e-9), **settings)

    batch = Weighted(seed=0, observation_scaler=None).sample_batch(dataset())
    assert isinstance(batch.observations, torch.Tensor)
    assert set(batch.observations[:, 0].tolist()) == {3, 7}
    assert batch.rewards.max() == 2


def test_weights_need_the_dataset_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "POOL_BYTES", 1)
    mapped = MDPDataset.open(dataset().save(tmp_path / "a.h5", compress=False))
    with pytest.raises(UnsupportedError, match="sampling_weights= needs the dataset in memory"):
        blocks.sampler_for(mapped, sampling_weights=np.ones(6))


def whole(row: int, n_step: int, needs: tuple[str, ...], final: bool) -> bool:
    """Whether a row of episodes of 20, of which each second one ends by a terminal, has all that a batch needs."""
    end = row - row % 20 + 20
    terminal = end % 40 == 0
    reached = min(row + n_step, end if terminal or final else end - 1)
    follows = reached > row or "next_observations" not in needs
    return follows and ("next_actions" not in needs or reached < end or terminal)


@pytest.mark.parametrize("needs", [(), ("next_observations",), ("next_observations", "next_actions")])
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("final", [False, True])
def test_weights_have_mean_1_over_the_rows_that_are_drawn_also_from_a_file(
    needs: tuple[str, ...], n_step: int, final: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "POOL_BYTES", 1_000)
    rng, n = np.random.default_rng(0), 400
    last = np.arange(n) % 20 == 19
    terminals = last & (np.arange(n) % 40 == 39)
    seen = rng.normal(size=(n, 4)).astype(np.float32)
    more = {"final_observations": seen[last]} if final else {}
    data = MDPDataset(
        seen, rng.uniform(-1, 1, (n, 2)), np.ones(n), terminals, timeouts=last & ~terminals, **more
    )
    data.save(tmp_path / "data.h5", compress=False)
    weights = np.where(last, 500.0, 1.0 + np.arange(n) % 3)
    how: dict[str, Any] = {"batch_size": 16, "gamma": 0.9, "n_step": n_step, "device": torch.device("cpu")}
    how |= {"seed": 0, "scaling": Scaling(), "needs": needs}
    held = TransitionSampler(weighted(data, weights), **how)
    drawable = np.zeros(n, bool)
    drawable[held.usable_rows().numpy()] = True
    np.testing.assert_array_equal(drawable_rows(data, n_step, needs), drawable)
    np.testing.assert_array_equal(drawable, [whole(row, n_step, needs, final) for row in range(n)])
    expected = weights / weights[drawable].mean()
    mapped = blocks.BlockSampler(weighted(MDPDataset.open(tmp_path / "data.h5"), weights), **how)
    known = {row.tobytes(): weight for row, weight in zip(seen, expected, strict=True)}
    for sampler in (held, mapped):
        for batch in (sampler.sample() for _ in range(30)):
            wanted = [known[row.tobytes()] for row in batch.observations.numpy()]
            np.testing.assert_allclose(batch.weights.numpy(), wanted, rtol=1e-5)  # type: ignore[attr-defined]
