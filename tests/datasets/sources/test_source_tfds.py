from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import package_layouts as layouts
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError

pytestmark = pytest.mark.filterwarnings("ignore:texts and features")


def test_the_last_step_holds_only_its_observation(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.tfds(tmp_path))
    assert dataset.rewards.tolist() == [0.5, 1.5] * 2
    np.testing.assert_allclose(dataset.actions[:2], [[0.0, 0.1], [0.2, 0.3]], rtol=1e-6)
    assert dataset.observations["state"][:2].tolist() == [[0, 1], [2, 3]]
    assert dataset.final_observations["state"].tolist() == [[4, 5]] * 2
    assert dataset.terminals.tolist() == [False, True] * 2
    assert dataset.observations["image"].shape == (4, 1, 8, 8)
    assert dataset.extras["discount"].tolist() == [1] * 4
    assert dataset.name == "toy"


def test_rewards_before_their_observation(tmp_path: Path) -> None:
    assert get_dataset(layouts.tfds(tmp_path), alignment="RSA")[0].rewards.tolist() == [1.5, 9.0] * 2


def test_texts_are_left_out_and_said(tmp_path: Path) -> None:
    ragged = {"tokens__ragged_flat_values": np.arange(4), "tokens__ragged_row_lengths_0": np.ones(4, int)}
    path = layouts.tfds(tmp_path, **ragged)
    with pytest.warns(DatasetWarning, match="are left out: language_instruction, tokens"):
        get_dataset(path)


def test_sequence_examples(tmp_path: Path) -> None:
    dataset, _ = get_dataset(layouts.tfds_sequence(tmp_path))
    assert dataset.observations.tolist() == [[0, 1], [2, 3]] * 2
    assert dataset.rewards.tolist() == [0.5, 1.5] * 2
    assert dataset.final_observations.tolist() == [[4, 5]] * 2


def test_parts_of_observations_and_actions(tmp_path: Path) -> None:
    path = layouts.tfds(tmp_path, action=None, action__grip=np.array([7.0, 8, 9]), action__arm=np.arange(6.0))
    dataset, _ = get_dataset(path, observations="state")
    assert dataset.actions.tolist() == [[0, 1, 7], [2, 3, 8]] * 2  # "arm" before "grip".
    assert dataset.observations.shape == (4, 2)
    with pytest.raises(DatasetError, match="no part 'stat'; did you mean 'state'"):
        get_dataset(path, observations="stat")


def test_absent_rewards_are_said(tmp_path: Path) -> None:
    with pytest.warns(DatasetWarning, match="no 'reward' in its steps, so that rewards are 0"):
        get_dataset(layouts.tfds(tmp_path, reward=None))


def test_splits(tmp_path: Path) -> None:
    path = layouts.tfds(tmp_path)
    with pytest.raises(DatasetError, match="has no split 'test'; it has train"):
        get_dataset(path, split="test")
    assert get_dataset(path / "toy-train.tfrecord-00000-of-00001")[0].n_episodes == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_first": None}, "record 0 of .* has no steps/is_first; it has action"),
        ({"is_terminal": None}, "record 0 of .* has no steps/is_terminal; it has"),
        (
            {"action": np.zeros(5)},
            "'action' in record 0 .* has 5 numbers for 3 steps; is it one of varying size",
        ),
        (
            {"observation__image": [layouts.image(8)[:40]] * 3},
            "'observation/image' in record 0 .* a damaged image",
        ),
        ({"observation__image": [layouts.image(8)] * 2 + [layouts.image(9)]}, "must hold images of one size"),
        ({"action": None}, "has no numbers or images 'action' in its steps"),
    ],
)
def test_what_is_wrong(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=message):
        get_dataset(layouts.tfds(tmp_path, **changes))


def test_stated_shapes_hold(tmp_path: Path) -> None:
    path = layouts.tfds(tmp_path)
    text = json.dumps(layouts.features_json()).replace('["2"]', '["4"]')
    (path / "features.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"does not fit the shape \[4\] that features.json states"):
        get_dataset(path)
    (path / "features.json").write_text('{"featuresDict": 3}')
    with pytest.raises(FileFormatError, match=r"features\.json describes no features"):
        get_dataset(path)
