"""One rule list behind every reader: a number that is none, in the bytes of each format, is refused alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import package_layouts
import pytest
from click.testing import CliRunner
from layouts import OPTIONS, REWARDS, SEEN

from offlinekit.cli.main import main
from offlinekit.datasets import get_dataset
from offlinekit.datasets.inspection.examining import examine
from offlinekit.datasets.source import all_sources
from offlinekit.errors import DatasetError

for module in ("pyarrow.parquet", "pandas"):
    pytest.importorskip(module)

pytestmark = [
    pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning"),
    pytest.mark.filterwarnings("ignore::offlinekit.errors.DatasetWarning"),
    pytest.mark.filterwarnings("ignore:.*(bandit|language_instruction|left out|never read)"),
]


def spoiled(column: Any, row: int = 1) -> Any:
    """Returns a column of floats with NaN in a row."""
    wrong = np.array(column, np.float64)
    wrong[row] = np.nan
    return wrong


def as_list(column: Any) -> list[float]:
    return [float(value) for value in column]


NAN = spoiled(REWARDS)
WRONG: Mapping[str, tuple[str, dict[str, Any]]] = {
    # Format: the field that is wrong in it, and the columns to put there.
    "native": ("rewards", {}),
    "d4rl": ("rewards", {"rewards": NAN}),
    "d3rlpy_v1": ("rewards", {"rewards": NAN}),
    "d3rlpy_v2": ("rewards", {"rewards_0": NAN[:3, None]}),
    "minari": ("rewards", {"episode_0__rewards": NAN[:3]}),
    "minari_arrow": ("rewards", {"rewards": NAN[:4]}),
    "npz": ("rewards", {"rewards": NAN}),
    "csv": ("rewards", {"text": "x,dose,gain\n1,0,0.5\n2,1,inf\n3,1,0\n"}),
    "parquet": ("rewards", {"gain": [0.5, np.inf]}),
    "rllib": ("rewards", {"rewards": as_list(NAN)}),
    "rllib_zip": ("rewards", {"rewards": as_list(NAN)}),
    "ogbench": ("observations", {"observations": spoiled(SEEN)}),
    "neorl": ("rewards", {"reward": NAN[:, None]}),
    "tianshou": ("rewards", {"rew": NAN}),
    "rlds": ("rewards", {"reward": NAN}),
    "gymnasium": ("rewards", {"rewards": NAN}),
    "lerobot": ("rewards", {"next__reward": NAN}),
    "dqn_replay": ("rewards", {"reward": NAN.astype(np.float32)}),
    "atari": ("rewards", {"r_t": np.array([np.nan])}),
    "atari_episodes": ("rewards", {"unclipped_rewards": spoiled(np.ones(3))}),
    "control": ("actions", {"action": spoiled(np.zeros(2), 0)}),
    "rwrl": ("rewards", {"reward": np.array([np.nan, np.inf, 2.0])}),
    "waymo": ("observations", {"x": np.inf}),
    "buffer": ("rewards", {"reward": NAN[:, None]}),
    "buffer_hdf5": ("rewards", {"rewards": NAN}),
    "dsrl": ("rewards", {"rewards": NAN}),
    "robomimic": ("rewards", {"data__demo_0__rewards": spoiled(np.ones(3))}),
    "imitation": ("rewards", {"rews": NAN}),
    "stable_baselines": ("rewards", {"rewards": NAN}),
    "v_d4rl": ("rewards", {"reward": spoiled(np.zeros(4))}),
    "v_d4rl_shard": ("rewards", {"reward": NAN}),
    "ogbench_compact": ("observations", {"observations": spoiled(SEEN)}),
    "rllib_rows": ("rewards", {"rewards": as_list(NAN)}),
    "rllib_table": ("rewards", {"rewards": as_list(NAN)}),
    "bandit": ("rewards", {"reward": NAN}),
    "tfds": ("rewards", {"reward": np.array([np.nan, 1.0, 0.0])}),
    "tfds_sequence": ("rewards", {"reward": np.array([np.nan, 1.0, 0.0])}),
}
MAKE: Mapping[str, Callable[..., Path]] = {**layouts.LAYOUTS, **package_layouts.LAYOUTS}


def made(name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Writes the layout with what is wrong in it; returns its path and the reader's options."""
    if name == "native":
        path = layouts.native(folder)
        import h5py

        with h5py.File(path, "r+") as file:
            del file["rewards"]
            file["rewards"] = NAN.astype(np.float32)
        return path, {}
    return MAKE[name](folder, **WRONG[name][1]), OPTIONS.get(name, {})


@pytest.mark.parametrize("name", WRONG)
def test_a_number_that_is_none(name: str, tmp_path: Path) -> None:
    path, options = made(name, tmp_path)
    field = WRONG[name][0]
    with pytest.raises(DatasetError, match=f"{field}.* must be finite, got (nan|-?inf)") as raised:
        get_dataset(path, **options)
    if name == "native":
        return
    report = examine(path, **options)
    assert [finding.text for finding in report.faults[:1]] == [str(raised.value)]
    words = [f"--dataset-option={key}={value}" for key, value in options.items() if isinstance(value, str)]
    if options == {} or words:
        result = CliRunner().invoke(main, ["datasets", "validate", str(path)])
        assert result.exit_code != 0


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("atari", {"d_t": np.array([np.nan])}),
        ("atari_episodes", {"discounts": spoiled(np.ones(3), 2)}),
        ("control", {"discount": spoiled(np.ones(2), 0)}),
        ("rwrl", {"discount": spoiled(np.ones(3), 1)}),
        ("v_d4rl", {"discount": spoiled(np.ones(4), 2)}),
        ("v_d4rl_shard", {"discount": spoiled(np.ones(6), 2)}),
    ],
)
def test_a_discount_that_is_no_number_ends_nothing_in_silence(
    name: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=r"(discounts?|d_t) must be finite, got nan"):
        get_dataset(MAKE[name](tmp_path, **changes))


def test_every_reader_of_files_is_walked() -> None:
    """But those of names alone, and of layouts that read as another one."""
    read = {name for name, source in all_sources().items() if source.read is not None}
    known = {name.partition("_v1")[0].partition("_v2")[0] for name in WRONG}
    alike = {
        "rl_unplugged": "atari", "rl_unplugged_control": "control", "rl_unplugged_rwrl": "rwrl", "tables": "csv",
        "buffers": "buffer", "bandits": "bandit", "bcq_buffers": "buffer", "bcq_frames": "buffer", "embedded": "native",
    }  # fmt: skip
    read.remove("dialogues")  # It names the line itself.
    assert [name for name in read if alike.get(name, name) not in known] == []
    assert len(WRONG) >= 37
