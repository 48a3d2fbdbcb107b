"""Properties of every dataset, tested on generated ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offlinekit.datasets import MDPDataset
from offlinekit.types import leaves, map_tree

pytestmark = pytest.mark.filterwarnings("ignore::offlinekit.errors.DatasetWarning")  # Of random flags.


@st.composite
def datasets(draw: st.DrawFn) -> MDPDataset:
    """Datasets of 1 to 30 rows: any flags, any structure, finals known or not, next column or not."""
    n = draw(st.integers(1, 30))
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    flags = [np.asarray(draw(st.lists(st.booleans(), min_size=n, max_size=n))) for _ in range(2)]
    tree: Any = draw(
        st.sampled_from([0, {"a": 0, "b": (0, 0)}, (0, {"z": 0})]).map(
            lambda shape: map_tree(lambda _: generator.normal(size=(n, 2)).astype(np.float32), shape)
        )
    )
    options: dict[str, Any] = {}
    how = draw(st.sampled_from(["unknown", "shift", "column"]))
    if how != "unknown":
        options["next_observations"] = map_tree(
            lambda leaf: np.roll(leaf, -1, axis=0) + (how == "column"), tree
        )
    discrete = draw(st.booleans())
    actions = generator.integers(0, 3, n) if discrete else generator.normal(size=(n, 2))
    return MDPDataset(
        tree,
        actions,
        generator.normal(size=n),
        flags[0],
        timeouts=flags[1],
        create_mask=draw(st.booleans()),
        mask_size=2,
        **options,
    )


def columns_of(dataset: MDPDataset) -> list[np.ndarray[Any, Any]]:
    following = dataset.next_observations_at(np.arange(len(dataset)))
    masks = np.zeros(0) if dataset.masks is None else dataset.masks
    return [
        *leaves(dataset.observations),
        *leaves(following),
        *leaves(dataset.final_observations),
        dataset.actions,
        dataset.rewards,
        dataset.terminals,
        dataset.timeouts,
        dataset.episode_starts,
        dataset.episode_ends,
        dataset.final_known,
        masks,
    ]


def assert_same(left: MDPDataset, right: MDPDataset) -> None:
    for a, b in zip(columns_of(left), columns_of(right), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@settings(deadline=None)
@given(datasets())
def test_each_episode_ends_once(dataset: MDPDataset) -> None:
    ends = dataset.terminals.astype(int) + dataset.timeouts
    assert np.flatnonzero(ends).tolist() == (dataset.episode_ends - 1).tolist()
    assert ends.max() == 1
    assert dataset.episode_lengths().sum() == len(dataset)
    np.testing.assert_allclose(
        dataset.episode_returns().sum(), dataset.rewards.sum(dtype=np.float64), atol=1e-9
    )


@settings(deadline=None)
@given(datasets(), st.data())
def test_slices_put_together_give_the_dataset_back(dataset: MDPDataset, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, dataset.n_episodes))
    parts = [
        dataset[part] for part in (slice(0, cut), slice(cut, None)) if len(range(dataset.n_episodes)[part])
    ]
    assert_same(dataset, parts[0].concat(*parts[1:]))
    assert_same(dataset, dataset[0].concat(*list(dataset)[1:]))


@settings(deadline=None)
@given(datasets(), st.data())
def test_choosing_episodes_is_choosing_their_rows(dataset: MDPDataset, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, dataset.n_episodes - 1), min_size=1, max_size=6))
    expected = [row for e in chosen for row in range(dataset.episode_starts[e], dataset.episode_ends[e])]
    part = dataset[chosen]
    np.testing.assert_array_equal(part.rewards, dataset.rewards[expected])
    following = dataset.next_observations_at(expected)
    for ours, theirs in zip(
        leaves(part.next_observations_at(np.arange(len(part)))), leaves(following), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@settings(deadline=None, max_examples=40)
@given(datasets())
def test_what_is_saved_is_what_is_loaded(tmp_path_factory: Any, dataset: MDPDataset) -> None:
    path = Path(tmp_path_factory.mktemp("saved")) / "d.h5"
    loaded = MDPDataset.load(dataset.save(path))
    assert_same(dataset, loaded)
    assert loaded.observation_space == dataset.observation_space
    assert loaded.action_space == dataset.action_space
    assert loaded.save(path.with_name("again.h5")).read_bytes() == path.read_bytes()


@settings(deadline=None)
@given(datasets(), st.integers(0, 99))
def test_samples_are_rows_that_can_be_learned_from(dataset: MDPDataset, seed: int) -> None:
    last = np.isin(np.arange(len(dataset)), dataset.episode_ends - 1)
    episode = np.searchsorted(dataset.episode_ends, np.arange(len(dataset)), side="right")
    usable = ~last | dataset.terminals | dataset.final_known[episode]
    if not usable.any():
        return
    rewards = dataset.sample(64, seed).rewards
    assert set(rewards.tolist()) <= set(dataset.rewards[usable].tolist())


@settings(deadline=None)
@given(datasets(), st.floats(0.01, 0.99), st.integers(0, 99))
def test_splits_share_no_episode_and_lose_none(dataset: MDPDataset, fraction: float, seed: int) -> None:
    if dataset.n_episodes < 2:
        return
    first, second = dataset.split(fraction, seed)
    assert first.n_episodes + second.n_episodes == dataset.n_episodes
    both = np.concatenate([first.rewards, second.rewards])
    np.testing.assert_array_equal(np.sort(both), np.sort(dataset.rewards))
