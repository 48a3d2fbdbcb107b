"""Flags that are neither 0 nor 1 are refused by every reader, never cast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import package_layouts
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError

SHARE = np.array([0, 0, 0.3, 0, 0, 1])
GAP = np.array([0, 0, np.nan, 0, 0, 1])


def lerobot(folder: Path, flags: Any) -> Path:
    pytest.importorskip("pyarrow")
    return layouts.lerobot(folder, next__success=flags)


def v_d4rl(folder: Path, flags: Any) -> Path:
    return package_layouts.v_d4rl(folder, is_terminal=flags[:4])


def minari(folder: Path, flags: Any) -> Path:
    return layouts.minari(folder, episode_0__terminations=flags[:3])


WRITERS: list[tuple[Callable[[Path, Any], Path], dict[str, Any], str]] = [
    (lerobot, {"terminal": "next.success"}, "feature 'next.success'"),
    (v_d4rl, {}, "is_terminal"),
    (minari, {}, "terminations"),
]


@pytest.mark.parametrize("flags", [SHARE, GAP], ids=["share", "gap"])
@pytest.mark.parametrize(("write", "options", "name"), WRITERS)
def test_flags_of_other_numbers_are_refused(
    write: Callable[[Path, Any], Path], options: dict[str, Any], name: str, flags: Any, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=f"{name} must be 0 or 1, got {flags[2]}"):
        get_dataset(write(tmp_path, flags), **options)


def test_d3rlpys_flag_of_an_episode(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"terminated_0, terminated_1, \.\.\. must be 0 or 1, got 0.3"):
        get_dataset(layouts.d3rlpy_v2(tmp_path, terminated_1=0.3))
