"""Facts that are noted beside the recorded data and that no reader's own tests hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import FileFormatError

RealData = Callable[[str], Path]


def test_d4rl_files_mix_dtypes_and_columns(real_data: RealData) -> None:
    dtypes, shifted, without = set(), 0, 0
    for path in sorted(real_data("d4rl").glob("*.hdf5")):
        with h5py.File(path) as file:
            dtypes.add(file["observations"].dtype)
            shifted += "next_observations" in file
            without += "next_observations" not in file
    assert dtypes == {np.dtype(np.float32), np.dtype(np.float64)}
    assert (shifted, without) == (9, 23)


@pytest.mark.filterwarnings("ignore::offlinekit.datasets.families.d4rl_facts.KnownFaultWarning")
@pytest.mark.filterwarnings("ignore:terminals are set on two rows running")
@pytest.mark.parametrize("kind", ["diverse", "play"])
def test_antmaze_tells_its_goals(real_data: RealData, kind: str) -> None:
    path = real_data(f"d4rl/antmaze-medium-{kind}-v0.hdf5")
    dataset, _ = get_dataset(path, infos=["goal"])
    with h5py.File(path) as file:
        np.testing.assert_array_equal(dataset.extras["infos/goal"], file["infos/goal"][()])
    assert dataset.extras["infos/goal"].shape == (len(dataset), 2)


def test_cartpole_sets_terminals_twice(real_data: RealData) -> None:
    path = real_data("d3rlpy_v1/cartpole_v1.1.0.h5")
    with h5py.File(path) as file:
        stated, last = (file[name][()] > 0 for name in ("terminals", "episode_terminals"))
    assert (stated[1:] & stated[:-1]).sum() == 1_448
    assert (last & ~stated).sum() == 134
    dataset, _ = get_dataset(path)
    np.testing.assert_array_equal(dataset.terminals, stated & last)


def test_a_tabular_mdp_is_no_dataset(real_data: RealData) -> None:
    path = real_data("icu_sepsis/dynamics.npz")
    with np.load(path, allow_pickle=False) as file:
        assert file["tx_mat"].shape == (716, 25, 716)
        np.testing.assert_allclose(file["tx_mat"].sum(axis=2), 1, atol=1e-5)
        assert file["d_0"].sum() == pytest.approx(1, abs=1e-6)
    with pytest.raises(FileFormatError, match=r"has no key 'observations'; it has tx_mat, r_mat, d_0"):
        get_dataset(path)
