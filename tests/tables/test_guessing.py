"""A first schema, guessed from the cells, is one that the commands take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.datasets.tabular.table_frames import read_texts
from offlinekit.tables.guessing import guess
from offlinekit.tables.schema_files import read_schema
from offlinekit.tables.table_columns import TableError

pandas = pytest.importorskip("pandas")
pytest.importorskip("yaml")


def frame(n: int = 12) -> Any:
    half = n // 2
    return pandas.DataFrame(
        {
            "Patient": [f"p{i}" for i in range(2) for _ in range(half)],
            "hour": [*range(half)] * 2,
            "pulse": ["60", "", *["80.5"] * (n - 2)],
            "level": ["1", "0"] * half,
            "ward": ["A", "unknown", "None"] * (n // 3),
            "admitted": ["2024-01-01", "2024-02-01T10:00"] * half,
            "note": [f"text {i}" for i in range(n)],
            "empty": [""] * n,
            "treatment": ["None", "10", "9"] * (n // 3),
            "score": np.arange(n) / 2,
            "died": (["no"] * (half - 1) + ["yes"]) * 2,
        }
    )


def test_kinds_and_roles() -> None:
    guessed = guess(frame())
    kinds = {name: column.kind for name, (column, _) in guessed.observations.items()}
    assert kinds == {"pulse": "number", "level": "yes/no", "ward": "category", "admitted": "time"}
    assert guessed.observations["ward"][0].categories == (
        "A",
        "None",
    )  # The class of others is called unknown.
    assert guessed.observations["pulse"][1] == "60 to 80.5; 1 of 12 rows have no value: state a rule"
    assert guessed.actions["treatment"][0].categories == ("9", "10", "None")
    assert guessed.roles == {
        **{"reward": "score", "episode": "Patient", "time": "hour", "terminal": "died"},
        **{"timeout": None, "propensity": None},
    }
    assert guessed.unused == {
        "note": "12 different texts, such as 'text 0'",
        "empty": "it has no value at all",
    }


def test_roles_that_the_caller_names() -> None:
    guessed = guess(frame(), action="pulse", reward="hour")
    column, _ = guessed.actions["pulse"]
    assert (column.kind, column.low, column.high) == ("number", 60.0, 80.5)
    assert guessed.roles["reward"] == "hour"
    with pytest.raises(TableError, match="the rows have no column 'puls'; did you mean 'pulse'"):
        guess(frame(), action="puls")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    guessed = guess(frame())
    (tmp_path / "x.yaml").write_text(guessed.to_yaml("x.csv", "x.yaml"))
    schema = read_schema(tmp_path / "x.yaml")
    assert schema.observations == tuple(column for column, _ in guessed.observations.values())
    assert schema.actions == tuple(column for column, _ in guessed.actions.values())
    assert (schema.reward, schema.episode, schema.terminal, schema.timeout) == (
        "score",
        "Patient",
        "died",
        None,
    )


def test_decimal_commas(tmp_path: Path) -> None:
    rows = frame().assign(pulse=[f"{i},5" for i in range(12)], Größe=[f"{i},25" for i in range(12)])
    rows.to_csv(tmp_path / "x.csv", index=False, sep=";", decimal=",")
    guessed = guess(read_texts(tmp_path / "x.csv"))
    (tmp_path / "x.yaml").write_text(guessed.to_yaml("x.csv", "x.yaml"), encoding="utf-8")
    schema = read_schema(tmp_path / "x.yaml")
    assert schema.decimal == ","
    assert "Größe" in [column.name for column in schema.observations]
    dataset, _ = get_dataset(tmp_path / "x.csv", schema=schema)
    assert dataset.observations[:3, 0].tolist() == [0.5, 1.5, 2.5]
    assert dataset.rewards[:3].tolist() == [0, 0.5, 1]
    assert dataset.schema == schema.fitted(rows.replace(",", ".", regex=True))


def test_a_table_is_read_by_its_guess(tmp_path: Path) -> None:
    frame().drop(columns="pulse").to_csv(tmp_path / "x.csv", index=False)
    text = guess(frame().drop(columns="pulse")).to_yaml("x.csv", "x.yaml")
    (tmp_path / "x.yaml").write_text(text)
    dataset, _ = get_dataset(tmp_path / "x.csv", schema=tmp_path / "x.yaml")
    assert dataset.n_episodes == 2
    # level 1, ward A, a day that is the first one; then level 0, ward unknown, 31 days and 10 hours later.
    np.testing.assert_allclose(
        dataset.observations[:2], [[1, 1, 0, 0, 0], [0, 0, 0, 1, 31 + 10 / 24]], rtol=1e-6
    )
    assert dataset.actions[:3].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["04.05.2023", "31.12.2023", None], "%d.%m.%Y"),
        (["4/13/2023 10:00", "12/31/2023 23:59"], "%m/%d/%Y %H:%M"),
        (["4/5/2023", "12/11/2023"], ""),  # Days and months cannot be told apart.
        (["2023-05-04", "2023-12-31"], ""),  # ISO 8601.
        (["a-1", "b-2"], ""),
    ],
)
def test_formats_of_times_are_guessed_if_one_fits(cells, expected):
    table = {"visit": cells, "dose": [0.0, 1.0, 2.0][: len(cells)]}
    found = guess(table)
    assert found.time_format == expected
    assert f"time_format: {json.dumps(expected)}".removesuffix(' ""') in found.to_yaml("x.csv", "x.yaml")
    if expected:
        assert found.observations["visit"][0].kind == "time"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "icu_stay",
            "stay",
            "stayId",
            "hadm_id",
            "trajectory",
            "traj_id",
            "ep",
            "EP_ID",
            "Episode No",
            "case",
        ),
        *("customer_id", "run", "run_id", "rollout", "encounter_id", "patientNumber", "subject", "visit"),
    ],
)
@pytest.mark.parametrize("cell", [int, "N{}".format])
def test_episodes_are_found_by_their_name(name, cell):
    found = guess({"x": np.arange(8) / 4, name: [cell(i // 2) for i in range(8)], "block": [7, 8] * 4})
    assert (found.roles["episode"], dict(found.proposed)) == (name, {})
    assert list(found.observations) == ["x", "block"]


def test_names_that_only_sound_like_episodes_are_none():
    """A length of stay is seen; a word that may count something has to be the same over blocks of rows, too."""
    found = guess({"length_of_stay": [1.5, 2, 2.5, 3], "run": [1, 2, 1, 2], "steps": [0.5] * 4})
    assert found.roles["episode"] is None
    assert list(found.observations) == ["length_of_stay", "run", "steps"]


def test_a_second_name_of_episodes_is_no_observation():
    found = guess({"patient": list("aabb"), "stay_id": [5, 5, 6, 6], "x": [0.5, 1.5, 2.5, 3.5]})
    assert found.roles["episode"] == "patient"
    assert found.unused == {"stay_id": "its name says that it tells episodes apart, as patient does"}


def test_a_column_that_is_the_same_in_blocks_is_proposed(tmp_path: Path) -> None:
    """Of two such the one with more blocks; not fractions, flags, times, gaps, or values that come again."""
    n = 120
    table = {
        "site": [f"S{i // 60}" for i in range(n)],
        "plant": [1000 + i // 4 for i in range(n)],
        "mixed": [f"M{i % 60}" for i in range(n)],
        "shift": [f"K{i // 2 % 30}" for i in range(n)],
        "weight": [i // 3 + 0.5 for i in range(n)],
        "flag": [i // 60 for i in range(n)],
        "since": [f"2024-01-{1 + i // 5:02d}" for i in range(n)],
        "dose": [0.5] * n,
        "reward": [0.25] * n,
    }
    found = guess(table)
    assert found.roles["episode"] == "plant"
    assert found.proposed["episode"].startswith("its 30 values are each the same over a block of rows")
    text = found.to_yaml("x.csv", "x.yaml")
    assert '\nepisode: "plant"  # Proposed: its 30 values' in text
    (tmp_path / "x.yaml").write_text(text)
    assert read_schema(tmp_path / "x.yaml").episode == "plant"
    for name in ("site", "plant"):
        table.pop(name)
    assert guess(table).roles["episode"] is None
    assert guess({**table, "code": [None, *range(n // 2), *range(n // 2 - 1)]}).roles["episode"] is None
    assert guess({**table, "code": range(n)}).roles["episode"] is None
    assert guess({**table, "code": [7] * n}).roles["episode"] is None


def test_columns_that_name_the_labels_of_the_action_say_what_is_possible():
    """One that says no where its label was taken, and labels that two columns name, are no such columns."""
    table = {"treatment": ["low", "high"] * 4, "Low ok": [1] * 8, "may_high": [0, 1] * 4, "x": [0.5, 2.5] * 4}
    found = guess(table)
    assert found.legal_actions == ("may_high", "Low ok")
    assert list(found.observations) == ["x"]
    assert 'legal_actions: ["may_high", "Low ok"]' in found.to_yaml("x.csv", "x.yaml")
    for changed in ({"may_high": [1, 0] * 4}, {"high too": [1] * 8}, {"may_high": [3, 7] * 4}):
        assert guess({**table, **changed}).legal_actions == ()
    assert guess({"x": [0.5, 2.5]}).legal_actions == ()


def test_the_column_of_times_has_a_format_too():
    assert guess({"date": ["04.05.2023", "31.12.2023"], "x": [0.5, 2.5]}).time_format == "%d.%m.%Y"
