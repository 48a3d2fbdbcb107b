"""Datasets joined, thinned out and cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.editing.thinning import best_pieces, cut, first_rows, merge, piece_starts, subsample
from offlinekit.errors import DatasetError


def make(lengths: list[int], name: str = "a", **options: Any) -> MDPDataset:
    """Row i observes i and earns its episode's number; odd episodes end by a timeout with observation -i known."""
    ends = np.cumsum(lengths) - 1
    n_rows, last = int(ends[-1]) + 1, np.isin(np.arange(ends[-1] + 1), ends)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    return MDPDataset(
        np.arange(n_rows)[:, None],
        np.arange(n_rows) % 2,
        episode,
        last & (episode % 2 == 0),
        last,
        final_observations=-np.arange(len(lengths))[:, None] - 1.0,
        name=name,
        action_space=spaces.Discrete(2),
        **options,
    )


def test_first_rows_cut_an_episode_by_a_timeout() -> None:
    dataset = make([3, 2, 4], behavior_log_probs=-np.arange(9.0), create_mask=True)
    part = first_rows(dataset, 7)
    assert part.observations[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert (part.episode_starts.tolist(), part.episode_ends.tolist()) == ([0, 3, 5], [3, 5, 7])
    assert np.flatnonzero(part.terminals).tolist() == [2]
    assert np.flatnonzero(part.timeouts).tolist() == [4, 6]
    assert part.final_observations[:, 0].tolist() == [-1, -2, 7]
    assert part.behavior_log_probs.tolist() == [0, -1, -2, -3, -4, -5, -6]
    assert part.masks is not None
    assert part.masks.shape == (7, 1)
    assert dataset.timeouts.tolist() == make([3, 2, 4]).timeouts.tolist()


def test_first_rows_at_the_end_of_an_episode_are_as_they_were() -> None:
    dataset = make([3, 2, 4])
    part = first_rows(dataset, 5)
    assert part.episode_ends.tolist() == [3, 5]
    assert part.final_observations[:, 0].tolist() == [-1, -2]
    assert first_rows(dataset, 3).terminals.tolist() == [False, False, True]
    assert first_rows(dataset, 99) is dataset


def test_first_rows_of_unordered_transitions_take_their_own_next_observation() -> None:
    following = np.array([5.0, 6, 7, 8])[:, None]
    dataset = MDPDataset(
        np.zeros((4, 1)), np.zeros(4, int), np.zeros(4), np.zeros(4), next_observations=following
    )
    part = first_rows(dataset, 2)
    assert part.next_observations[:, 0].tolist() == [5, 6]
    assert part.final_observations[:, 0].tolist() == [6]


def test_merge_keeps_every_episode() -> None:
    merged = merge([make([3, 2]), make([1], "b")])
    assert merged.observations[:, 0].tolist() == [0, 1, 2, 3, 4, 0]
    assert (merged.name, merged.n_episodes) == ("a+b", 3)
    assert merged.metadata["edits"] == [{"merge": ["a", "b"], "weights": None, "rows": [5, 1], "seed": 0}]
    assert merge([merged, make([1], "c")], name="x").metadata["edits"][1]["merge"] == ["a+b", "c"]


def test_merge_by_weights_takes_what_the_scarcest_allows() -> None:
    # Shares 3 : 1. b's 100 rows are a quarter of 400, of which 300 come from a.
    a, b = make([10] * 50), make([5] * 20, "b")
    merged = merge([a, b], [3, 1])
    assert merged.metadata["edits"][0]["rows"] == [300, 100]
    kept = merged.observations[:300, 0]
    assert (np.diff(kept) > 0).all()
    assert kept.max() > 300  # Not the first ones alone.
    np.testing.assert_array_equal(kept, merge([a, b], [3, 1]).observations[:300, 0])
    assert (kept != merge([a, b], [3, 1], seed=1).observations[:300, 0]).any()
    assert len(merge([a, b], [1, 1], n_rows=40)) == 40


def test_merge_refuses() -> None:
    a = make([10] * 5)
    with pytest.raises(ValueError, match="at least one dataset"):
        merge([])
    for weights in ([1], [1, 0], [1, np.nan]):
        with pytest.raises(ValueError, match="weights must be 2 positive numbers"):
            merge([a, a], weights)
    with pytest.raises(ValueError, match=r"n_rows must be in \[1, 100\] .*, got 200"):
        merge([a, a], [1, 1], n_rows=200)
    with pytest.raises(ValueError, match="n_rows=3 needs weights"):
        merge([a], n_rows=3)
    other = MDPDataset(np.zeros((2, 5)), [0, 1], np.zeros(2), [0, 1])
    with pytest.raises(DatasetError, match="need one observation_space"):
        merge([a, other])


def test_subsample_by_episodes() -> None:
    dataset = make([2, 1, 3, 1, 3], name="d")  # Returns 0, 1, 6, 3, 12.
    assert subsample(dataset, first=2).observations[:, 0].tolist() == [0, 1, 2]
    top = subsample(dataset, top=0.4, name="best")
    assert top.observations[:, 0].tolist() == [3, 4, 5, 7, 8, 9]
    assert (top.name, top.metadata["edits"]) == ("best", [{"subsample": "d", "top": 0.4}])
    assert subsample(dataset, top=0.01).n_episodes == 1
    half = subsample(make([10] * 100), fraction=0.3, seed=2)
    assert len(half) == 300
    starts = half.observations[half.episode_starts, 0]
    assert (np.diff(starts) > 0).all()
    assert starts.max() > 500
    assert half.metadata["edits"] == [{"subsample": "a", "fraction": 0.3, "seed": 2}]
    assert subsample(dataset, fraction=1.0).n_episodes == 5


def test_subsample_refuses() -> None:
    with pytest.raises(ValueError, match="exactly one of fraction, top and first, got none"):
        subsample(make([2]))
    with pytest.raises(ValueError, match="exactly one of"):
        subsample(make([2]), top=0.1, first=1)
    with pytest.raises(ValueError, match=r"top must be in \(0, 1\], got 1.5"):
        subsample(make([2]), top=1.5)
    with pytest.raises(ValueError, match="first must be at least 1 episode, got 0"):
        subsample(make([2]), first=0)


def test_a_cut_ends_by_a_timeout_whose_next_observation_is_known() -> None:
    dataset = make([3, 4, 2], episode_extras={"pilot": np.array([7, 8, 9])}, extras={"id": np.arange(9)})
    parts = cut(dataset, np.array([0, 2, 3, 5, 6]))
    assert (parts.episode_starts.tolist(), parts.episode_ends.tolist()) == (
        [0, 2, 3, 5, 6, 7],
        [2, 3, 5, 6, 7, 9],
    )
    assert np.flatnonzero(parts.terminals).tolist() == [2, 8]
    assert np.flatnonzero(parts.timeouts).tolist() == [1, 4, 5, 6]
    assert parts.final_observations[:, 0].tolist() == [2, -1, 5, 6, -2, -3]
    assert parts.final_known.all()
    assert parts.episode_extras["pilot"].tolist() == [7, 7, 8, 8, 8, 9]
    assert parts.extras["id"].tolist() == list(range(9))
    assert np.flatnonzero(dataset.timeouts).tolist() == [6]  # The dataset is as it was.
    assert dataset.final_observations[:, 0].tolist() == [-1, -2, -3]
    assert cut(dataset, np.array([0, 3])) is dataset


def test_a_cut_makes_known_what_follows_it_and_nothing_else() -> None:
    dataset = MDPDataset(
        np.arange(5.0)[:, None], np.zeros((5, 1)), np.zeros(5), np.zeros(5), timeouts=[0, 0, 1, 0, 1]
    )
    parts = cut(dataset, np.array([1]))
    assert not dataset.final_known.any()
    assert parts.final_known.tolist() == [True, False, False]


def test_pieces_end_at_terminals_and_after_so_many_rows() -> None:
    dataset = make([5, 3, 4])  # Terminals at rows 4 and 11, a timeout at row 7.
    assert piece_starts(dataset, None).tolist() == [0, 5, 8]
    assert piece_starts(dataset, 4).tolist() == [0, 4, 5, 9]
    assert piece_starts(dataset, 100).tolist() == [0, 5]
    assert piece_starts(dataset, 1).tolist() == list(range(12))


def test_the_best_pieces_may_lie_in_several_episodes() -> None:
    rewards = [0, 1, 0, 0, 1, 1, 2, 0, 9]
    timeouts = [0, 0, 1, 0, 0, 1, 0, 0, 0]
    dataset = MDPDataset(np.arange(9.0)[:, None], np.zeros((9, 1)), rewards, np.zeros(9), timeouts=timeouts)
    best = best_pieces(dataset, np.array([0, 4, 8]), 2)  # They return 1, 4 and 9.
    assert best.observations[:, 0].tolist() == [4, 5, 6, 7, 8]
    assert best.episode_lengths().tolist() == [2, 2, 1]
    assert best_pieces(dataset, np.array([0, 4, 8]), 1).observations[:, 0].tolist() == [8]
