from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset, get_dataset, register_dataset, schema, unregister_dataset
from offlinekit.errors import DatasetError, DatasetWarning, UnsupportedError


def small(**options: object) -> MDPDataset:
    """Six rows in three episodes of 3, 1 and 2: terminal, timeout, unterminated tail."""
    arguments: dict[str, object] = {
        "observations": np.arange(12, dtype=np.float32).reshape(6, 2),
        "actions": np.array([0, 1, 2, 0, 1, 2]),
        "rewards": np.array([1.0, 2.0, 3.0, 10.0, -1.0, -2.0]),
        "terminals": [0, 0, 1, 0, 0, 0],
        "timeouts": [0, 0, 0, 1, 0, 0],
    }
    return MDPDataset(**{**arguments, **options})  # type: ignore[arg-type]


def test_columns_and_episodes() -> None:
    dataset = small()
    assert len(dataset) == 6
    assert dataset.n_episodes == 3
    assert dataset.episode_starts.tolist() == [0, 3, 4]
    assert dataset.episode_ends.tolist() == [3, 4, 6]
    assert dataset.terminals.tolist() == [False, False, True, False, False, False]
    assert dataset.timeouts.tolist() == [False, False, False, True, False, True]
    assert dataset.episode_returns().tolist() == [6.0, 10.0, -3.0]
    assert dataset.episode_lengths().tolist() == [3, 1, 2]
    assert dataset.rewards.dtype == np.float32
    assert dataset.actions.dtype == np.int64
    assert dataset.action_space == spaces.Discrete(3)
    assert dataset.observation_space == spaces.Box(-np.inf, np.inf, (2,), np.float32)


def test_the_schema_lists_the_arguments_and_attributes() -> None:
    assert sorted(inspect.signature(MDPDataset).parameters) == sorted(schema.ARGUMENTS)
    attributes = vars(small(create_mask=True)).keys() - {"episode_starts", "episode_ends", *schema.FACTS}
    assert sorted(attributes) == sorted(schema.names(is_kept=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reward": [0.0]}, "MDPDataset has no argument 'reward'; did you mean 'rewards'?"),
        ({"xyz": 1}, "MDPDataset has no argument 'xyz'; it has: observations, actions, rewards, terminals"),
        ({}, "MDPDataset: missing a required argument: 'rewards'; its arguments are observations, actions"),
    ],
)
def test_wrong_arguments_are_named_at_every_door(given: dict[str, object], message: str) -> None:
    columns = {"observations": [[0.0]], "actions": [0], "terminals": [True], **given}
    with pytest.raises(TypeError, match=re.escape(message)):
        MDPDataset(**columns)  # type: ignore[arg-type]  # Of the wrong names.
    register_dataset("wrong-arguments")(lambda: columns)
    try:
        with pytest.raises(TypeError, match=re.escape(message)):
            get_dataset("wrong-arguments")
    finally:
        unregister_dataset("wrong-arguments")


def test_a_doubt_is_said_where_the_dataset_is_made() -> None:
    rewards = np.array([16777216.0, 16777217.0])  # Alike in float32.
    with pytest.warns(DatasetWarning) as caught:
        MDPDataset(np.zeros((2, 1)), [0, 1], rewards, [False, True])
    assert [one.filename for one in caught] == [__file__] * len(caught)


def test_no_copy_of_columns_of_the_right_dtype() -> None:
    observations = np.zeros((6, 2), np.float32)
    assert np.shares_memory(small(observations=observations).observations, observations)


def test_terminal_wins_over_timeout() -> None:
    dataset = small(timeouts=[0, 0, 1, 1, 0, 0])
    assert dataset.terminals[2]
    assert not dataset.timeouts[2]


def test_episode_terminals_rule_where_episodes_end() -> None:
    dataset = small(timeouts=None, episode_terminals=[0, 0, 1, 0, 1, 0])
    assert dataset.episode_ends.tolist() == [3, 5, 6]
    assert dataset.timeouts.tolist() == [False, False, False, False, True, True]


def test_a_terminal_on_the_last_row_needs_no_episode_end() -> None:
    dataset = small(timeouts=None, terminals=[0, 0, 1, 0, 0, 1], episode_terminals=[0, 0, 1, 0, 0, 0])
    assert dataset.episode_ends.tolist() == [3, 6]
    assert dataset.terminals.sum() == 2


@pytest.mark.parametrize("field", ["terminals", "timeouts"])
def test_a_flag_inside_an_episode_contradicts_episode_terminals(field: str) -> None:
    flags = {"terminals": [0] * 6, "timeouts": [0] * 6, field: [0, 1, 0, 0, 0, 0]}
    with pytest.raises(
        DatasetError, match=rf"{field} must not be set where.* at row 1.*={field} \* episode_terminals"
    ):
        small(**flags, episode_terminals=[0, 0, 1, 0, 0, 1])


def test_unknown_final_observations_are_zeros() -> None:
    dataset = small()
    assert dataset.next_observations is None
    assert dataset.final_known.tolist() == [False] * 3
    assert not dataset.final_observations.any()


def test_next_observations_that_repeat_the_row_below_are_folded() -> None:
    dataset = small()
    following = np.roll(dataset.observations, -1, axis=0)
    following[[2, 3, 5]] = [[70, 71], [80, 81], [90, 91]]
    folded = small(next_observations=following)
    assert folded.next_observations is None
    assert folded.final_known.all()
    assert folded.final_observations.tolist() == [[70, 71], [80, 81], [90, 91]]
    np.testing.assert_array_equal(folded.next_observations_at(np.arange(6)), following)


def test_next_observations_that_differ_inside_an_episode_are_kept() -> None:
    following = np.full((6, 2), 7.0)
    dataset = small(next_observations=following)
    np.testing.assert_array_equal(dataset.next_observations, following)
    np.testing.assert_array_equal(dataset.next_observations_at([0, 5]), following[[0, 5]])
    np.testing.assert_array_equal(dataset[1].next_observations, following[:1])


def test_final_observations_by_episode() -> None:
    dataset = small(final_observations=np.full((3, 2), np.nan), final_known=[0, 0, 0])
    assert dataset.final_observations.tolist() == [[0, 0]] * 3
    dataset = small(final_observations=[[1, 2], [3, 4], [5, 6]], final_known=[1, 0, 1])
    assert dataset.final_observations.tolist() == [[1, 2], [0, 0], [5, 6]]
    assert dataset.next_observations_at([0, 2, 4, 5]).tolist() == [[2, 3], [1, 2], [10, 11], [5, 6]]


def test_one_episode_and_ranges_are_views() -> None:
    dataset = small(create_mask=True)
    for part in (dataset[0], dataset[1:], dataset[[1, 2]], dataset[np.array([True, True, False])]):
        for name in ("observations", "actions", "rewards", "terminals", "timeouts", "masks"):
            assert np.shares_memory(getattr(part, name), getattr(dataset, name))


def test_episodes_are_iterated_both_ways() -> None:
    assert [len(episode) for episode in small()] == [3, 1, 2]
    assert [len(episode) for episode in reversed(small())] == [2, 1, 3]


def test_indexing_chooses_episodes() -> None:
    dataset = small(final_observations=[[1, 1], [2, 2], [3, 3]])
    assert dataset[-1].rewards.tolist() == [-1, -2]
    assert dataset[2:0:-1].rewards.tolist() == [-1, -2, 10]
    assert dataset[[-1, 0]].rewards.tolist() == [-1, -2, 1, 2, 3]
    part = dataset[[2, 0, 0]]
    assert part.rewards.tolist() == [-1, -2, 1, 2, 3, 1, 2, 3]
    assert part.episode_starts.tolist() == [0, 2, 5]
    assert part.episode_ends.tolist() == [2, 5, 8]
    assert part.final_observations.tolist() == [[3, 3], [1, 1], [1, 1]]
    assert [episode.n_episodes for episode in dataset] == [1, 1, 1]


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (6, IndexError, "episode 6 is not there: the dataset has 3 episodes"),
        (-7, IndexError, "episode -7"),
        (3, DatasetError, "episode 3 is not there.* counts its 6 rows.* below dataset.n_episodes"),
        ([0, 5], DatasetError, "episode 5 is not there"),
        ([True, False], IndexError, "one entry for each of the 3 episodes, got 2"),
        (slice(3, 9), DatasetError, "no episode is chosen"),
        ([], DatasetError, "no episode is chosen"),
        ([0.5], TypeError, "episodes are chosen by an int"),
        ("a", TypeError, "episodes are chosen by an int"),
    ],
)
def test_wrong_indices(key: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        small()[key]


def test_split_is_by_episode_and_by_seed() -> None:
    dataset = MDPDataset(np.arange(20)[:, None], np.zeros((20, 1)), np.arange(20), np.tile([0, 1], 10))
    first, second = dataset.split(0.7, seed=1)
    assert (first.n_episodes, second.n_episodes) == (7, 3)
    both = np.concatenate([first.rewards, second.rewards])
    assert sorted(both.tolist()) == list(range(20))
    assert (np.diff(first.rewards) > 0).all()
    assert dataset.split(0.7, seed=1)[0].rewards.tolist() == first.rewards.tolist()
    assert dataset.split(0.7, seed=2)[0].rewards.tolist() != first.rewards.tolist()
    assert [part.n_episodes for part in dataset.split(0.999)] == [9, 1]


def of_days(days: list[float], **given: Any) -> MDPDataset:
    """Episodes of two rows, which begin on these days and end half a day later."""
    n = 2 * len(days)
    rows = np.repeat(days, 2) + np.tile([0.0, 0.5], len(days))
    columns = (np.arange(n)[:, None].astype(np.float32), np.zeros(n, np.int64), np.zeros(n), np.arange(n) % 2)
    return MDPDataset(*columns, extras={"day": rows, "pair": np.zeros((n, 2))}, **given)


def test_split_by_time_puts_earlier_episodes_first() -> None:
    """Days 3, 1, 2, 1, of which 0.5 are the two of day 1, as recorded: episodes 1 and 3."""
    first, second = of_days([3.0, 1.0, 2.0, 1.0]).split(0.5, by="day")
    assert first.observations[:, 0].tolist() == [2.0, 3.0, 6.0, 7.0]
    assert second.observations[:, 0].tolist() == [0.0, 1.0, 4.0, 5.0]
    of_episodes = of_days([3.0, 1.0], episode_extras={"rank": np.array([0, 1])})
    assert of_episodes.split(0.5, by="rank")[0].extras["day"].tolist() == [3.0, 3.5]


def test_walk_forward_learns_from_what_came_before() -> None:
    """Days 3, 1, 2, 0 in three periods of 2, 1 and 1 episodes: {0, 1} before {2}, then {0, 1, 2} before {3}."""
    pairs = list(of_days([3.0, 1.0, 2.0, 0.0]).walk_forward(2, by="day"))
    starts = [[part.extras["day"][part.episode_starts].tolist() for part in pair] for pair in pairs]
    assert starts == [[[1.0, 0.0], [2.0]], [[1.0, 2.0, 0.0], [3.0]]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.split(by="dya"), r"by must be one of \['day', 'pair'\], got 'dya'; did you mean 'day'"),
        (lambda d: d.split(by="pair"), "must be one finite number a row"),
        (lambda d: next(d.walk_forward(4, by="day")), "n_folds must be from 1 to 3, got 4"),
        (lambda d: next(d.walk_forward(0, by="day")), "n_folds must be from 1 to 3, got 0"),
    ],
)
def test_what_has_no_order_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(of_days([3.0, 1.0, 2.0, 0.0]))


def test_split_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\), got 1"):
        small().split(1)
    with pytest.raises(DatasetError, match="at least two episodes"):
        small()[0].split(0.5)


def test_filter_by_mask_and_by_predicate() -> None:
    dataset = small()
    assert dataset.filter_episodes(dataset.episode_returns() > 0).rewards.tolist() == [1, 2, 3, 10]
    assert dataset.filter_episodes(lambda episode: len(episode) == 2).rewards.tolist() == [-1, -2]
    with pytest.raises(DatasetError, match="no episode is chosen"):
        dataset.filter_episodes(dataset.episode_returns() > 99)


def test_concat_keeps_episodes_apart() -> None:
    dataset = small(final_observations=[[1, 1], [2, 2], [3, 3]], create_mask=True, mask_size=2)
    joined = dataset[2].concat(dataset[0], dataset[1])
    assert joined.rewards.tolist() == [-1, -2, 1, 2, 3, 10]
    assert joined.episode_ends.tolist() == [2, 5, 6]
    assert joined.final_observations.tolist() == [[3, 3], [1, 1], [2, 2]]
    np.testing.assert_array_equal(joined.masks, dataset[[2, 0, 1]].masks)


def test_concat_with_a_full_next_column() -> None:
    plain, full = small(), small(next_observations=np.full((6, 2), 7.0))
    joined = plain.concat(full)
    expected = np.concatenate([plain.next_observations_at(np.arange(6)), np.full((6, 2), 7.0)])
    np.testing.assert_array_equal(joined.next_observations, expected)
    assert joined.final_known.tolist() == [False] * 3 + [True] * 3


def test_concat_checks_spaces_and_masks() -> None:
    with pytest.raises(DatasetError, match=r"one action_space, got Discrete\(3\) and Discrete\(4\)"):
        small().concat(small(action_space=spaces.Discrete(4)))
    with pytest.raises(DatasetError, match="one mask size, got None and 1"):
        small().concat(small(create_mask=True))


def test_statistics_are_the_arithmetic() -> None:
    dataset = small()
    statistics = dataset.statistics()
    # returns 6, 10, -3: mean 13 / 3; variance (36 + 100 + 9) / 3 - (13 / 3)^2 = 266 / 9.
    assert statistics["return"] == pytest.approx(
        {"mean": 13 / 3, "std": (266 / 9) ** 0.5, "min": -3, "max": 10, "median": 6}
    )
    assert statistics["length"]["mean"] == 2
    assert (statistics["reward"]["min"], statistics["reward"]["max"]) == (-2, 10)
    assert (statistics["rows"], statistics["episodes"]) == (6, 3)
    assert (statistics["terminals"], statistics["timeouts"]) == (1, 2)
    assert statistics["actions"] == {"counts": [2, 2, 2]}
    assert statistics["observations"]["mean"] == [5, 6]
    assert statistics["observations"]["std"] == pytest.approx([(35 / 3) ** 0.5] * 2)


def test_statistics_of_images_and_continuous_actions() -> None:
    images = {"camera": np.full((4, 2, 2), 200, np.uint8), "speed": np.ones((4, 1))}
    dataset = MDPDataset(images, [[0.0, 2.0], [2.0, 2.0]] * 2, np.zeros(4), [0, 0, 0, 1])
    statistics = dataset.statistics()
    assert statistics["observations"]["camera"] == {"mean": [200], "std": [0]}
    assert statistics["actions"] == {"mean": [1, 2], "std": [1, 0]}


def test_masks_are_fair_coins_of_their_own_generator() -> None:
    options = {"create_mask": True, "mask_size": 4}
    rows = 4000
    columns = np.zeros((rows, 1)), np.zeros((rows, 1)), np.zeros(rows), np.ones(rows)
    state = np.random.get_state()  # noqa: NPY002 - to show that it is left alone.
    masks = MDPDataset(*columns, **options, seed=1).masks  # type: ignore[arg-type]
    assert np.array_equal(state[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert masks is not None
    assert masks.shape == (rows, 4)
    assert masks.dtype == np.uint8
    assert set(np.unique(masks)) == {0, 1}
    np.testing.assert_allclose(masks.mean(axis=0), 0.5, atol=0.04)  # Five standard errors.
    assert (masks.sum(axis=1) == 0).any()
    again, other = (MDPDataset(*columns, **options, seed=s).masks for s in (1, 2))  # type: ignore[arg-type]
    np.testing.assert_array_equal(masks, again)
    assert (masks != other).any()
    with pytest.raises(DatasetError, match="mask_size must be at least 1, got 0"):
        MDPDataset(*columns, create_mask=True, mask_size=0)


def test_sample_gives_recorded_transitions_only() -> None:
    dataset = small()
    batch = dataset.sample(2000, seed=0)
    drawn = sorted({int(row[0]) // 2 for row in batch.observations})
    assert drawn == [0, 1, 2, 4]  # Rows 3 and 5 end by a timeout without a known next observation.
    first = batch.observations[:, 0]
    np.testing.assert_array_equal(batch.rewards, dataset.rewards[(first // 2).astype(int)])
    np.testing.assert_array_equal(batch.terminals, first == 4)
    expected = np.where(batch.terminals[:, None], 0, batch.observations + 2)
    np.testing.assert_array_equal(batch.next_observations, expected)


def test_sample_is_owned_randomness() -> None:
    dataset, generator = small(), np.random.default_rng(3)
    first, second = dataset.sample(50, generator), dataset.sample(50, generator)
    np.testing.assert_array_equal(first.rewards, dataset.sample(50, 3).rewards)
    assert not np.array_equal(first.rewards, second.rewards)


def test_sample_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        small().sample(0)
    with pytest.raises(DatasetError, match="no next observation was recorded"):
        small()[1].sample(4)


def test_normalized_score() -> None:
    dataset = small(metadata={"reference_min_score": -20.0, "reference_max_score": 180.0})
    assert dataset.normalized_score(80.0) == 50.0
    assert dataset.normalized_score([-20.0, 180.0]).tolist() == [0.0, 100.0]
    assert dataset[0].reference_scores == (-20.0, 180.0)
    with pytest.raises(UnsupportedError, match="'custom' has no reference scores to normalise by; give it"):
        small().normalized_score(1.0)


def test_with_options_leaves_the_dataset_as_it_was() -> None:
    dataset = small(metadata={"a": 1})
    changed = dataset.with_options(
        name="other", metadata={"b": [2]}, action_space=spaces.Discrete(5), mask_size=3
    )
    assert (changed.name, changed.metadata, changed.action_space) == (
        "other",
        {"a": 1, "b": [2]},
        spaces.Discrete(5),
    )
    assert changed.masks is not None
    assert changed.masks.shape == (6, 3)
    assert (dataset.name, dataset.metadata, dataset.action_space) == ("custom", {"a": 1}, spaces.Discrete(3))
    assert dataset.masks is None
    with pytest.raises(
        DatasetError, match=r"actions must lie in Discrete\(2\), got 2 at row 2, in episode 0"
    ):
        dataset.with_options(action_space=spaces.Discrete(2))


def test_repr_says_what_it_holds() -> None:
    assert repr(small(name="ward")) == (
        "MDPDataset('ward': 6 rows, 3 episodes (1 terminal, 2 timeout), observations float32[2], "
        "actions Discrete(3), return 4.3 +- 5.4)"
    )


def test_masked_values_are_not_taken_for_numbers() -> None:
    hidden = np.ma.masked_array(np.ones((3, 2)), mask=[[0, 0], [0, 1], [0, 0]])
    with pytest.raises(DatasetError, match="observations has masked values; fill them"):
        MDPDataset(hidden, [0, 1, 0], np.ones(3), [0, 0, 1])
    assert len(MDPDataset(hidden.data, [0, 1, 0], np.ones(3), [0, 0, 1])) == 3
