"""Every broken input at every door: building, `find_faults`, readers, files, tables and the command line agree."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from broken import BROKEN, N, sound
from click.testing import CliRunner

from offlinekit.cli.main import main
from offlinekit.datasets import (
    MDPDataset,
    from_dataframe,
    get_dataset,
    register_dataset,
    schema,
    unregister_dataset,
)
from offlinekit.datasets.inspection.examining import examine
from offlinekit.datasets.inspection.rules import find_faults
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError


@pytest.mark.parametrize("case", BROKEN)
def test_building_refuses_what_the_list_has(case: str) -> None:
    columns, field = BROKEN[case]
    found = find_faults(columns)
    assert found[0].field == field
    assert all(finding.severity == "fault" and finding.message and finding.fix for finding in found)
    with pytest.raises(DatasetError) as raised:
        MDPDataset(**columns)
    assert raised.value.findings == tuple(found)
    assert str(raised.value) == found[0].text


def test_what_is_sound_is_built_and_has_no_fault() -> None:
    columns = sound(
        final_observations=np.ones((2, 3)),
        final_known=[0, 1],
        behavior_log_probs=np.ones(N),  # Densities may be above 1.
        extras={"clock": np.arange(N)},
        episode_extras={"patient": [b"a", b"b"]},
        metadata={"reference_min_score": 0, "reference_max_score": 1},
        create_mask=True,
    )
    assert find_faults(columns) == []
    assert len(MDPDataset(**columns)) == N


def test_a_fault_survives_another_process() -> None:
    with pytest.raises(DatasetError) as raised:
        MDPDataset(**BROKEN["rewards: NaN"][0])
    again = pickle.loads(pickle.dumps(raised.value))
    assert (type(again), str(again), again.findings) == (
        DatasetError,
        str(raised.value),
        raised.value.findings,
    )


@pytest.fixture
def given() -> Iterator[dict[str, Any]]:
    """Columns that the dataset "given" is read from."""
    columns: dict[str, Any] = {}
    register_dataset("given")(lambda: dict(columns))
    yield columns
    unregister_dataset("given")


@pytest.mark.parametrize("case", BROKEN)
def test_readers(case: str, given: dict[str, Any]) -> None:
    given.update(BROKEN[case][0])
    found = find_faults(given)
    with pytest.raises(DatasetError) as raised:
        get_dataset("given")
    assert str(raised.value) == found[0].text
    assert examine("given").faults == found


def test_a_name_that_is_no_column(given: dict[str, Any]) -> None:
    given.update(sound(), reward=np.zeros(N))
    (found,) = examine("given").faults
    assert found.text.startswith("reward is no column of a dataset; did you mean 'rewards'")
    with pytest.raises(TypeError, match="reward"):
        get_dataset("given")


FLAT = {
    case: columns
    for case, (columns, _) in BROKEN.items()
    if all(
        column is None or (name in schema.FLAT and isinstance(column, np.ndarray) and column.dtype != object)
        for name, column in columns.items()
        if name != "action_space"
    )
    and not any(columns.get(name) is None for name in schema.REQUIRED)
    and not isinstance(columns.get("action_space"), str)
}
"""Those that a file of one array a column can hold."""


@pytest.mark.parametrize("case", FLAT)
def test_npz_files_and_the_command_line(case: str, tmp_path: Path) -> None:
    columns = FLAT[case]
    path, space = tmp_path / "x.npz", columns.get("action_space")
    np.savez(
        path,
        **{name: column for name, column in columns.items() if name in schema.FLAT and column is not None},
    )
    is_number = all(
        column.dtype.kind in "fiub"
        for name, column in columns.items()
        if name in schema.FLAT and column is not None
    )
    with pytest.raises(DatasetError if is_number else FileFormatError) as raised:
        get_dataset(path, action_space=space)
    if is_number:
        assert str(raised.value) == find_faults(columns)[0].text
        result = CliRunner().invoke(main, ["datasets", "validate", str(path)])
        faults = find_faults({**columns, "action_space": None})
        assert result.exit_code == (1 if faults else 0)
        assert all(f"{finding.field} {finding.message}" in result.output for finding in faults)


def test_enough_cases_are_walked() -> None:
    assert len(BROKEN) >= 120
    assert len(FLAT) >= 35


STORED = {
    case: (field, columns[field])
    for case, (columns, field) in BROKEN.items()
    if isinstance(columns.get(field), np.ndarray)
    and columns[field].dtype.kind in "fiub"
    and columns.get("action_space") == sound()["action_space"]
    and schema.BY_NAME[field].kind not in ("named", "bits")
    and schema.BY_NAME[field].is_kept
    and case.startswith(f"{field}: ")
    and not case.endswith(("episode_terminals is not", "beside next ones"))
}
"""A broken column in the place of a sound one of our own file."""


@pytest.mark.parametrize("case", STORED)
def test_our_own_files(case: str, tmp_path: Path) -> None:
    field, column = STORED[case]
    full = sound(final_observations=np.ones((2, 3)), behavior_log_probs=np.zeros(N))
    path = MDPDataset(**full).save(tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        if field == "next_observations":
            del file["final_observations"]
        elif field in file:
            del file[field]
        file[field] = column
    wrong = r"has \d (rows|episodes), expected \d" if case.endswith("length") else field
    for read in (MDPDataset.load, get_dataset):
        with pytest.raises((DatasetError, FileFormatError), match=wrong):
            read(path)


@pytest.mark.parametrize(
    "case", ["rewards: NaN", "rewards: infinity", "terminals: half", "terminals: NaN", "actions: NaN"]
)
def test_tables(case: str) -> None:
    pandas = pytest.importorskip("pandas")
    columns, field = BROKEN[case]
    table = {name: np.asarray(columns[name])[:, None].reshape(N, -1)[:, 0] for name in schema.REQUIRED}
    frame = pandas.DataFrame(table)
    names = {
        "observations": ["observations"],
        "action": "actions",
        "reward": "rewards",
        "terminal": "terminals",
    }
    with pytest.raises(DatasetError) as raised:
        from_dataframe(frame, **names)
    assert field in raised.value.findings[0].field


def test_an_error_is_called_as_documents_call_it_and_a_warning_points_at_the_call(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(
        path, observations=np.zeros((4, 2)), actions=[0, 2] * 2, rewards=np.ones(4), terminals=[0, 1] * 2
    )
    with pytest.raises(DatasetError) as raised:
        MDPDataset(np.zeros((2, 1)), [0, 1], [np.nan, 0.0], [0, 1])
    assert type(raised.value) is DatasetError
    for build in (
        lambda: get_dataset(path),
        lambda: MDPDataset(np.zeros((2, 1)), [0, 2], np.zeros(2), [0, 1]),
    ):
        with pytest.warns(DatasetWarning, match="actions skip 1 of the numbers") as caught:
            build()
        assert [one.filename for one in caught] == [__file__]
