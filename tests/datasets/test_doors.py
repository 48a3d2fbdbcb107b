"""What a caller may give and ask at every door of a dataset: one rule list, no silent loss."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.families.d3rlpy_export import export_d3rlpy
from offlinekit.datasets.sources.npz import export_npz
from offlinekit.errors import DatasetError, DatasetWarning

N = 6
OBSERVATIONS = np.arange(2.0 * N).reshape(N, 2).astype(np.float32)
ACTIONS = np.array([0, 1, 2, 0, 1, 2])
TERMINALS = np.array([0, 0, 1, 0, 0, 0])


def data(actions=ACTIONS, rewards=None, terminals=TERMINALS, **options):
    """Two episodes of three rows."""
    rewards = np.arange(float(N)) if rewards is None else rewards
    return MDPDataset(OBSERVATIONS, actions, rewards, terminals, **options)


def test_another_action_space_keeps_the_rules_of_legal_actions():
    dataset = data(legal_actions=np.ones((N, 3)))
    with pytest.raises(DatasetError, match="legal_actions must have an entry for each of 5 actions, got 3"):
        dataset.with_options(action_space=spaces.Discrete(5))
    with pytest.raises(DatasetError, match="row 0, in episode 0"):
        dataset.with_options(action_space=spaces.Discrete(3, start=1))
    assert dataset.with_options(action_space=spaces.Discrete(3)).action_space == spaces.Discrete(3)


def test_another_action_space_keeps_the_rules_of_log_probabilities():
    densities = data(np.ones((N, 1)), behavior_log_probs=np.ones(N))
    with pytest.raises(DatasetError, match="behavior_log_probs must be at most 0"):
        densities.with_options(action_space=spaces.Discrete(2))


def after(n_broken):
    following = np.roll(OBSERVATIONS, -1, 0)
    following[[2, 5][:n_broken]] = np.nan
    return following


@pytest.mark.parametrize("nonfinite", ["refuse", "drop"])
def test_what_is_not_known_may_be_nan(nonfinite):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(data(next_observations=after(2), final_known=[0, 0], nonfinite=nonfinite)) == N
        assert len(data(next_observations=after(1), final_known=[0, 1], nonfinite=nonfinite)) == N


def test_what_is_known_may_not_be_nan():
    with pytest.warns(UserWarning, match="1 of 2 episodes were left out"):
        assert len(data(next_observations=after(1), final_known=[1, 0], nonfinite="drop")) == 3


@pytest.mark.parametrize("field", ["extras", "episode_extras"])
def test_extras_are_checked_as_other_columns(field):
    n = N if field == "extras" else 2
    masked = np.ma.masked_array(np.arange(float(n)), mask=np.arange(n) == 1)
    with pytest.raises(DatasetError, match=rf"{field}\['cost'\] has masked values; fill them"):
        data(**{field: {"cost": masked}})
    with pytest.raises(DatasetError, match=f"{field} has two keys that read '1'"):
        data(**{field: {1: np.zeros(n), "1": np.ones(n)}})
    with pytest.raises(DatasetError, match="rows of differing shape"):
        data(**{field: {"cost": [[1.0]] * (n - 1) + [[1.0, 2.0]]}})


@pytest.mark.parametrize("keep", [[1, 0], np.array([0, 1], np.int8), [1.0, 0.0]])
def test_a_mask_of_numbers_is_no_mask(keep):
    with pytest.raises(TypeError, match=r"np.asarray\(mask, bool\)"):
        data().filter_episodes(keep)


def test_rows_are_counted_from_the_end_too():
    for dataset in (data(final_observations=[[7.0, 7], [8, 8]]), data(next_observations=-OBSERVATIONS)):
        whole = dataset.next_observations_at(np.arange(N))
        np.testing.assert_array_equal(dataset.next_observations_at([-1, -6, 2]), whole[[-1, -6, 2]])
        np.testing.assert_array_equal(dataset.next_observations_at(TERMINALS == 1), whole[[2]])
        assert dataset.next_observations_at([]).shape == (0, 2)
        for row in (N, -N - 1):
            with pytest.raises(IndexError, match=f"row {row} is not there"):
                dataset.next_observations_at([row])


@pytest.mark.parametrize("nonfinite", ["refuse", "drop"])
def test_a_tuple_of_numbers_is_as_good_as_a_list(nonfinite):
    given = {
        "actions": tuple(ACTIONS),
        "rewards": tuple(range(N)),
        "terminals": tuple(TERMINALS),
        "timeouts": (0, 0, 0, 0, 0, 1),
        "behavior_log_probs": (-1.0,) * N,
        "legal_actions": ((1, 1, 1),) * N,
        "extras": {"cost": tuple(range(N))},
        "episode_extras": {"seed": (3, 4)},
    }
    dataset = data(**given, nonfinite=nonfinite)
    assert dataset.rewards.tolist() == list(range(N))
    assert dataset.extras["cost"].tolist() == list(range(N))
    if nonfinite == "drop":
        given["rewards"] = (np.nan, *range(1, N))
        with pytest.warns(UserWarning, match="left out"):
            dataset = data(**given, nonfinite="drop")
        assert dataset.rewards.tolist() == [3, 4, 5]
        assert dataset.extras["cost"].tolist() == [3, 4, 5]
        assert dataset.episode_extras["seed"].tolist() == [4]


def joint(actions, space, **options):
    return MDPDataset(OBSERVATIONS, actions, np.ones(N), TERMINALS, action_space=space, **options)


def test_joint_numbers_are_read_without_an_axis():
    space, numbers = spaces.MultiDiscrete([3, 2]), np.arange(6)
    for actions in (numbers, np.array([[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]])):
        assert joint(actions, space).actions.tolist() == numbers.tolist()
    with pytest.raises(
        DatasetError, match=r"numbers of joint choices as \[N\]"
    ):  # It may be one of two parts.
        joint(numbers[:, None], space)


def test_a_single_part_has_its_own_numbers(tmp_path):
    space, actions = spaces.MultiDiscrete([3], start=[1]), np.array([1, 2, 3, 3, 2, 1])
    for given in (actions, actions[:, None]):
        dataset = joint(given, space)
        assert dataset.actions.tolist() == [0, 1, 2, 2, 1, 0]
        assert dataset.action_space.split(dataset.actions)[:, 0].tolist() == actions.tolist()
    with pytest.raises(DatasetError, match="must lie in"):
        joint(actions - 1, space)
    path = dataset.save(tmp_path / "data.h5")
    assert MDPDataset.load(path).actions.tolist() == dataset.actions.tolist()
    assert dataset.with_options(action_space=space).actions.tolist() == dataset.actions.tolist()


@pytest.mark.parametrize(("write", "name"), [(export_d3rlpy, "data.h5"), (export_npz, "data.npz")])
@pytest.mark.parametrize("space", [spaces.MultiDiscrete([3, 2]), spaces.MultiDiscrete([6], start=[1])])
def test_several_discrete_actions_come_back_from_files(write, name, space, tmp_path):
    dataset = joint(np.arange(6) + int(np.sum(space.start)), space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write(dataset, tmp_path / name)
        for declared in (space, dataset.action_space):
            again, _ = get_dataset(str(tmp_path / name), action_space=declared)
            assert again.actions.tolist() == dataset.actions.tolist()


def test_joined_extras_are_promoted_and_a_warning_names_the_others():
    wide = {"a": np.zeros(N), "b": np.ones(N), "c": np.ones((N, 2)), "d": np.array([b"x"] * N)}
    narrow = {"a": np.arange(N), "c": np.ones((N, 3)), "d": np.array([b"long"] * N), "e": np.ones(N)}
    with pytest.warns(DatasetWarning, match="extras 'b', 'c', 'e' are left out") as caught:
        both = data(extras=wide).concat(data(extras=narrow))
    assert caught[0].filename == __file__
    assert sorted(both.extras) == ["a", "d"]
    assert both.extras["a"].dtype == np.float64
    assert both.extras["a"].tolist() == [0.0] * N + list(range(N))
    assert both.extras["d"].tolist() == [b"x"] * N + [b"long"] * N
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = data(extras={"a": np.zeros(N)}, episode_extras={"s": [1, 2]})
        assert same.concat(same).episode_extras["s"].tolist() == [1, 2, 1, 2]
