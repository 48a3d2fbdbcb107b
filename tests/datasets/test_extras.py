from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, DatasetWarning


def build(**options: Any) -> MDPDataset:
    """Episodes of 2, 1 and 2 rows."""
    extras = {"behavior_log_probs": -np.arange(5.0), "infos/x": np.arange(10, dtype=np.int8).reshape(5, 2)}
    made = {
        "extras": extras,
        "episode_extras": {"seed": np.array([7, 2**62, 9]), "note": np.array([b"a", b"bc", b""])},
    }
    return MDPDataset(np.zeros((5, 1)), np.zeros(5, int), np.ones(5), [0, 1, 1, 0, 1], **{**made, **options})


def assert_extras(dataset: MDPDataset, rows: list[int], episodes: list[int]) -> None:
    log_probs = dataset.behavior_log_probs
    assert log_probs is not None
    assert log_probs.tolist() == [-float(row) for row in rows]
    assert dataset.extras["infos/x"].dtype == np.int8
    assert dataset.extras["infos/x"].tolist() == [[2 * row, 2 * row + 1] for row in rows]
    assert dataset.episode_extras["seed"].tolist() == [[7, 2**62, 9][episode] for episode in episodes]
    assert dataset.episode_extras["note"].tolist() == [[b"a", b"bc", b""][episode] for episode in episodes]


@pytest.mark.parametrize("compress", [True, False])
def test_they_stay_with_rows_and_episodes(tmp_path: Path, compress: bool) -> None:
    dataset = build()
    assert_extras(dataset, [0, 1, 2, 3, 4], [0, 1, 2])
    assert_extras(dataset[1:], [2, 3, 4], [1, 2])
    assert_extras(dataset[[2, 0]], [3, 4, 0, 1], [2, 0])
    assert_extras(dataset[0].concat(dataset[2]), [0, 1, 3, 4], [0, 2])
    path = dataset.save(tmp_path / "x.h5", compress=compress)
    assert_extras(MDPDataset.load(path), [0, 1, 2, 3, 4], [0, 1, 2])
    if not compress:
        mapped = MDPDataset.open(path)
        assert_extras(mapped[1:], [2, 3, 4], [1, 2])
        assert isinstance(mapped.extras["infos/x"].base, np.memmap)


def test_joined_datasets_keep_what_all_have() -> None:
    with pytest.warns(DatasetWarning, match="'seed', 'note' are left out"):
        joined = build().concat(build(extras={"infos/x": np.ones((5, 2), np.int8)}, episode_extras={}))
    assert list(joined.extras) == ["infos/x"]
    assert joined.episode_extras == {}
    other = build(extras={"infos/x": np.ones((5, 3), np.int8)})
    with pytest.warns(DatasetWarning, match=r"extras .*'infos/x'"):
        assert build().concat(other).extras == {}
    assert build(extras=None).behavior_log_probs is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extras": {"a": np.ones(4)}}, r"extras\['a'\] has 4 rows, expected 5"),
        ({"episode_extras": {"a": np.ones(5)}}, r"episode_extras\['a'\] has 5 episodes, expected 3"),
        ({"extras": {"a": np.array([None] * 5)}}, r"extras\['a'\] must be one array .*got object"),
        ({"extras": {"a": 1.0}}, r"extras\['a'\] must be one array"),
        ({"extras": {"a": np.ones((5, 0))}}, r"extras\['a'\] must be one array"),
    ],
)
def test_what_is_no_column_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        build(**options)
