"""The last action behind each observation: in rows by hand, in an environment alike, and in all that a history has."""

from __future__ import annotations

import gymnasium
import numpy as np
import pandas as pd
import pytest

from offlinekit.algos import FQE, IQL, DiscreteCQL
from offlinekit.datasets import LastActions, MDPDataset, collect, from_dataframe, with_last_actions
from offlinekit.deploy import NumpyPolicy
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.ground.category_space import CategorySpace
from offlinekit.metrics import evaluate

SMALL = {"encoder": [8], "batch_size": 8, "seed": 0, "device": "cpu"}
QUIET = {"out": None, "progress": False, "value_alarm": "off"}


def test_rows_by_hand():
    # Two episodes of two rows, actions 5, 6 and 7, 8; after their last rows stand 2.5 and 4.5.
    dataset = with_last_actions(
        MDPDataset(
            [[1.0], [2.0], [3.0], [4.0]],
            [[5.0], [6.0], [7.0], [8.0]],
            np.zeros(4),
            [0, 0, 0, 1],
            timeouts=[0, 1, 0, 0],
            final_observations=[[2.5], [4.5]],
            metadata={"env_id": "CartPole-v1"},
        )
    )
    assert dataset.observations.tolist() == [[1, 0], [2, 5], [3, 0], [4, 7]]
    assert dataset.final_observations.tolist() == [[2.5, 6], [4.5, 8]]
    assert dataset.next_observations_at([0, 1, 2]).tolist() == [[2, 5], [2.5, 6], [4, 7]]
    assert dataset.observation_space.shape == (2,)
    assert dataset.metadata["env_id"] is None  # It shows no actions.


def test_discrete_actions_are_vectors_of_one_1():
    dataset = with_last_actions(MDPDataset(np.ones((3, 1)), [2, 0, 1], np.zeros(3), [0, 0, 1]))
    assert dataset.observations.tolist() == [[1, 0, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0]]


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_an_environment_shows_what_its_recording_has(env_id):
    bare, env = gymnasium.make(env_id), LastActions(gymnasium.make(env_id))
    rng = np.random.default_rng(0)
    box = isinstance(bare.action_space, gymnasium.spaces.Box)
    actions = rng.uniform(-2, 2, (40, 1)).astype(np.float32) if box else rng.integers(0, 2, 40)

    def policy(seen, taken=actions):
        return np.stack([taken[policy.step % 40]] * len(seen))

    recorded = {}
    for name, place in (("bare", bare), ("shown", env)):
        policy.step = -1

        def act(seen):
            policy.step += 1
            return policy(seen)

        recorded[name] = collect(act, place, 30, n_envs=1, progress=False)
    joined = with_last_actions(recorded["bare"])
    np.testing.assert_array_equal(joined.observations, recorded["shown"].observations)
    np.testing.assert_array_equal(joined.final_observations, recorded["shown"].final_observations)
    assert env.observation_space.contains(env.reset(seed=0)[0])
    assert joined.observation_space.shape == env.observation_space.shape


def test_with_a_history_in_fit_evaluation_estimates_and_export(tmp_path):
    env = LastActions(gymnasium.make("Pendulum-v1", max_episode_steps=6))
    data = collect(lambda seen: np.ones((len(seen), 1), np.float32), gymnasium.make("Pendulum-v1"), 250)
    dataset = with_last_actions(data)
    algo = IQL(**SMALL, history_length=3).fit(dataset, 4, eval_env=env, eval_episodes=1, **QUIET)
    assert len(evaluate(algo, env, 2).returns) == 2
    FQE(policy=algo, **SMALL).fit(dataset, 2, **QUIET).start_values(dataset)
    exported = NumpyPolicy.load(algo.export(tmp_path / "policy.safetensors")).as_stateful()
    actor, seen = algo.as_stateful(), env.reset(seed=0)[0]
    for _ in range(5):
        action = actor.predict(seen)
        np.testing.assert_allclose(exported.predict(seen), action, atol=1e-5)
        seen = env.step(action)[0]
        assert seen[-1] == pytest.approx(float(action[0]))


def test_what_has_no_last_action_is_refused():
    images = MDPDataset(np.zeros((3, 1, 8, 8), np.uint8), [0, 1, 0], np.zeros(3), [0, 0, 1])
    with pytest.raises(UnsupportedError, match="observations that are vectors"):
        with_last_actions(images)
    rng = np.random.default_rng(0)
    unordered = MDPDataset(
        rng.normal(size=(4, 2)),
        [0, 1, 0, 1],
        np.zeros(4),
        np.zeros(4),
        timeouts=[0, 0, 0, 1],
        next_observations=rng.normal(size=(4, 2)),
    )
    with pytest.raises(DatasetError, match="unordered transitions"):
        with_last_actions(unordered)
    several = gymnasium.spaces.MultiDiscrete([2, 2])
    with pytest.raises(UnsupportedError, match="vectors or discrete"):
        with_last_actions(
            MDPDataset(np.ones((2, 1)), [[0, 1], [1, 0]], np.zeros(2), [0, 1], action_space=several)
        )
    assert DiscreteCQL(**SMALL, history_length=2).history_length == 2


def test_a_table_keeps_its_embedding_and_not_its_schema():
    frame = pd.DataFrame(
        {"w": list("abcab"), "x": np.arange(5.0), "a": list("uvuvu"), "r": 1.0, "e": [0, 0, 0, 1, 1]}
    )
    schema = {
        "observations": [
            {"name": "w", "kind": "category", "categories": ["a", "b", "c"], "embed": 2},
            {"name": "x", "kind": "number"},
        ],
        "actions": [{"name": "a", "kind": "category", "categories": ["u", "v"]}],
        "reward": "r",
        "episode": "e",
    }
    table = from_dataframe(frame, schema=schema)
    dataset = with_last_actions(table)
    assert isinstance(dataset.observation_space, CategorySpace)
    assert dataset.observation_space.blocks == table.observation_space.blocks
    assert dataset.observation_space.shape == (table.observation_space.shape[0] + 2,)
    assert table.schema is not None
    assert dataset.schema is None
    algo = DiscreteCQL(**SMALL).fit(dataset, 2, **QUIET)
    assert algo.predict(dataset.observations).shape == (5,)
