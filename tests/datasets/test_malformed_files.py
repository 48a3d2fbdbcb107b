"""Malformed files of every format: the class of the error, a message that says what to do, and little memory.

python -m pytest tests/datasets/test_malformed_files.py -s     # prints each message
"""

from __future__ import annotations

import gzip
import re
import tracemalloc
from pathlib import Path
from typing import Any

import layouts as sound
import numpy as np
import pytest
from damage import (
    claimed_record,
    cut,
    damaged,
    emptied,
    flipped,
    holding,
    in_a_circle,
    inside,
    linked_away,
    npy,
    npz_with_rewards,
    of_another_file,
    records,
    replaced,
    replay,
    to,
    trapped,
    with_columns,
    zip_bomb,
)

from offlinekit.datasets import get_dataset
from offlinekit.datasets.formats import json_files
from offlinekit.errors import OfflineKitError

for module in ("pyarrow.parquet", "pyarrow.compute", "pandas"):
    pytest.importorskip(module)

pytestmark = pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning")
MOST_MEMORY = 32 << 20
"""Bytes that reading a malformed file of some kilobytes may take."""
NAN = np.full(6, np.nan, np.float32)
SHORT = sound.ACTIONS[:4]


BATCH = '{"type": "SampleBatch", "obs": '
D4RL, V1, V2, NATIVE, MINARI = sound.d4rl, sound.d3rlpy_v1, sound.d3rlpy_v2, sound.native, sound.minari
ARROW, TIANSHOU, LEROBOT, GYM = sound.minari_arrow, sound.tianshou, sound.lerobot, sound.gymnasium
CASES: dict[str, tuple[Any, ...]] = {
    # HDF5
    "native: cut off": (damaged(NATIVE, cut), r"is damaged or truncated .*fetch or write it again"),
    "native: of a later version": (
        damaged(NATIVE, inside(lambda file: file.attrs.__setitem__("version", 9))),
        r"has version 9, this release reads 1; upgrade offlinekit",
    ),
    "native: header nested without end": (
        damaged(NATIVE, inside(lambda file: file.attrs.__setitem__("header", "[" * 40_000))),
        r"has a damaged header .*write it again",
    ),
    "native: a space of 10^12 numbers": (
        with_columns(
            NATIVE, action_space={"kind": "box", "shape": [10**12], "dtype": "float32", "low": 0, "high": 1}
        ),
        r"a Box of shape .10{12}. would take",
    ),
    "native: observations in a circle": (
        damaged(NATIVE, in_a_circle("observations")),
        r"is nested more than 32 deep; does a link lead back",
    ),
    "native: environment that is no name": (
        with_columns(NATIVE, metadata={"env_id": 7}),
        r"env_id must be a name and env_kwargs a dict, got 7",
    ),
    "d4rl: empty file": (
        damaged(D4RL, emptied),
        r"is not HDF5: it begins with b''; was it fetched completely",
    ),
    "d4rl: a web page": (damaged(D4RL, holding("<html>404")), r"is not HDF5: it begins with b'<html>404'"),
    "d4rl: cut off": (
        damaged(D4RL, cut),
        r"is damaged or truncated .*truncated file.*fetch or write it again",
    ),
    "d4rl: NaN rewards": (
        with_columns(D4RL, rewards=NAN),
        r"rewards must be finite, got nan at row 0, in episode 0 \(6 such rows\); drop",
    ),
    "d4rl: actions too short": (with_columns(D4RL, actions=SHORT), r"actions has 4 rows, expected 6"),
    "d4rl: flags that count": (
        with_columns(D4RL, terminals=np.arange(6)),
        r"terminals must be 0 or 1, got 2 at row 2 \(4 such rows\); convert",
    ),
    "d4rl: rewards of words": (
        with_columns(D4RL, rewards=np.array([b"high"] * 6)),
        r"'rewards' in .* has dtype \|S4, expected numbers",
    ),
    "d4rl: rewards in another file": (
        damaged(D4RL, linked_away("rewards")),
        r"has 'rewards' as a ExternalLink, expected data in the file",
    ),
    "d4rl: rewards through a virtual dataset": (
        damaged(D4RL, replaced("rewards", of_another_file)),
        r"'rewards' in .* lies in another file, expected data in the file",
    ),
    "d4rl: 10^12 rewards that were never written": (
        damaged(
            D4RL,
            replaced("rewards", lambda file: file.create_dataset("rewards", (10**12,), "f4", chunks=(64,))),
        ),
        r"'rewards' in .* claims shape \[10{12}\], but its data were never written",
    ),
    "d3rlpy v1: ends too short": (
        with_columns(V1, episode_terminals=sound.ENDS[:2]),
        r"episode_terminals has 2 rows, expected 6",
    ),
    "d3rlpy v1: infinite discrete actions": (
        with_columns(V1, discrete_action=True, actions=np.full(6, np.inf)),
        r"actions must be whole numbers in a Discrete space, got inf at row 0, in episode 0 \(6 such rows\)",
    ),
    "d3rlpy v2: of another version": (
        with_columns(V2, version="3.0"),
        r"has version 3.0 of d3rlpy, expected 2.1; write it again",
    ),
    "d3rlpy v2: 10^12 episodes claimed": (
        with_columns(V2, num_episodes=10**12),
        r"has no 'observations_2', it holds",
    ),
    "d3rlpy v2: episodes of differing width": (
        with_columns(V2, observations_1=sound.SEEN[:3, :2]),
        r"observations must have rows of one shape in every part, got \[2\] and \[3\]",
    ),
    "d3rlpy v2: an empty episode": (
        with_columns(V2, rewards_1=sound.REWARDS[:0]),
        r"rewards_1 is empty, expected at least one row",
    ),
    "tianshou: a size that is a word": (
        with_columns(TIANSHOU, attributes={"_size": "many"}),
        r"has _size 'many', expected a whole number",
    ),
    "tianshou: 10^9 rows claimed": (
        with_columns(TIANSHOU, attributes={"_size": 10**9}),
        r"is an empty buffer, or one whose sizes do not fit: \[10{9}\]",
    ),
    "tianshou: actions too short": (with_columns(TIANSHOU, act=SHORT), r"act has 4 rows, expected 6"),
    "tianshou: observations in a circle": (
        damaged(TIANSHOU, in_a_circle("_meta/obs")),
        r"is nested more than 32 deep; does a link lead back",
    ),
    "tianshou: buffer in another file": (
        damaged(TIANSHOU, linked_away("_meta")),
        r"has '_meta' as a ExternalLink, expected data in the file",
        {"format": "tianshou"},
    ),
    "gymnasium: observations too short": (
        with_columns(GYM, observations=sound.SEEN[:3]),
        r"observations has 3 rows, expected 6; every column needs one entry for each",
    ),
    "gymnasium: truncations too short": (
        with_columns(GYM, truncations=sound.ENDS[:3]),
        r"rewards, terminations and truncations must have one shape",
    ),
    "gymnasium: one reward": (
        with_columns(GYM, rewards=1.0),
        r"must have one shape|rewards must have shape \[N\]",
    ),
    # NPZ
    "npz: empty file": (
        damaged(sound.npz, emptied),
        r"no reader recognises .*x.npz; known formats are .*pass format=",
    ),
    "npz: cut off": (
        damaged(sound.npz, cut),
        r"is not an NPZ file, or is truncated; write it with np.savez_compressed",
        {"format": "npz"},
    ),
    "npz: a bit flipped": (
        damaged(sound.npz, flipped),
        r"is damaged, or holds objects, which are never read",
    ),
    "npz: pickled rewards": (trapped, r"is damaged, or holds objects, which are never read"),
    "npz: 10^12 rewards claimed": (
        npz_with_rewards(npy((10**12,))),
        r"claims shape \[10{12}\], 4,000,000,000,000 bytes, but has",
    ),
    "npz: a header of brackets": (
        npz_with_rewards(b"\x93NUMPY\x01\x00\x00\x04" + b"(" * 1024),
        r"is damaged.*its header cannot be parsed",
    ),
    "npz: no rewards": (
        with_columns(sound.npz, rewards=None, timeouts=sound.ENDS),
        r"has no key 'rewards'; it has",
    ),
    "ogbench: actions too short": (
        with_columns(sound.ogbench, actions=SHORT),
        r"actions has 4 rows, expected 6",
    ),
    "ogbench: nothing recorded": (
        with_columns(
            sound.ogbench, **{name: np.zeros((0, 1)) for name in ("observations", "actions", "terminals")}
        ),
        r"observations is empty, expected at least one row; check whether anything was recorded",
    ),
    "neorl: an index beyond the end": (
        with_columns(sound.neorl, index=np.array([0, 9])),
        r"'index' in .* must rise from 0 to at most 6, got \[0, 9\]",
    ),
    "neorl: done too short": (with_columns(sound.neorl, done=sound.ENDS[:3]), r"done has 3 rows, expected 6"),
    "rlds: no observation": (with_columns(sound.rlds, observation=None), r"has no key 'observation'; it has"),
    "rlds: rewards too short": (
        with_columns(sound.rlds, reward=sound.REWARDS[:2]),
        r"reward has 2 rows, expected 6",
    ),
    "rlds: terminal that is not the last": (
        with_columns(sound.rlds, is_terminal=np.array([0, 1, 0, 0, 0, 0])),
        r"is_terminal is set at row 1, where is_last is not",
    ),
    # Folders
    "minari: bad JSON": (
        damaged(MINARI, to("data/metadata.json", holding('{"total_episodes": 2,'))),
        r"metadata.json cannot be read \(.*\); fetch it again",
    ),
    "minari: a list for the metadata": (
        damaged(MINARI, to("data/metadata.json", holding('["total_episodes"]'))),
        r"metadata.json holds a JSON list, expected an object",
    ),
    "minari: two episodes in words": (
        with_columns(MINARI, facts={"total_episodes": "two"}),
        r"says total_episodes 'two', expected a whole number",
    ),
    "minari: 10^15 episodes claimed": (
        with_columns(MINARI, facts={"total_episodes": 10**15}),
        r"has no 'episode_2'",
    ),
    "minari: a space nested without end": (
        with_columns(MINARI, facts={"observation_space": "[" * 40_000}),
        r"expected a space of Minari as JSON, got .*nested too deep",
    ),
    "minari: a Discrete of 10^12": (
        with_columns(
            MINARI,
            facts={"observation_space": '{"type": "Discrete", "n": 1000000000000}'},
            **{f"episode_{i}__observations": np.zeros(4, np.int64) for i in range(2)},
        ),
        r"observations of Discrete\(10{12}\) would be one-hot of 1,000,000,000,000, at most 16,384",
    ),
    "minari: data cut off": (damaged(MINARI, to("data/main_data.hdf5", cut)), r"is damaged or truncated"),
    "minari: actions too short": (
        with_columns(MINARI, episode_1__actions=sound.ACTIONS[:2]),
        r"episode 1 has 2 actions to 3 rewards, expected 3",
    ),
    "minari: a path for its data": (
        with_columns(MINARI, facts={"data_format": "../../etc"}),
        r"has the layout '../../etc', expected 'hdf5', 'arrow' or 'parquet'",
    ),
    "minari arrow: table cut off": (
        damaged(ARROW, to("data/0/data.parquet", cut)),
        r"data.parquet is no Parquet file, or is damaged .*fetch it again",
    ),
    "minari arrow: bad JSON of an episode": (
        with_columns(ARROW, attributes="{"),
        r"0/metadata.json cannot be read .*fetch it again",
    ),
    "minari arrow: rows of differing width": (
        with_columns(ARROW, observations=[[1.0], [1.0] * 5, [1.0] * 3, [1.0] * 3]),
        r"'observations' in .* must hold lists of numbers of one length, got 3 lengths",
    ),
    "lerobot: of an old version": (
        with_columns(LEROBOT, facts={"codebase_version": "v1.0"}),
        r"has version v1.0 of LeRobot, expected v2 or v3; convert it there",
    ),
    "lerobot: features that are a list": (
        with_columns(LEROBOT, facts={"features": [1]}),
        r"has no features by name",
    ),
    "lerobot: ragged actions": (
        with_columns(LEROBOT, action=[[1.0], [1.0, 2.0, 3.0]] * 3),
        r"'action' in .* must hold lists of numbers of one length, got 2 lengths",
    ),
    "dqn_replay: actions are missing": (
        with_columns(sound.dqn_replay, action=None),
        r"action_ckpt.1.gz is missing",
    ),
    "dqn_replay: no gzip": (replay("action", b"hello"), r"is no gzip of an array that np.save wrote"),
    "dqn_replay: cut off": (
        replay("action", gzip.compress(npy((6,), "<i4"))),
        r"ends 8 bytes too early; fetch it",
    ),
    "dqn_replay: frames of 2^48 pixels": (
        replay("observation", gzip.compress(npy((6, 1 << 24, 1 << 24), "|u1"))),
        r"claims shape \[6, 16777216, 16777216\]",
    ),
    "dqn_replay: rewards too short": (
        with_columns(sound.dqn_replay, reward=sound.REWARDS[:3]),
        r"epoch 1 has columns of \[6, 3, 6\] rows, expected one length",
    ),
    # Lines and tables
    "csv: empty file": (damaged(sound.csv, emptied), r"is not a CSV table with a header line", sound.TABLE),
    "csv: a column is missing": (
        with_columns(sound.csv, text="x,dos,gain\n1,2,3\n"),
        r"has no column 'dose'; did you mean 'dos'\?; it has x, dos, gain",
        sound.TABLE,
    ),
    "csv: words for numbers": (
        with_columns(sound.csv, text="x,dose,gain\nhigh,0,1\n"),
        r"column 'x' must hold numbers, got dtype (object|str); number texts by np.unique",
        sound.TABLE,
    ),
    "csv: an action of 2^62": (
        with_columns(sound.csv, text=f"x,dose,gain\n1,{2**62},1\n"),
        r"actions must be numbered from 0 if they are discrete, got 4,611,686,018,427,387,904; number them anew",
        sound.TABLE,
    ),
    "parquet: cut off": (damaged(sound.parquet, cut), r"is no Parquet file, or is damaged", sound.TABLE),
    "parquet: a hole": (
        with_columns(sound.parquet, x=[1.0, None]),
        r"observations must be finite, got nan at row 1",
        sound.TABLE,
    ),
    "rllib: cut off": (damaged(sound.rllib, cut), r"line 1 of .* is not JSON .*was it fetched completely"),
    "rllib: brackets without end": (
        damaged(sound.rllib, holding(BATCH + "[" * 40_000)),
        r"line 1 of .* is not JSON \(it is nested too deep\)",
    ),
    "rllib: junk for a packed column": (
        with_columns(sound.rllib, obs="AAAA"),
        r"'obs' at line 1 of .* is no column",
    ),
    "rllib: one number for the rewards": (
        with_columns(sound.rllib, rewards=3),
        r"'rewards' at line 1 .*, got 3",
    ),
    "rllib: policies in a list": (
        with_columns(sound.rllib, type="MultiAgentBatch", policy_batches=["a"]),
        r"must hold the batch of one policy, got \['a'\]",
    ),
    "rllib: a zip that unpacks to one long line": (
        zip_bomb,
        r"has a line of more than 1,048,576 bytes, expected one",
    ),
    # TFRecord
    "atari: cut off": (
        damaged(sound.atari, cut),
        r"record \d, at byte .*fetch it again",
        {"format": "rl_unplugged"},
    ),
    "atari: an image of another size": (
        with_columns(sound.atari, o_t=[sound.image(83)] * 4, o_tp1=[sound.image(83)] * 4),
        r"record 0, at byte 0: .*expected a gray PNG of 84 x 84, got one of 83 x 83",
    ),
    "atari: an image without its end": (
        with_columns(sound.atari, o_t=[sound.image()[:-12]] * 4, o_tp1=[sound.image()[:-12]] * 4),
        r"record 0, at byte 0: a PNG image is damaged",
    ),
    "atari: no discount": (with_columns(sound.atari, d_t=np.zeros(0)), r"expected a number as d_t, got none"),
    "atari episodes: rewards too short": (
        with_columns(sound.atari_episodes, clipped_rewards=np.ones(2)),
        r"columns of one episode have \[2, 3\] rows, expected one length",
    ),
    "control: wrong checksum": (
        records(b"payload", change=lambda content: content[:14] + b"X" + content[15:]),
        r"record 0, at byte 0: the checksum of its payload is wrong; fetch the file again",
        {"format": "rl_unplugged_control"},
    ),
    "control: a record of 512 MB claimed": (
        records(b"payload", change=claimed_record),
        r"record 0, at byte 0: it claims 536,870,912 bytes, at most",
        {"format": "rl_unplugged_control"},
    ),
    "control: no protocol buffer": (
        records(b"\xff" * 30),
        r"record 0, at byte 0: the number at byte 0 does not end within 10 bytes",
        {"format": "rl_unplugged_control"},
    ),
    "control: positions that do not divide": (
        with_columns(sound.control, observation__position=np.zeros(5)),
        r"'observation/position' has 5 numbers, expected a multiple of 2 steps",
    ),
    "rwrl: an episode of one step": (
        with_columns(sound.rwrl, reward=np.ones(1)),
        r"an Example has 1 steps, expected at least two",
    ),
    "waymo: a field that claims 4 GB": (
        records(b"\x0a\xff\xff\xff\xff\x0f"),
        r"record 0, at byte 0: a field at byte 6 claims 4,294,967,295 bytes, but 0 are left",
        {"format": "waymo"},
    ),
    "waymo: time that runs back": (with_columns(sound.waymo, times=(0.2, 0.1, 0.0)), r"timestamps must grow"),
    "waymo: states are missing": (
        with_columns(sound.waymo, n_states=2),
        r"has 2 states, expected one for each of 3 times",
    ),
    "any: no file": (lambda folder: folder / "hoper.hdf5", r"there is no file .*hoper.hdf5"),
}


@pytest.mark.parametrize("name", list(sound.LAYOUTS))
def test_what_is_not_changed_is_read(tmp_path: Path, name: str) -> None:
    assert len(get_dataset(sound.LAYOUTS[name](tmp_path), **sound.OPTIONS.get(name, {}))[0]) >= 2


@pytest.mark.parametrize("case", list(CASES))
def test_malformed(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MOST_LINE", 1 << 20)
    make, message, options = (*CASES[case], {})[:3]
    path = make(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises((OfflineKitError, FileNotFoundError), match=f"(?s){message}") as raised:
            get_dataset(path, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    text = re.sub(r"\s+", " ", str(raised.value)).replace(str(tmp_path), "")
    print(f"\n{case}\n    {raised.type.__name__}: {text[:400]}")
    assert peak < MOST_MEMORY


def test_environments_of_files_import_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('a file had a module imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = sound.native(tmp_path, metadata={"env_id": "trap:Trap-v0"})
    with pytest.warns(UserWarning, match=r"'trap:Trap-v0', but a file has no module imported: import 'trap'"):
        assert get_dataset(path)[1] is None
    with pytest.raises(OfflineKitError, match="the dataset has"):  # A known name needs no import.
        get_dataset(sound.native(tmp_path, metadata={"env_id": "trap:CartPole-v1"}))
