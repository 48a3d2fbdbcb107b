"""Atari environments that show what recorded data show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.algos import DiscreteBC, DiscreteCQL
from offlinekit.datasets import MDPDataset, get_dataset, make_env
from offlinekit.envs.atari import check_game, dashed, described, game_of, games, human_scores
from offlinekit.envs.made_env import MadeEnv
from offlinekit.metrics import evaluate, normalized_score


@pytest.fixture
def ale() -> Any:
    pytest.importorskip("cv2")
    return pytest.importorskip("ale_py")


def test_names_of_games() -> None:
    assert dashed("MsPacman") == "ms-pacman"
    assert dashed("UpNDown") == "up-n-down"
    assert check_game("Pong") == "Pong"
    with pytest.raises(ValueError, match="unknown Atari game 'Pog'; did you mean 'Pong'"):
        check_game("Pog")
    assert game_of(Path("/data/Asterix/Pong/1/replay_logs")) == "Pong"
    assert game_of(Path("/data/Pong/rlu_atari_Asterix_run_1-00000-of-00001.tfrecord")) == "Asterix"
    assert game_of(Path("/data/pong/x")) is None
    assert described(None, 4) == {}


@pytest.mark.parametrize("game", ["Breakout", "MsPacman", "UpNDown"])
def test_actions_are_those_of_the_game(ale: Any, game: str) -> None:
    env = make_env(f"ALE/{game}-v5", frame_stack=1)
    assert env is not None
    assert env.action_space == spaces.Discrete(games()[game])
    assert env.observation_space == spaces.Box(0, 255, (1, 84, 84), np.uint8)


def test_a_step_is_four_frames_with_sticky_actions(ale: Any) -> None:
    env = make_env("ALE/Breakout-v5", frame_stack=4)
    assert env is not None
    engine = env.unwrapped.ale  # type: ignore[attr-defined]
    assert engine.getFloat("repeat_action_probability") == 0.25
    env.reset(seed=0)
    began = engine.getEpisodeFrameNumber()
    env.step(0)
    assert engine.getEpisodeFrameNumber() == began + 4
    fixed = make_env("ALE/Breakout-v5", frame_stack=4, sticky_actions=False)
    assert fixed is not None
    assert fixed.unwrapped.ale.getFloat("repeat_action_probability") == 0.0  # type: ignore[attr-defined]


def test_stacks_of_a_game(ale: Any) -> None:
    env = make_env("ALE/Breakout-v5", frame_stack=4)
    single = make_env("ALE/Breakout-v5", frame_stack=1)
    assert env is not None
    assert single is not None
    stack, frame = env.reset(seed=0)[0], single.reset(seed=0)[0]
    assert not stack[:3].any()
    np.testing.assert_array_equal(stack[3:], frame)
    for action in (1, 2, 3):
        before = stack
        stack, frame = env.step(action)[0], single.step(action)[0]
        np.testing.assert_array_equal(stack[3:], frame)
        np.testing.assert_array_equal(stack[:3], before[1:])
    assert isinstance(env, MadeEnv)
    copied = env.again()
    assert copied is not None
    assert copied.observation_space.shape == (4, 84, 84)


class Paid(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Pays 7 for each emulator frame."""

    def step(self, action: Any) -> Any:
        observation, _, *rest = self.env.step(action)
        return observation, 7.0, *rest


def test_clipped_rewards(ale: Any) -> None:
    from offlinekit.envs.atari import prepare

    def make(**arguments: Any) -> gymnasium.Env[Any, Any]:
        return Paid(gymnasium.make("ALE/Pong-v5", **arguments))

    for clip, expected in ((False, 28.0), (True, 1.0)):
        env = prepare(make, frame_stack=2, clip_rewards=clip)
        env.reset(seed=0)
        assert env.step(0)[1] == expected
    with pytest.raises(ValueError, match="frame_pad must be one of"):
        prepare(make, frame_stack=2, frame_pad="mirror")


def test_a_policy_of_single_frames_plays_the_game(ale: Any) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (40, 1, 84, 84), np.uint8)
    ends = np.arange(40) % 20 == 19
    data = MDPDataset(frames, rng.integers(0, 3, 40), np.ones(40), ends, **described("Freeway", 1))
    env = make_env(data.metadata["env_id"], **data.metadata["env_kwargs"], max_num_frames_per_episode=80)
    algo = DiscreteCQL(frame_stack=4, batch_size=8, seed=0)
    algo.fit(data, 2, eval_env=env, eval_episodes=2, out=None, progress=False)
    # 80 emulator frames are over after 20 steps, which shows that the game was played through stacks.
    assert algo.history[-1]["eval/length_mean"] == 20
    single = evaluate(algo, env, n_episodes=1)
    stacked = make_env("ALE/Freeway-v5", frame_stack=4, max_num_frames_per_episode=80)
    assert single.returns.tolist() == evaluate(algo, stacked, n_episodes=1).returns.tolist()


def test_the_environment_of_saved_data(ale: Any, tmp_path: Path) -> None:
    frames = np.zeros((4, 1, 84, 84), np.uint8)
    data = MDPDataset(frames, np.zeros(4, np.int64), np.zeros(4), np.zeros(4), **described("Boxing", 1))
    dataset, env = get_dataset(data.save(tmp_path / "boxing.h5"))
    assert env is not None
    assert env.observation_space.shape == (1, 84, 84)
    assert dataset.action_space == spaces.Discrete(18)
    DiscreteBC(frame_stack=4, batch_size=2).fit(dataset, 1, out=None, progress=False)


@pytest.mark.parametrize(
    ("env_id", "random", "human"),
    [  # Of dqn_zoo/atari_data.py.
        ("ALE/Alien-v5", 227.8, 7127.7),
        ("ALE/Breakout-v5", 1.7, 30.5),
        ("ALE/MsPacman-v5", 307.3, 6951.6),
        ("ALE/Pitfall-v5", -229.4, 6463.7),
        ("PongNoFrameskip-v4", -20.7, 14.6),
        ("ALE/Skiing-v5", -17098.1, -4336.9),
        ("ALE/Surround-v5", -10.0, 6.5),
        ("SeaquestDeterministic-v4", 68.4, 42054.7),
        ("ALE/UpNDown-v5", 533.4, 11693.2),
        ("ALE/VideoPinball-v5", 16256.9, 17667.9),
        ("ALE/YarsRevenge-v5", 3092.9, 54576.9),
        ("ALE/Zaxxon-v5", 32.5, 9173.3),
    ],
)
def test_scores_of_random_play_and_of_a_human(env_id: str, random: float, human: float) -> None:
    metadata = {"env_id": env_id, "env_kwargs": {"frame_stack": 4}}
    data = MDPDataset(np.zeros((2, 1)), np.arange(2), np.ones(2), [0, 1], metadata=metadata)
    assert data.reference_scores == human_scores(env_id) == (random, human)
    assert data.normalized_score(random) == 0.0
    assert data.normalized_score((random + human) / 2) == pytest.approx(50.0)
    assert normalized_score(human, data) == pytest.approx(100.0)


def test_what_has_no_human_scores() -> None:
    assert (
        human_scores("ALE/Adventure-v5") is human_scores("Tennis-v0") is human_scores("CartPole-v1") is None
    )
    for changed in ({"clip_rewards": True}, {"mode": 1}, {"difficulty": 1}):
        assert human_scores("ALE/Pong-v5", changed) is None
    assert human_scores("ALE/Pong-v5", {"clip_rewards": False, "noop_max": 30}) == (-20.7, 14.6)
    assert (
        len([game for game in games() if human_scores(f"ALE/{game}-v5")]) == 56
    )  # And Surround, not in the data.


@pytest.mark.parametrize(
    ("env_id", "arguments", "words"),
    [
        ("ALE/Pong-v5", {"frame_stack": 0}, "frame_stack must be in"),
        ("ALE/Pong-v5", {"noop_max": 30}, "give frame_stack too, such as 4, or 1 for single frames"),
        ("ALE/Pong-v5", {"clip_rewards": True}, "give frame_stack too, such as 4, or 1 for single frames"),
        (
            "ALE/Pong-v5",
            {"frame_stack": 4, "frameskip": 4},
            "a step is four emulator frames.*leave frameskip out",
        ),
        ("PongNoFrameskip-v4", {"frame_stack": 4}, "name the game 'ALE/Pong-v5', or leave frame_stack out"),
    ],
)
def test_arguments_of_prepared_games_name_the_remedy(
    ale: Any, env_id: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make_env(env_id, **arguments)
