from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.algos import DiscreteBCQ, DiscreteCQL
from offlinekit.datasets import MDPDataset, get_dataset, known_datasets
from offlinekit.datasets.sources import dqn_replay
from offlinekit.errors import DownloadError, FileFormatError
from offlinekit.load_budget import BYTES_PER_BYTE, Budget
from offlinekit.metrics import normalized_score

pytestmark = pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning")


class Recorder:
    """A circular buffer as Dopamine keeps it: three rows of zeros before an episode, logged one slot early."""

    def __init__(self, folder: Path, capacity: int, side: int = 6) -> None:
        self.folder, self.capacity, self.side = folder, capacity, side
        self.frames = np.zeros((capacity, side, side), np.uint8)
        self.columns = {
            "action": np.zeros(capacity, np.int32),
            "reward": np.zeros(capacity, np.float32),
            "terminal": np.zeros(capacity, np.uint8),
        }
        self.n_added = self.n_logged = 0
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, brightness: int, action: int, reward: float, terminal: bool) -> None:
        slot = self.n_added % self.capacity
        self.frames[slot] = brightness
        for name, value in zip(self.columns, (action, reward, terminal), strict=True):
            self.columns[name][slot] = value
        self.n_added += 1
        if self.n_added % self.capacity == self.capacity - 1:
            self.log()

    def play(self, first: int, length: int, over: bool = True) -> None:
        """Records steps of brightness first, first + 1, ...; the reward is 1 on odd ones."""
        for _ in range(3):
            self.put(0, 0, 0.0, False)
        for i in range(first, first + length):
            self.put(i % 256, i % 4, float(i % 2), over and i == first + length - 1)

    def log(self) -> None:
        cursor = self.n_added % self.capacity
        spoilt = (cursor + np.arange(-1, 4)) % self.capacity
        stores = {f"$store$_{name}": values for name, values in self.columns.items()}
        stores |= {
            "$store$_observation": self.frames,
            "add_count": np.array(self.n_added),
            "invalid_range": spoilt,
        }
        for name, values in stores.items():
            save(self.folder / f"{name}_ckpt.{self.n_logged}.gz", values)
        self.n_logged += 1


def save(path: Path, values: Any) -> None:
    raw = io.BytesIO()
    np.save(raw, values)
    path.write_bytes(gzip.compress(raw.getvalue(), 1))


def seen(dataset: Any) -> list[int]:
    return dataset.observations[:, 0, 0, 0].tolist()


def test_padding_stale_slot_and_cut(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "Breakout" / "1" / "replay_logs", 20, side=84)
    recorder.play(10, 5)  # Slots 0-7.
    recorder.play(50, 30)  # Slots 8-19 and on; the first log comes before slot 19 is written.
    folder = recorder.folder
    first, _ = get_dataset(folder, epochs=0)
    assert seen(first) == [10, 11, 12, 13, 14, *range(50, 58)]
    assert first.episode_ends.tolist() == [5, 13]
    assert (np.flatnonzero(first.terminals).tolist(), np.flatnonzero(first.timeouts).tolist()) == ([4], [12])
    assert not first.final_known.any()
    assert first.actions.tolist() == [i % 4 for i in seen(first)]
    assert first.rewards.tolist() == [i % 2 for i in seen(first)]
    assert first.action_space == spaces.Discrete(4)
    assert first.metadata["env_id"] == "ALE/Breakout-v5"
    # The second log goes on at slot 0; its slot 19, the stale one, is 58, which is in no dataset.
    second, _ = get_dataset(folder, epochs=1)
    assert seen(second)[:3] == [59, 60, 61]
    assert 58 not in seen(second)
    both, _ = get_dataset(folder)
    assert seen(both) == seen(first) + seen(second)
    assert both.timeouts[12]  # Two logs never share an episode.


def test_a_log_in_the_middle_of_a_round(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "logs", 16)
    recorder.play(10, 10)
    recorder.play(50, 8)  # 24 rows: the cursor is at slot 8, where the oldest row lies.
    recorder.log()
    dataset, _ = get_dataset(tmp_path / "logs", epochs=recorder.n_logged - 1)
    # Slots 0-7 hold 50 ... 57, slots 9-15 what was there one round ago: 16 ... 19, and then padding.
    assert seen(dataset) == [*range(50, 58), *range(16, 20)]
    assert dataset.episode_ends.tolist() == [8, 12]
    assert np.flatnonzero(dataset.terminals).tolist() == [7, 11]


def test_a_log_that_was_never_full(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "logs", 40)
    recorder.play(10, 4)
    recorder.log()
    dataset, _ = get_dataset(tmp_path / "logs")
    assert seen(dataset) == [10, 11, 12, 13]


def test_without_a_count_the_last_slot_is_the_stale_one(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "logs", 10)
    recorder.play(10, 30)
    (tmp_path / "logs" / "add_count_ckpt.1.gz").unlink()
    dataset, _ = get_dataset(tmp_path / "logs", epochs=1)
    assert seen(dataset) == list(range(17, 26))


def test_black_frames_of_a_game_are_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "logs", 20)
    recorder.play(0, 3)  # The first frame is black, and no action and no reward came with it.
    recorder.put(0, 0, 0.0, False)
    recorder.put(7, 0, 0.0, False)  # Its padding is short; a black frame after it is none.
    recorder.put(0, 0, 0.0, False)
    recorder.put(9, 1, 0.0, True)
    recorder.log()
    dataset, _ = get_dataset(tmp_path / "logs")
    assert seen(dataset) == [0, 1, 2, 7, 0, 9]


def test_the_recorders_step_limit_is_a_timeout(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "logs", 40)
    recorder.play(10, 5)
    recorder.play(50, 4)
    recorder.log()
    dataset, _ = get_dataset(tmp_path / "logs", step_limit=5)
    assert np.flatnonzero(dataset.timeouts).tolist() == [4]
    assert np.flatnonzero(dataset.terminals).tolist() == [8]
    assert get_dataset(tmp_path / "logs", step_limit=None)[0].terminals.sum() == 2


def test_an_epoch_is_read_once(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "logs", 40)
    recorder.play(10, 5)
    recorder.log()
    with pytest.raises(ValueError, match="epochs must differ, got \\[0, 0\\]; give each epoch once"):
        get_dataset(tmp_path / "logs", epochs=[0, 0])


def test_returns_are_no_scores_but_an_evaluation_has_one(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "Pong" / "replay_logs", 40)
    recorder.play(10, 5)
    recorder.log()
    dataset = MDPDataset(**dqn_replay.read(tmp_path / "Pong" / "replay_logs"))
    assert dataset.metadata["clipped_rewards"] is True
    assert dataset.reference_scores == (-20.7, 14.6)
    assert normalized_score(14.6, dataset) == 100.0


def test_a_fraction_keeps_whole_episodes(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "logs", 300)
    for i in range(30):
        recorder.play(1 + 7 * i, 7)
    dataset, _ = get_dataset(tmp_path / "logs", fraction=0.1, seed=3)
    assert dataset.n_episodes == 3
    assert dataset.episode_lengths().tolist() == [7, 7, 7]
    assert all(seen(part) == list(range(seen(part)[0], seen(part)[0] + 7)) for part in dataset)
    again, _ = get_dataset(tmp_path / "logs", fraction=0.1, seed=3)
    other, _ = get_dataset(tmp_path / "logs", fraction=0.1, seed=4)
    assert seen(again) == seen(dataset) != seen(other)
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\], got 0"):
        get_dataset(tmp_path / "logs", fraction=0)


def test_frames_come_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "logs", 40)
    recorder.play(10, 10)
    recorder.play(50, 10)
    recorder.log()
    whole, _ = get_dataset(tmp_path / "logs")
    monkeypatch.setattr(
        "offlinekit.datasets.families.replay_log.BLOCK", 7
    )  # Padding lies on both sides of a border.
    parts, _ = get_dataset(tmp_path / "logs")
    np.testing.assert_array_equal(parts.observations, whole.observations)
    assert parts.episode_ends.tolist() == whole.episode_ends.tolist() == [10, 20]


@pytest.mark.parametrize("algorithm", [DiscreteCQL, DiscreteBCQ])
def test_training_with_stacks_of_frames(tmp_path: Path, algorithm: Any) -> None:
    recorder = Recorder(tmp_path / "Pong" / "1" / "replay_logs", 64, side=84)
    recorder.play(10, 40)
    recorder.play(100, 18)
    dataset, _ = get_dataset(recorder.folder)
    assert dataset.observations.shape == (57, 1, 84, 84)
    algo = algorithm(frame_stack=4, batch_size=8, seed=0).fit(dataset, 3, out=None, progress=False)
    assert algo.impl.observation_space.shape == (4, 84, 84)
    assert algo.impl.action_space == spaces.Discrete(6)


def broken(folder: Path, name: str, content: Any) -> None:
    path = folder / f"{name}_ckpt.0.gz"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save(path, content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("$store$_action", None, "action_ckpt.0.gz is missing"),
        ("$store$_action", b"text", "is no gzip of an array"),
        ("$store$_action", gzip.compress(b"text", mtime=0), "is no gzip of an array"),
        ("$store$_action", np.zeros(5, np.int32), r"columns of \[5, 40, 40\] rows"),
        ("$store$_action", np.array([None] * 40), "holds object"),
        ("$store$_observation", np.zeros((39, 6, 6), np.uint8), r"holds uint8\[39, 6, 6\]"),
        ("$store$_observation", np.zeros((40, 6, 6), np.float32), "holds float32"),
        ("add_count", np.array(0), "epoch 0 holds no row"),
        ("add_count", np.array(-3), "counts -3 rows"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, name: str, content: Any, message: str) -> None:
    recorder = Recorder(tmp_path / "logs", 40)
    recorder.play(10, 20)
    recorder.log()
    broken(tmp_path / "logs", name, content)
    with pytest.raises(FileFormatError, match=message):
        get_dataset(tmp_path / "logs")


def test_files_cut_short(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "logs", 40)
    recorder.play(10, 20)
    recorder.log()
    path = tmp_path / "logs" / "$store$_observation_ckpt.0.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-12])
    with pytest.raises(FileFormatError, match="cannot be unpacked"):
        get_dataset(tmp_path / "logs")
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:-5]))
    with pytest.raises(FileFormatError, match="ends 5 bytes too early"):
        get_dataset(tmp_path / "logs")


def test_names_of_d4rl_atari(bucket: Path, tmp_path: Path) -> None:
    recorder = Recorder(bucket / "MsPacman" / "2" / "replay_logs", 30, side=84)
    recorder.n_logged = 10
    recorder.play(10, 25)
    recorder.n_logged = 10
    recorder.log()
    dataset, _ = get_dataset("ms-pacman-medium-v0?run=2")
    assert seen(dataset) == list(range(10, 35))
    assert (dataset.name, dataset.action_space) == ("ms-pacman-medium-v0", spaces.Discrete(9))
    assert not dataset.observations.flags.writeable  # Mapped.
    for path in (tmp_path / "data" / "dqn_replay" / "MsPacman" / "2" / "replay_logs").glob("$store$_obs*"):
        path.write_bytes(b"is not read again")
    again, _ = get_dataset("dqn_replay/MsPacman?run=2&epoch=10")
    assert seen(again) == seen(dataset)


def test_what_is_not_there(bucket: Path) -> None:
    known = known_datasets()
    assert {"breakout-mixed-v0", "up-n-down-expert-v0", "dqn_replay/{game}"} <= set(known)
    assert len([name for name in known if name.endswith("-expert-v0") and "DQN" in known[name]]) == 60
    with pytest.raises(DownloadError, match=r"observation_ckpt\.50\.gz"):
        get_dataset("breakout-expert-v0")
    with pytest.raises(ValueError, match="did you mean 'breakout-expert-v0'"):
        get_dataset("brekout-expert-v0")
    with pytest.raises(ValueError, match="needs an epoch"):
        get_dataset("dqn_replay/Breakout")
    with pytest.raises(ValueError, match="says its epoch, 50"):
        get_dataset("breakout-expert-v0", epoch=3)
    with pytest.raises(ValueError, match="run must be in"):
        get_dataset("breakout-expert-v0", run=0)
    (bucket / "Pong" / "1" / "replay_logs").mkdir(parents=True)
    (bucket / "Pong" / "1" / "replay_logs" / "$store$_observation_ckpt.1.gz").write_text("<html>")
    with pytest.raises(DownloadError, match="is no gzip of an array"):
        get_dataset("pong-mixed-v0")


def court(n: int) -> Any:
    """Frames [n, 84, 84] of a game of paddles, of which little moves: gzip shrinks those of Pong by 160."""
    frames, step = np.full((n, 84, 84), 87, np.uint8), np.arange(n)
    frames[:, [10, 11, 12, 13, 78, 79, 80, 81]] = 236
    row, column = (
        low + np.abs(step * speed % (2 * size) - size) for low, size, speed in ((14, 62, 3), (4, 74, 2))
    )
    left = np.random.default_rng(0).integers(14, 70, n)
    for i in range(n):
        frames[i, left[i] : left[i] + 8, 6:8] = 130
        frames[i, row[i] - 4 : row[i] + 4, 74:76] = 147
        frames[i, row[i] : row[i] + 2, column[i]] = 236
    return frames


@pytest.mark.parametrize(("factor", "fits"), [(BYTES_PER_BYTE, True), (128, False)])
def test_frames_of_quiet_games_fit_the_budget(
    factor: int, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(tmp_path / "Pong" / "1" / "replay_logs", 1000, side=84)
    recorder.play(0, 990)
    recorder.frames = court(1000)
    recorder.log()
    shard = recorder.folder / "$store$_observation_ckpt.0.gz"
    shard.write_bytes(gzip.compress(gzip.decompress(shard.read_bytes()), 9))  # As Dopamine does.
    assert 128 < recorder.frames.nbytes / shard.stat().st_size < BYTES_PER_BYTE
    monkeypatch.setattr(Budget.__init__, "__kwdefaults__", {"spare": 0, "factor": factor})
    if fits:
        assert len(get_dataset(recorder.folder, epochs=0)[0]) > 900
    else:
        with pytest.raises(FileFormatError, match="pass max_bytes="):
            get_dataset(recorder.folder, epochs=0)
