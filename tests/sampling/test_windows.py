"""Windows of steps: what stands where, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError
from offlinekit.sampling.scalers import Scaling
from offlinekit.sampling.windows import TrajectorySampler
from offlinekit.types import leaves


def dataset(**options: Any) -> MDPDataset:
    """Episodes of 4 and 2 rows; row i observes 10 + i, acts i + 1, earns 1, 2, 3, 4 and 5, 6; the first is terminal."""
    columns = {
        "observations": np.arange(10.0, 16)[:, None],
        "actions": np.arange(6) + 1,
        "rewards": np.arange(6) + 1.0,
    }
    space = {} if "actions" in options else {"action_space": spaces.Discrete(7)}
    return MDPDataset(**{**columns, "terminals": np.arange(6) == 3, **space, **options})


def sampler(data: MDPDataset | None = None, **options: Any) -> TrajectorySampler:
    return TrajectorySampler(data or dataset(), **{"context": 3, "batch_size": 4, **options})


def test_windows_that_end_with_a_row() -> None:
    batch = sampler(gamma=0.5).gather(torch.tensor([1, 3, 4]))
    # Row 1 has one step before it; row 3 a whole window; row 4 begins its episode.
    assert batch.valid.tolist() == [[False, True, True], [True, True, True], [False, False, True]]
    assert isinstance(batch.observations, torch.Tensor)
    assert batch.observations[..., 0].tolist() == [[0, 10, 11], [11, 12, 13], [0, 0, 14]]
    assert batch.actions.tolist() == [[0, 1, 2], [2, 3, 4], [0, 0, 5]]
    assert batch.rewards.tolist() == [[0, 1, 2], [2, 3, 4], [0, 0, 5]]
    # Returns to go by 0.5: row 3: 4; 2: 3 + 2 = 5; 1: 2 + 2.5 = 4.5; 0: 1 + 2.25 = 3.25. Row 5: 6; 4: 5 + 3 = 8.
    assert batch.returns_to_go.tolist() == [[0, 3.25, 4.5], [4.5, 5, 4], [0, 0, 8]]
    assert batch.terminals.tolist() == [[False] * 3, [False, False, True], [False] * 3]
    assert batch.timesteps.tolist() == [[0, 0, 1], [1, 2, 3], [0, 0, 0]]
    assert (batch.actions.dtype, batch.timesteps.dtype) == (torch.int64, torch.int64)


def test_windows_that_begin_with_a_row() -> None:
    batch = sampler(anchor="first").gather(torch.tensor([1, 3, 4, 0]))
    assert isinstance(batch.observations, torch.Tensor)
    assert batch.observations[..., 0].tolist() == [[11, 12, 13], [0, 0, 13], [0, 14, 15], [10, 11, 12]]
    assert batch.valid.sum(1).tolist() == [3, 1, 2, 3]
    assert batch.returns_to_go[3].tolist() == [10, 9, 7]
    assert batch.timesteps[2].tolist() == [0, 0, 1]


def test_trees_images_and_continuous_actions_are_scaled_once() -> None:
    images = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
    rng = np.random.default_rng(0)
    data = dataset(
        observations={"camera": images, "rest": (rng.normal(size=(6, 2, 3)), np.arange(6.0)[:, None])},
        actions=np.linspace(-2, 2, 12).reshape(6, 2),
    )
    scaling = Scaling.fit(data, "standard", "minmax", None)
    batch = sampler(data, scaling=scaling).gather(torch.tensor([1]))
    seen = batch.observations
    assert isinstance(seen, dict)
    assert seen["camera"].dtype == torch.uint8
    assert seen["camera"][0].tolist() == [[[0, 0], [0, 0]], images[0].tolist(), images[1].tolist()]
    expected = scaling.observations(data.observations)
    for found, whole in zip(leaves(seen["rest"]), leaves(expected["rest"]), strict=True):
        assert not found[0, 0].any()
        np.testing.assert_allclose(found[0, 1:], whole[:2], rtol=1e-6)
    np.testing.assert_allclose(batch.actions[0, 1:], scaling.action.transform(data.actions[:2]), rtol=1e-6)
    assert not batch.actions[0, 0].any()


def test_contexts_longer_than_any_episode() -> None:
    batch = sampler(context=9).gather(torch.tensor([3]))
    assert batch.valid[0].tolist() == [False] * 5 + [True] * 4
    assert batch.rewards[0].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4]
    single = sampler(context=1).gather(torch.arange(6))
    assert single.rewards[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert single.valid.all()


def test_episodes_are_drawn_by_their_length_or_equally() -> None:
    each = torch.cat([sampler(batch_size=6000).next_rows() for _ in range(2)])
    assert (torch.bincount(each).double() / len(each) - 1 / 6).abs().max() < 0.02
    equal = 1 / np.repeat(dataset().episode_lengths(), dataset().episode_lengths())
    rows = sampler(batch_size=12000, sampling_weights=equal).next_rows()
    assert abs((rows >= 4).double().mean() - 0.5) < 0.02


def test_sampling_goes_on_from_a_state() -> None:
    first = sampler(seed=1)
    first.sample()
    state = first.state()
    expected = [first.sample() for _ in range(3)]
    second = sampler(seed=2)
    second.set_state(state)
    for one in expected:
        other = second.sample()
        assert all(torch.equal(a, b) for a, b in zip(leaves(tuple(one)), leaves(tuple(other)), strict=True))
    before = torch.random.get_rng_state()
    sampler().sample()
    assert torch.equal(before, torch.random.get_rng_state())
    with pytest.warns(UserWarning, match="minibatches are drawn anew"):
        second.set_state(state[:5])


@pytest.mark.parametrize(("pad", "before"), [("zero", [0, 0]), ("repeat", [4, 4])])
def test_images_are_stacked_within_their_episode(pad: str, before: list[int]) -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 2, 2), np.uint8)
    batch = sampler(dataset(observations=images), frame_stack=3, frame_pad=pad).gather(torch.tensor([3, 4]))
    assert isinstance(batch.observations, torch.Tensor)
    assert batch.observations.shape == (2, 3, 3, 2, 2)
    # Row 3 after rows 1 and 2; row 1 has one image before it, and row 4 begins its episode.
    assert batch.observations[0, :, :, 0, 0].tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3]]
    assert batch.observations[1, :, :, 0, 0].tolist() == [[0, 0, 0], [0, 0, 0], [*before, 4]]


def test_what_cannot_be_cut_into_windows() -> None:
    for name in ("context", "batch_size"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            sampler(**{name: 0})
    with pytest.raises(ValueError, match="anchor must be one of 'first', 'last', 'episode', got 'end'"):
        sampler(anchor="end")
    with pytest.raises(DatasetError, match="frame_stack=2 needs uint8 images"):
        sampler(frame_stack=2)
    with pytest.raises(DatasetError, match="windows need rows in temporal order"):
        sampler(dataset(next_observations=np.zeros((6, 1))))
