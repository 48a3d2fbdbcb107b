"""Files that are read in a process of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.datasets.untrusted import read_apart
from offlinekit.errors import FileFormatError
from offlinekit.testing import small_dataset


def test_it_is_the_same_dataset(tmp_path: Path) -> None:
    path = small_dataset("continuous").save(tmp_path / "x.h5")
    apart, here = get_dataset(path, untrusted=True)[0], get_dataset(path)[0]
    np.testing.assert_array_equal(apart.observations, here.observations)
    np.testing.assert_array_equal(apart.terminals, here.terminals)
    assert apart.name == here.name
    assert apart.action_space == here.action_space


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(FileFormatError, match="is damaged or truncated"):
        get_dataset(tmp_path / "x.h5", untrusted=True)
    path = small_dataset("continuous").save(tmp_path / "y.h5")
    with pytest.raises(FileFormatError, match=r"was not read within 0\.01 seconds"):
        read_apart(str(path), {}, seconds=0.01)
    with pytest.raises(FileFormatError, match="ended the process that read it"):
        read_apart(str(path), {}, memory=1 << 20)
    with pytest.raises(TypeError, match="JSON serializable"):
        get_dataset(path, untrusted=True, action_space=small_dataset("continuous").action_space)
