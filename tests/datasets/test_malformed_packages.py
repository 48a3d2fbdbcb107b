"""Recordings of other packages that are damaged, or claim and lack what they should not; see `test_malformed_files`."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import package_layouts as sound
import pytest
from damage import cut, damaged, flipped, holding, in_a_circle, linked_away, to, with_columns

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError, FileFormatError, OfflineKitError

MOST_MEMORY = 32 << 20
SHORT = np.zeros((4, 2), np.float32)
SHARD = "toy-train.tfrecord-00000-of-00001"
CASES: dict[str, tuple[Any, str]] = {
    "buffer: cut off": (damaged(sound.buffer, cut), r"no reader recognises"),
    "buffer: a bit flipped": (damaged(sound.buffer, flipped), r"is damaged, or holds objects"),
    "buffer: actions too short": (
        with_columns(sound.buffer, action=SHORT),
        r"actions has 4 rows, expected 6",
    ),
    "buffer: flags that count": (
        with_columns(sound.buffer, not_done=np.arange(6)),
        r"not_done must be 0 or 1, got 2 at row 2",
    ),
    "dsrl: costs in another file": (
        damaged(sound.dsrl, linked_away("costs")),
        r"has 'costs' as a ExternalLink, expected data in the file",
    ),
    "dsrl: cut off": (damaged(sound.dsrl, cut), r"is damaged or truncated"),
    "robomimic: a demonstration in a circle": (
        damaged(sound.robomimic, in_a_circle("data/demo_1/obs")),
        r"is a group, expected an array|nested more than 32 deep",
    ),
    "robomimic: data in another file": (
        damaged(sound.robomimic, linked_away("data/demo_0")),
        r"ExternalLink",
    ),
    "robomimic: rewards too short": (
        with_columns(sound.robomimic, data__demo_1__rewards=np.zeros(2)),
        r"has \d rows, expected 2",
    ),
    "robomimic: a split of strangers": (
        lambda folder: sound.robomimic(folder, mask__train=np.array([b"demo_9"])),
        r"split 'train' names 'demo_9', which is no demonstration",
    ),
    "imitation: cut off": (damaged(sound.imitation, cut), r"no reader recognises"),
    "imitation: terminal too short": (
        with_columns(sound.imitation, terminal=np.array([True])),
        r"'indices' in .* one fewer than its 1 trajectories",
    ),
    "stable_baselines: rewards too short": (
        with_columns(sound.stable_baselines, rewards=np.zeros(3)),
        r"has \d rows, expected 3",
    ),
    "v_d4rl: rewards too short": (with_columns(sound.v_d4rl, reward=np.zeros(3)), r"has 4 rows, expected 3"),
    "v_d4rl shard: cut off": (damaged(sound.v_d4rl_shard, cut), r"is damaged or truncated"),
    "bandit: rewards too short": (with_columns(sound.bandit, reward=np.zeros(3)), r"has 6 rows, expected 3"),
    "rllib rows: a line that is no JSON": (
        damaged(sound.rllib_rows, lambda path: path.write_text(path.read_text() + "{")),
        r"line 7 of .* is not JSON",
    ),
    "rllib rows: ragged observations": (
        with_columns(sound.rllib_rows, obs=[[1.0], [1.0, 2.0]] * 3),
        r"'obs' at line 1 of .* is no column",
    ),
    "rllib table: cut off": (
        damaged(sound.rllib_table, to("run-000001-00001/0_000000.parquet", cut)),
        r"no reader recognises",
    ),
    "tfds: cut off": (damaged(sound.tfds, to(SHARD, cut)), r"record \d, at byte .*fetch it again"),
    "tfds: a bit flipped": (damaged(sound.tfds, to(SHARD, flipped)), r"record \d, at byte .*checksum"),
    "tfds: features that are no JSON": (
        damaged(sound.tfds, to("features.json", holding("{"))),
        r"features.json cannot be read",
    ),
    "tfds sequence: steps that differ": (
        with_columns(sound.tfds_sequence, reward=np.zeros(6)),
        r"rewards must have shape \[N\]|'reward' in record 0",
    ),
}


@pytest.mark.parametrize("name", list(sound.LAYOUTS))
@pytest.mark.filterwarnings("ignore:texts and features", "ignore:propensities")
def test_what_is_not_changed_is_read(tmp_path: Path, name: str) -> None:
    assert len(get_dataset(sound.LAYOUTS[name](tmp_path))[0]) >= 3


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.filterwarnings("ignore:texts and features", "ignore:propensities")
def test_malformed(case: str, tmp_path: Path) -> None:
    make, message = CASES[case]
    path = make(tmp_path)
    options = {"split": "train"} if "split" in case else {}
    tracemalloc.start()
    try:
        with pytest.raises((FileFormatError, DatasetError), match=f"(?s){message}"):
            get_dataset(path, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY


@pytest.mark.parametrize("name", list(sound.LAYOUTS))
@pytest.mark.filterwarnings("ignore")
def test_any_byte_may_be_wrong(tmp_path: Path, name: str) -> None:
    """Each of 12 bytes changed, or the rest of the file missing: read, or refused by an error of ours."""
    made = sound.LAYOUTS[name](tmp_path)
    path = (
        made
        if made.is_file()
        else next(p for p in sorted(made.rglob("*")) if p.is_file() and p.suffix != ".json")
    )
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for at in rng.integers(0, len(whole), 12):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :]):
            path.write_bytes(content)
            with contextlib.suppress(OfflineKitError, ValueError):
                get_dataset(made)
