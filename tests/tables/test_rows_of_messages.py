"""Messages about a table name its rows as they stand in it, however they are sorted afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import from_dataframe, get_dataset
from offlinekit.datasets.inspection.examining import examine
from offlinekit.errors import DatasetError

pandas = pytest.importorskip("pandas")

NAMED = {"observations": ["x"], "action": "a", "reward": "r", "episode": "id", "time": "t"}
SCHEMA: dict[str, Any] = {
    "observations": [{"name": "x", "high": 100}],
    "actions": [{"name": "a", "kind": "category", "categories": ["0", "1"]}],
    **{"reward": "r", "episode": "id", "time": "t", "terminal": "d", "propensity": "p"},
}


def table(**changes: Any) -> Any:
    """Row 1 of the table is row 3 of the dataset."""
    made = {"id": ["b", "a", "b", "a"], "t": [2, 2, 1, 1], "x": [22.0, 12.0, 21.0, 11.0]}
    made |= {"a": [1, 0, 1, 0], "r": [2.2, 1.2, 2.1, 1.1], "d": [0, 0, 0, 0], "p": [0.5] * 4}
    frame = pandas.DataFrame(made).astype(object)
    for name, value in changes.items():
        frame.loc[1, name] = value
    return frame.infer_objects()


def test_rows_are_sorted_all_the_same() -> None:
    for options in (NAMED, {"schema": SCHEMA}):
        dataset = from_dataframe(table(), **options)
        assert dataset.observations[:, 0].tolist() == [21, 22, 11, 12]
        np.testing.assert_allclose(dataset.rewards, [2.1, 2.2, 1.1, 1.2], rtol=1e-6)
        assert np.flatnonzero(dataset.timeouts).tolist() == [1, 3]
    assert from_dataframe(table(), schema=SCHEMA).extras["t"].tolist() == [1, 2, 1, 2]


@pytest.mark.parametrize(
    "changes", [{"x": 999.0}, {"a": "zz"}, {"r": np.nan}, {"d": 0.3}, {"p": 0.0}], ids=str
)
def test_a_schemas_messages(changes: dict[str, Any]) -> None:
    with pytest.raises(DatasetError, match=r"at row 1\b"):
        from_dataframe(table(**changes), schema=SCHEMA)


@pytest.mark.parametrize(
    "changes", [{"x": np.nan}, {"r": np.nan}, {"d": 0.3}, {"p": 0.0}, {"x": np.inf}], ids=str
)
def test_messages_without_a_schema(changes: dict[str, Any], tmp_path: Path) -> None:
    named = {**NAMED, "terminal": "d", "propensity": "p"}
    with pytest.raises(DatasetError, match=r"at row 1\b"):
        from_dataframe(table(**changes), **named)
    path = tmp_path / "x.csv"
    table(**changes).to_csv(path, index=False)
    with pytest.raises(DatasetError, match=r"at row 1\b"):
        get_dataset(path, **named)
    faults = examine(path, **named).faults
    assert all(fault.row == 1 or "at row 1" in fault.text for fault in faults), faults
