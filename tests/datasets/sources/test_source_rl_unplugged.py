from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from PIL import Image

from offlinekit.algos import DiscreteBCQ, DiscreteCQL
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.formats import png
from offlinekit.datasets.formats.protobuf import encode_example
from offlinekit.datasets.formats.tfrecord import write_records
from offlinekit.envs.environments import MissingExtraWarning
from offlinekit.errors import DatasetError, DownloadError, FileFormatError, OfflineKitError
from offlinekit.sampling.blocks import BlockSampler
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.scalers import Scaling

RealData = Callable[[str], Path]
ASTERIX = "rl_unplugged/rlu_atari_Asterix_run_1-00000-of-00001.tfrecord"
TRAINING = {"out": None, "progress": False}

pytestmark = pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning")


def image(value: int, side: int = 84) -> bytes:
    out = io.BytesIO()
    pixels = (np.arange(side * side) // 3 % 200 + value).astype(np.uint8).reshape(side, side)
    Image.fromarray(pixels).save(out, "png")
    return out.getvalue()


def transition(first: int, action: int, reward: float, discount: float, **changes: Any) -> bytes:
    """The layout of the shards: frames first ... first + 3 before, first + 1 ... first + 4 after."""
    features = {
        "o_t": [image(first + i) for i in range(4)],
        "o_tp1": [image(first + 1 + i) for i in range(4)],
        "a_t": np.array([action]),
        "a_tp1": np.array([0]),
        "r_t": np.array([reward], np.float32),
        "d_t": np.array([discount], np.float32),
        "episode_id": np.array([-(2**60)]),
        "episode_return": np.array([3.0], np.float32),
    }
    return encode_example({**features, **changes})


def episode(first: int, actions: list[int], rewards: list[float], last_discount: float) -> bytes:
    n_rows = len(actions)
    return encode_example(
        {
            "checkpoint_idx": np.array([7]),
            "episode_idx": np.array([1]),
            "episode_return": np.array([sum(rewards)], np.float32),
            "clipped_episode_return": np.array([0.0], np.float32),
            "observations": [image(first + i) for i in range(n_rows)],
            "actions": np.array(actions),
            "unclipped_rewards": np.array(rewards, np.float32),
            "clipped_rewards": np.clip(np.array(rewards, np.float32), -1, 1),
            "discounts": np.array([1.0] * (n_rows - 1) + [last_discount], np.float32),
        }
    )


def brightness(images: Any) -> list[Any]:
    """The number that `image` was made with, of each frame."""
    return np.asarray(images)[..., 0, 0].tolist()


def test_facts_of_asterix(real_data: RealData) -> None:
    # The facts noted beside the file name four episodes (1093, 600, 310 and 244 frames, returns 66, 29, 17 and
    # 4); its two records are the first two of them.
    dataset, _ = get_dataset(real_data(ASTERIX))
    frames, returns = [1093, 600], [66.0, 29.0]
    # The game ended in each, so that the last frame is no step but the final observation.
    assert dataset.episode_lengths().tolist() == [n - 1 for n in frames]
    assert dataset.episode_returns().tolist() == returns
    assert (dataset.terminals.sum(), dataset.timeouts.sum()) == (2, 0)
    assert dataset.final_known.all()
    assert dataset.action_space == spaces.Discrete(9)
    assert (dataset.observations.shape, dataset.observations.dtype) == ((1691, 1, 84, 84), np.uint8)
    assert dataset.observations[0].max() > 100
    # Nothing moves any more when the game is over.
    np.testing.assert_array_equal(dataset.final_observations[0], dataset.observations[1091])
    clipped, _ = get_dataset(real_data(ASTERIX), clip_rewards=True)
    np.testing.assert_array_equal(clipped.rewards, dataset.rewards)


@pytest.mark.parametrize("algorithm", [DiscreteCQL, DiscreteBCQ])
def test_training_on_asterix(real_data: RealData, algorithm: Any) -> None:
    dataset, _ = get_dataset(real_data(ASTERIX), limit=1)
    algo = algorithm(frame_stack=4, batch_size=8, seed=0)
    algo.fit(dataset, 3, **TRAINING)
    assert algo.impl.observation_space.shape == (4, 84, 84)
    assert algo.predict(np.zeros((2, 4, 84, 84), np.uint8)).shape == (2,)


def test_transitions(tmp_path: Path) -> None:
    examples = [
        transition(10, 2, 5.0, 1.0),
        transition(50, 1, -7.0, 0.0),
        transition(90, 3, 0.5, 1.0),
    ]
    (tmp_path / "Breakout").mkdir()
    path = write_records(tmp_path / "Breakout" / "run_1-00003-of-00100", examples)
    dataset, _ = get_dataset(path)
    assert dataset.action_space == spaces.Discrete(4)  # Of Breakout, by the folder's name.
    assert brightness(dataset.observations) == [[10, 11, 12, 13], [50, 51, 52, 53], [90, 91, 92, 93]]
    assert brightness(dataset.next_observations) == [[11, 12, 13, 14], [51, 52, 53, 54], [91, 92, 93, 94]]
    assert np.shares_memory(dataset.observations, dataset.next_observations)  # Five frames each, not eight.
    assert dataset.observations.base is not None
    assert dataset.actions.tolist() == [2, 1, 3]
    assert dataset.rewards.tolist() == [5.0, -7.0, 0.5]
    assert dataset.terminals.tolist() == [False, True, False]
    clipped, _ = get_dataset(path, clip_rewards=True, limit=2)
    assert clipped.rewards.tolist() == [1.0, -1.0]


def test_transitions_are_drawn_whole_and_refuse_n_steps(tmp_path: Path) -> None:
    examples = [transition(10 * i, i % 4, float(i), float(i != 3)) for i in range(8)]
    dataset, _ = get_dataset(write_records(tmp_path / "x.tfrecord", examples))

    def sampler(**arguments: Any) -> TransitionSampler:
        settings = {"batch_size": 4, "gamma": 0.5, "n_step": 1, "seed": 0, **arguments}
        return TransitionSampler(dataset, device=torch.device("cpu"), scaling=Scaling(), **settings)

    batch = sampler().gather(torch.tensor([7, 3, 0]))
    assert brightness(batch.observations) == [[70, 71, 72, 73], [30, 31, 32, 33], [0, 1, 2, 3]]
    assert brightness(batch.next_observations) == [[71, 72, 73, 74], [31, 32, 33, 34], [1, 2, 3, 4]]
    assert batch.discounts.tolist() == [0.5, 0.0, 0.5]
    for wanted in ({"n_step": 3}, {"frame_stack": 4}):
        with pytest.raises(DatasetError, match="unordered transitions"):
            sampler(**wanted)
    algo = DiscreteCQL(batch_size=4, seed=0)
    algo.fit(dataset, 2, **TRAINING)
    assert algo.impl.observation_space.shape == (4, 84, 84)


def test_a_mapped_shard_is_drawn_by_blocks(bucket: Path) -> None:
    examples = [transition(4 * i, i % 4, float(i), float(i % 5 != 4)) for i in range(40)]
    put(bucket, "atari/Breakout/run_1-00000-of-00100", examples)
    dataset, _ = get_dataset("rl_unplugged/atari/Breakout")
    settings = {"batch_size": 16, "gamma": 0.5, "n_step": 1, "device": torch.device("cpu"), "seed": 0}
    sampler = BlockSampler(dataset, scaling=Scaling(), **settings)
    batch = sampler.sample()
    for reward, seen, after in zip(
        batch.rewards.tolist(),
        brightness(batch.observations),
        brightness(batch.next_observations),
        strict=True,
    ):
        assert seen == [4 * reward + i for i in range(4)]
        assert after == [4 * reward + i for i in range(1, 5)]


def test_transitions_whose_frames_do_not_go_on(tmp_path: Path) -> None:
    other = [image(100 + i) for i in range(4)]
    examples = [
        transition(10, 0, 0.0, 1.0),
        transition(20, 1, 0.0, 1.0, o_tp1=other),
        transition(30, 1, 0.0, 0.0, o_tp1=other),  # What follows the end of a game does not matter.
    ]
    with pytest.warns(UserWarning, match="1 Examples are left out"):
        dataset, _ = get_dataset(write_records(tmp_path / "x.tfrecord", examples))
    assert dataset.actions.tolist() == [0, 1]


def test_ordered_episodes(tmp_path: Path) -> None:
    examples = [
        episode(0, [0, 1, 3], [0.0, 4.0, 0.0], last_discount=0.0),
        episode(50, [2, 0], [1.0, -2.0], last_discount=1.0),
        episode(90, [1], [0.0], last_discount=0.0),  # No step at all.
    ]
    path = write_records(tmp_path / "x.tfrecord", examples)
    with pytest.warns(UserWarning, match="1 Examples are left out"):
        dataset, _ = get_dataset(path)
    # The first ended with its last row, which is only an observation; the second was cut off.
    assert brightness(dataset.observations) == [[0], [1], [50], [51]]
    assert brightness(dataset.final_observations) == [[2], [0]]
    assert dataset.final_known.tolist() == [True, False]
    assert dataset.terminals.tolist() == [False, True, False, False]
    assert dataset.timeouts.tolist() == [False, False, False, True]
    assert (dataset.actions.tolist(), dataset.rewards.tolist()) == ([0, 1, 2, 0], [0.0, 4.0, 1.0, -2.0])
    with pytest.warns(UserWarning, match="left out"):
        clipped, _ = get_dataset(path, clip_rewards=True)
    assert clipped.rewards.tolist() == [0.0, 1.0, 1.0, -1.0]
    assert get_dataset(path, limit=1)[0].n_episodes == 1


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (transition(0, 0, 0.0, 1.0, o_t=[image(0)] * 3), "record 1, at byte .*expected 4 frames"),
        (transition(0, 0, 0.0, 1.0, o_t=np.zeros(4)), "record 1, at byte .*expected PNG images 'o_t'"),
        (transition(0, 0, 0.0, 1.0, d_t=[b"1"]), "record 1, at byte .*expected the numbers 'd_t'"),
        (
            transition(0, 0, 0.0, 0.0, o_t=[image(0, 83)] * 4),
            "record 1, at byte .*expected a gray PNG of 84 x 84, got one of 83 x 83, 8 bits, colour type 0",
        ),
        (transition(0, 0, 0.0, 0.0, o_t=[b"JFIF"] * 4), "4 bytes that are no PNG"),
        (transition(0, 0, 0.0, 0.0, o_t=[image(0)[:40]] * 4), "record 1, at byte .*PNG image is damaged"),
    ],
)
def test_wrong_examples_are_named(tmp_path: Path, example: bytes, message: str) -> None:
    path = write_records(tmp_path / "x.tfrecord", [transition(0, 0, 0.0, 1.0), example])
    with pytest.raises(FileFormatError, match=message):
        get_dataset(path)


def test_episodes_of_columns_that_differ(tmp_path: Path) -> None:
    path = write_records(tmp_path / "x.tfrecord", [episode(0, [1, 2], [0.0], 1.0)])
    with pytest.raises(FileFormatError, match=r"columns of one episode have \[1, 2\] rows"):
        get_dataset(path)


def test_pillow_decodes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    images = [image(3), image(50)]
    by_opencv = png.decode_gray(images, 84, 84)
    monkeypatch.setattr(png, "_decoder", lambda: png._by_pillow)
    np.testing.assert_array_equal(png.decode_gray(images, 84, 84), by_opencv)
    with pytest.raises(FileFormatError, match="PNG image is damaged"):
        png.decode_gray([image(3)[:60]], 84, 84)


def put(folder: Path, name: str, examples: list[bytes], packed: bool = True) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_records(folder / name, examples, packed=packed)


def test_a_shard_by_name_is_fetched_converted_and_kept(bucket: Path, tmp_path: Path) -> None:
    name = "atari/Breakout/run_2-00001-of-00100"
    put(bucket, name, [transition(10, 2, 5.0, 1.0), transition(50, 1, -7.0, 0.0)])
    dataset, _ = get_dataset("rl_unplugged/atari/Breakout?run=2&shard=1")
    (bucket / name).unlink()
    (tmp_path / "data" / "rl_unplugged" / name).write_bytes(b"is not read again")
    again, _ = get_dataset("rl_unplugged/atari/Breakout", run=2, shard=1, clip_rewards=True)
    assert again.rewards.tolist() == [1.0, -1.0]
    assert brightness(again.observations) == brightness(dataset.observations)
    assert isinstance(again.next_observations, np.ndarray)
    assert not again.observations.flags.writeable  # Mapped.
    assert dataset.name == "rl_unplugged/atari/Breakout"
    assert dataset.metadata["env_id"] == "ALE/Breakout-v5"
    frames = tmp_path / "data" / "rl_unplugged" / f"{name}.frames"
    assert frames.stat().st_size == 2 * 5 * 84 * 84
    frames.write_bytes(b"short")
    with pytest.raises(FileFormatError, match="do not fit"):
        get_dataset("rl_unplugged/atari/Breakout?run=2&shard=1")


def test_episodes_by_name(bucket: Path) -> None:
    put(bucket, "atari_episodes_ordered/Pong/run_1-00049-of-00050", [episode(0, [1, 2], [0.0, 0.0], 0.0)])
    dataset, _ = get_dataset("rl_unplugged/atari_episodes_ordered/Pong?shard=49")
    assert (len(dataset), dataset.action_space) == (1, spaces.Discrete(6))
    assert dataset.metadata["env_kwargs"] == {"frame_stack": 1}
    part, _ = get_dataset("rl_unplugged/atari_episodes_ordered/Pong?shard=49&limit=1")
    assert part.observations.flags.owndata is False
    assert len(part) == 1


def test_what_is_not_there(bucket: Path) -> None:
    with pytest.raises(ValueError, match="unknown Atari game 'Brekout'; did you mean 'Breakout'"):
        get_dataset("rl_unplugged/atari/Brekout")
    with pytest.raises(ValueError, match=r"shard must be in \[0, 100\), got 100"):
        get_dataset("rl_unplugged/atari/Breakout?shard=100")
    with pytest.raises(ValueError, match=r"run must be in \[1, 5\], got 6"):
        get_dataset("rl_unplugged/atari/Breakout?run=6")
    with pytest.raises(DownloadError, match=r"put it at .*Breakout/run_1-00000-of-00100"):
        get_dataset("rl_unplugged/atari/Breakout")
    (bucket / "atari" / "Pong").mkdir(parents=True)
    (bucket / "atari" / "Pong" / "run_1-00000-of-00100").write_text("<html>")
    with pytest.raises(DownloadError, match="does not begin as a TFRecord"):
        get_dataset("rl_unplugged/atari/Pong")


def test_facts_of_cartpole_swingup(real_data: RealData) -> None:
    # The facts noted beside the file name two episodes of 1001 steps; it has one record.
    path = real_data("rl_unplugged/rlu_control_suite_cartpole_swingup.tfrecord")
    dataset, env = get_dataset(path)
    assert env is None
    assert (len(dataset), dataset.n_episodes) == (1000, 1)  # 1001 observations.
    assert dataset.episode_returns()[0] == pytest.approx(861.036, abs=1e-3)
    assert dataset.final_known.all()
    assert dataset.timeouts.sum() == 1
    # Reward and discount are NaN at step 0; the first reward is that of the first action.
    assert dataset.rewards[0] == pytest.approx(4.8477546e-07)
    # Velocities, which come after the three positions, change by the action of the same row.
    change = np.diff(dataset.observations[:, 3])
    assert np.corrcoef(change, dataset.actions[:-1, 0])[0, 1] > 0.99
    assert np.corrcoef(change, dataset.actions[1:, 0])[0, 1] < 0.5


def control(n_steps: int, first: float, terminal: bool, whole: bool, **changes: Any) -> bytes:
    """One Example; position is first, first + 1, ... and an action is 0.01 of the position it was taken at."""
    place = first + np.arange(n_steps, dtype=np.float32)
    rewards, discounts = 10 * place, np.ones(n_steps, np.float32)
    if terminal:
        discounts[-1 if whole else -2] = 0.0
    if whole:  # Row t holds the reward that led there.
        rewards, discounts = rewards - 10, discounts
        rewards[0] = discounts[0] = np.nan
    features = {
        "observation/velocity": np.stack([-place, 2 * place], 1).reshape(-1),
        "observation/position": place,
        "action": 0.01 * place,
        "reward": rewards,
        "discount": discounts,
        "step_type": np.zeros(n_steps, np.float32),
    }
    return encode_example({**features, **changes})


def test_two_steps_of_control(tmp_path: Path) -> None:
    examples = [control(2, 5.0, False, False), control(2, 1.0, True, False), control(2, 7.0, False, False)]
    dataset, _ = get_dataset(write_records(tmp_path / "train-00000-of-00100", examples))
    assert dataset.observations.tolist() == [[5, -5, 10], [1, -1, 2], [7, -7, 14]]  # position, velocity
    assert dataset.next_observations[:, 0].tolist() == [6, 2, 8]
    assert dataset.actions[:, 0].tolist() == pytest.approx([0.05, 0.01, 0.07])
    assert dataset.rewards.tolist() == [50, 10, 70]
    assert dataset.terminals.tolist() == [False, True, False]
    assert dataset.action_space == spaces.Box(-1, 1, (1,), np.float32)


@pytest.mark.parametrize("whole", [False, True])
def test_longer_pieces_and_whole_episodes_of_control(tmp_path: Path, whole: bool) -> None:
    examples = [control(4, 1.0, False, whole), control(3, 7.0, True, whole)]
    dataset, _ = get_dataset(write_records(tmp_path / "x.tfrecord", examples))
    assert dataset.observations[:, 0].tolist() == [1, 2, 3, 7, 8]
    assert dataset.final_observations[:, 0].tolist() == [4, 9]
    assert dataset.rewards.tolist() == [10, 20, 30, 70, 80]
    assert dataset.actions[:, 0].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.07, 0.08])
    assert np.flatnonzero(dataset.terminals).tolist() == [4]
    assert np.flatnonzero(dataset.timeouts).tolist() == [2]


def test_cameras_of_locomotion(tmp_path: Path) -> None:
    shots = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    examples = [
        control(3, 1.0, False, True, **{"observation/walker/egocentric_camera": [s.tobytes() for s in shots]})
    ]
    path = write_records(tmp_path / "x.tfrecord", examples)
    dataset, _ = get_dataset(path)
    camera = dataset.observations["egocentric_camera"]
    np.testing.assert_array_equal(camera, np.moveaxis(shots[:2], -1, 1))
    assert dataset.observations["vector"].shape == (2, 3)
    np.testing.assert_array_equal(
        dataset.final_observations["egocentric_camera"][0], np.moveaxis(shots[2], -1, 0)
    )
    assert get_dataset(path, cameras=False)[0].observations.shape == (2, 3)
    bad = [control(3, 1.0, False, True, **{"observation/walker/egocentric_camera": [b"x"]})]
    with pytest.raises(FileFormatError, match="expected 3 raw images of 64 x 64 x 3"):
        get_dataset(write_records(path, bad))


def test_real_world_rl(tmp_path: Path) -> None:
    place = np.arange(4, dtype=np.float32)
    # Row t holds the action, reward and discount that led to its observation.
    features = {
        "observation:position": place,
        "observation:velocity": np.stack([-place, 2 * place], 1).reshape(-1),
        "action": 0.1 * (place - 1),
        "reward": 10 * (place - 1),
        "discount": np.array([0, 1, 1, 1], np.float32),
    }
    path = write_records(tmp_path / "episodes.tfrecord", [encode_example(features)] * 2, packed=False)
    dataset, _ = get_dataset(path)
    assert dataset.observations.tolist() == [[0, 0, 0], [1, -1, 2], [2, -2, 4]] * 2
    assert dataset.actions[:3, 0].tolist() == pytest.approx([0.0, 0.1, 0.2])
    assert dataset.rewards.tolist() == [0, 10, 20] * 2
    assert dataset.final_observations[:, 0].tolist() == [3, 3]
    assert dataset.timeouts.sum() == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": np.zeros(5)}, "'action' has 5 numbers, expected a multiple of 3 steps"),
        ({"reward": np.zeros(1)}, "has 1 steps, expected at least two"),
        ({"reward": [b""]}, "expected the numbers 'reward'"),
        ({"discount": np.zeros(0)}, "'discount' has 0 numbers"),
    ],
)
def test_wrong_control_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    examples = [control(3, 1.0, False, True), control(3, 1.0, False, True, **changes)]
    with pytest.raises(FileFormatError, match=f"record 1, at byte .*{message}"):
        get_dataset(write_records(tmp_path / "x.tfrecord", examples))


@pytest.mark.parametrize(
    ("whole", "format"),
    [
        (transition(3, 1, 1.0, 1.0), "rl_unplugged"),
        (episode(3, [1, 2, 3], [0.0, 1.0, 0.0], 0.0), "rl_unplugged"),
        (control(4, 1.0, True, True), "rl_unplugged_control"),
        (control(2, 1.0, True, False), "rl_unplugged_control"),
    ],
)
def test_any_damage_is_an_error_of_ours_or_other_values(tmp_path: Path, whole: bytes, format: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        damaged = bytearray(whole)
        damaged[rng.integers(min(len(whole), 400))] = rng.integers(256)
        path = write_records(tmp_path / "x.tfrecord", [whole, bytes(damaged)], packed=False)
        with contextlib.suppress(OfflineKitError), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            get_dataset(path, format=format)


def test_examples_that_differ(tmp_path: Path) -> None:
    examples = [control(2, 1.0, False, False), control(2, 1.0, False, False, action=np.zeros(4))]
    with pytest.raises(FileFormatError, match="Examples differ"):
        get_dataset(write_records(tmp_path / "x.tfrecord", examples))


def test_actions_beyond_the_range(tmp_path: Path) -> None:
    path = write_records(tmp_path / "x.tfrecord", [control(2, 150.0, False, False)] * 2)
    with pytest.raises(DatasetError, match="clip_actions=True"):
        get_dataset(path)
    assert get_dataset(path, clip_actions=True)[0].actions.max() == 1.0


def test_control_by_name(bucket: Path) -> None:
    for i in range(2):
        put(bucket, f"dm_control_suite/fish_swim/train-{i:05d}-of-00100", [control(2, i, False, False)] * 2)
    put(bucket, "dm_locomotion/rodent_mazes/seq40/train-00007-of-00100", [control(9, 0.0, False, False)])
    shard, _ = get_dataset("rl_unplugged/dm_control_suite/fish_swim?shard=1")
    assert shard.observations[:, 0].tolist() == [1.0, 1.0]
    assert len(get_dataset("rl_unplugged/dm_locomotion/rodent_mazes", shard=7)[0]) == 8
    with pytest.raises(DownloadError, match="train-00002-of-00100"):
        get_dataset("rl_unplugged/dm_control_suite/fish_swim")
    with pytest.raises(ValueError, match="unknown task 'fish_swin'; did you mean 'fish_swim'"):
        get_dataset("rl_unplugged/dm_control_suite/fish_swin")


def test_real_world_rl_by_name(bucket: Path) -> None:
    place = np.arange(3, dtype=np.float32)
    features = {"observation:x": place, "action": 0 * place, "reward": place, "discount": place**0}
    folder = "rwrl/combined_challenge_easy/walker/walk/5_percent"
    for i in range(17):
        put(bucket, f"{folder}/episodes.tfrecord-{i:05d}-of-00017", [encode_example(features)], packed=False)
    dataset, _ = get_dataset("rl_unplugged/rwrl/walker_walk?challenge=easy&size=5_percent")
    assert (len(dataset), dataset.n_episodes) == (34, 17)
    assert dataset.name == "rl_unplugged/rwrl/walker_walk"
    for option, value in {"challenge": "hard", "size": "2_percent"}.items():
        with pytest.raises(ValueError, match=f"{option} must be one of"):
            get_dataset("rl_unplugged/rwrl/walker_walk", **{option: value})


def test_without_ale_the_environment_is_missing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offlinekit.envs.environments._register", lambda package: False)
    path = write_records(tmp_path / "x.tfrecord", [transition(0, 0, 0.0, 1.0)] * 2)
    with pytest.warns(MissingExtraWarning, match=r"offlinekit\[atari\]"):
        dataset, env = get_dataset(path, game="Pong")
    assert env is None
    assert isinstance(dataset, MDPDataset)
