from __future__ import annotations

from pathlib import Path

import numpy as np
import package_layouts as layouts
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError


def test_demonstrations_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.robomimic(tmp_path, n_demos=11))
    # Rewards of demo i begin at 10 i; as texts demo_10 would stand before demo_2.
    assert dataset.rewards[dataset.episode_starts].tolist() == [10.0 * i for i in range(11)]
    np.testing.assert_array_equal(dataset.final_observations["object"][3], layouts.SEEN[2] + 6)
    assert dataset.terminals.sum() == 11
    assert dataset.extras["states"].shape == (33, 3)
    assert dataset.metadata["robomimic"]["env_name"] == "Lift"


def test_split_and_observations(tmp_path: Path) -> None:
    path = layouts.robomimic(tmp_path)
    dataset, _ = get_dataset(path, split="train", observations="eef", terminals=False)
    assert (dataset.n_episodes, dataset.observations.shape) == (1, (3, 2))
    assert dataset.timeouts.tolist() == [False, False, True]
    with pytest.raises(DatasetError, match="no split 'trian'; did you mean 'train'"):
        get_dataset(path, split="trian")
    with pytest.raises(DatasetError, match="no observation 'efe'; did you mean 'eef'"):
        get_dataset(path, observations=["efe"])


def test_images_have_their_channels_first(tmp_path: Path) -> None:
    pixels = np.arange(3 * 8 * 9 * 3).reshape(3, 8, 9, 3).astype(np.uint8)
    path = layouts.robomimic(
        tmp_path, 1, data__demo_0__obs__camera=pixels, data__demo_0__next_obs__camera=pixels
    )
    found = get_dataset(path)[0].observations["camera"]
    np.testing.assert_array_equal(found, np.moveaxis(pixels, -1, 1))


def test_success_that_lasts_ends_a_demonstration_once(tmp_path: Path) -> None:
    path = layouts.robomimic(tmp_path, 1, data__demo_0__dones=np.array([0, 1, 1]))
    with pytest.warns(DatasetWarning, match="'dones' is set at 1 rows before the end .* row 1"):
        dataset, _ = get_dataset(path)
    assert dataset.terminals.tolist() == [False, False, True]


def test_files_without_observations_say_how_to_get_them(tmp_path: Path) -> None:
    changes = {f"data__demo_0__{key}": None for key in ("obs__object", "obs__eef", "rewards", "dones")}
    with pytest.raises(
        FileFormatError, match=r"demo_0 has no obs, rewards, dones; .*dataset_states_to_obs.py"
    ):
        get_dataset(layouts.robomimic(tmp_path, 1, **changes))
