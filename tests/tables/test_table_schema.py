"""Rows of a table become numbers by its schema, and actions labels; by hand."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from offlinekit.tables.table_columns import TableColumn, TableError
from offlinekit.tables.table_schema import TableSchema

pandas = pytest.importorskip("pandas")

DATA: dict[str, Any] = {
    "observations": [
        {"name": "pulse", "kind": "number", "unit": "1/min", "gaps": "median"},
        {"name": "ward", "kind": "category", "categories": ["A", "B"]},
        {"name": "state", "kind": "order", "categories": ["mild", "severe"]},
        {"name": "admitted", "kind": "time", "unit": "hours"},
        {"name": "smoker", "kind": "yes/no"},
    ],
    "actions": [{"name": "dose", "kind": "category", "categories": ["none", "low", "high"]}],
    "reward": "score",
}
ROWS: list[dict[str, Any]] = [
    {
        "pulse": "71",
        "ward": "A",
        "state": "mild",
        "admitted": "2024-01-01T12:00",
        "smoker": "yes",
        "dose": "low",
    },
    {"pulse": None, "ward": "Z", "state": "severe", "admitted": "2024-01-01", "smoker": 0, "dose": "none"},
    {
        "pulse": 75.0,
        "ward": "B",
        "state": "severe",
        "admitted": "2024-01-02T01:00+01:00",
        "smoker": True,
        "dose": "high",
    },
]
# The median of 71 and 75 is 73. The first time is January 1st, 0 h; 1 h of January 2nd at +01:00 is 24 h later.
NUMBERS = [
    [71, 0, 1, 0, 0, 0, 12, 1],
    [73, 1, 0, 0, 1, 1, 0, 0],
    [75, 0, 0, 1, 0, 1, 24, 1],
]


@pytest.fixture(scope="module")
def schema() -> TableSchema:
    return TableSchema.from_json(DATA).fitted(ROWS)


def test_rows_by_hand(schema: TableSchema) -> None:
    assert schema.encode(ROWS).tolist() == NUMBERS  # type: ignore[union-attr]
    assert schema.features == (
        *("pulse", "pulse is missing", "ward=A", "ward=B", "ward=unknown"),
        *("state", "admitted", "smoker"),
    )


def columns_of_rows() -> dict[str, list[Any]]:
    return {name: [row[name] for row in ROWS] for name in ROWS[0]}


def frame_of_rows() -> Any:
    return pandas.DataFrame(ROWS)


@pytest.mark.parametrize("make", [lambda: ROWS, columns_of_rows, frame_of_rows])
def test_every_kind_of_table_is_read_alike(schema: TableSchema, make: Any) -> None:
    assert schema.is_table(make())
    np.testing.assert_array_equal(schema.encode(make()), NUMBERS)
    assert schema.encode_actions(make()).tolist() == [1, 0, 2]


@pytest.mark.parametrize("row", [ROWS[1], pandas.Series(ROWS[1])])
def test_one_row_has_no_axis_of_rows(schema: TableSchema, row: Any) -> None:
    assert schema.is_table(row)
    np.testing.assert_array_equal(schema.encode(row), NUMBERS[1])


def test_numbers_are_no_table(schema: TableSchema) -> None:
    for encoded in (np.zeros(8), np.zeros((2, 8)), [[0.0] * 8], [], {"observations": np.zeros(8)}):
        assert not schema.is_table(encoded)


def test_as_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    pulse = np.where(rng.random(200) < 0.2, np.nan, rng.normal(80, 9, 200).round())
    ward = rng.choice(["A", "B", "C"], 200).astype(object)
    for rule in ("mean", "median", "most_frequent"):
        imputer = SimpleImputer(strategy=rule, add_indicator=True)
        column = TableColumn("pulse", gaps=rule).fitted(pulse, "")
        np.testing.assert_allclose(column.encode(pulse), imputer.fit_transform(pulse[:, None]))
    hot = OneHotEncoder(categories=[["A", "B"]], handle_unknown="ignore", sparse_output=False)
    encoded = TableColumn("ward", "category", ("A", "B")).encode(ward)
    np.testing.assert_array_equal(
        encoded[:, :2], hot.fit(ward[ward != "C"][:, None]).transform(ward[:, None])
    )
    np.testing.assert_array_equal(encoded[:, 2], ward == "C")
    order = OrdinalEncoder(categories=[["C", "A", "B"]])
    ranks = TableColumn("ward", "order", ("C", "A", "B")).encode(ward)
    np.testing.assert_array_equal(ranks, order.fit_transform(ward[:, None]))


@pytest.mark.parametrize(
    ("kind", "cells", "expected"),
    [
        ({}, [1, "2.5", True, np.float32(4)], [1, 2.5, 1, 4]),
        ({"kind": "yes/no"}, ["Yes", "n", False, 1.0, "TRUE", "0"], [1, 0, 0, 1, 1, 0]),
        ({"kind": "yes/no", "categories": ("nein", "ja")}, ["ja", "nein"], [1, 0]),
        ({"kind": "order", "categories": ("1", "2", "10")}, [10.0, 2, " 1 "], [2, 1, 0]),
        (
            {"kind": "time", "origin": "1970-01-01"},
            [
                dt.date(1970, 1, 2),
                dt.datetime(1970, 1, 1, 6),
                np.datetime64("1970-01-03"),
                "1970-01-01T12:00Z",
            ],
            [1, 0.25, 2, 0.5],
        ),
    ],
)
def test_cells_of_every_kind(kind: dict[str, Any], cells: list[Any], expected: list[float]) -> None:
    given = np.empty(len(cells), object)
    given[:] = cells
    assert TableColumn("x", **kind).encode(given)[:, 0].tolist() == expected


def test_dates_of_a_frame_and_of_another_format() -> None:
    dates = np.array(["2024-03-01T06:00", "NaT", "2024-03-02"], "datetime64[ns]")
    column = TableColumn("day", "time", gaps="constant", fill="2024-03-03").fitted(dates, "")
    assert column.origin == "2024-03-01T06:00:00"
    assert column.encode(dates).tolist() == [[0, 0], [1.75, 1], [0.75, 0]]
    texts = np.array(["01.03.2024 06:00", "02.03.2024 00:00"], object)
    assert column.encode(texts, "%d.%m.%Y %H:%M").tolist() == [[0, 0], [0.75, 0]]
    assert TableColumn("day", "time", origin="2024-02-29").fitted(dates[:1], "").origin == "2024-02-29"


@pytest.mark.parametrize("gap", [None, np.nan, "", " NA ", "NaN", pandas.NA, pandas.NaT])
def test_what_is_a_gap(gap: object) -> None:
    cells = np.empty(2, object)
    cells[:] = [gap, 3]
    with pytest.raises(TableError, match=r"column 'x' has no value at row 0 \(1 of 2\).*gaps: median"):
        TableColumn("x").encode(cells)
    assert TableColumn("x", gaps="constant", fill=7.0).encode(cells).tolist() == [[7, 1], [3, 0]]


def test_a_declared_label_is_no_gap() -> None:
    cells = np.array(["NA", "EU", "None"], object)
    assert TableColumn("region", "category", ("EU", "NA")).encode(cells).argmax(1).tolist() == [1, 0, 2]


def test_gaps_of_labels() -> None:
    cells = np.array(["B", None, "B", "A"], object)
    filled = TableColumn("ward", "category", ("A", "B"), gaps="most_frequent").fitted(cells, "")
    assert filled.fill == "B"
    assert filled.encode(cells)[1].tolist() == [0, 1, 0, 1]
    unknown = TableColumn("ward", "category", ("A", "B"), gaps="constant", fill="unknown")
    assert unknown.encode(cells)[1].tolist() == [0, 0, 1, 1]
    smoker = TableColumn("smoker", "yes/no", gaps="most_frequent").fitted(
        np.array([1, None, 1, 0], object), ""
    )
    assert (smoker.fill, smoker.encode(np.array([None, "no"], object)).tolist()) == ("yes", [[1, 1], [0, 0]])


def test_a_value_for_gaps_that_is_given_is_kept() -> None:
    column = TableColumn("x", gaps="mean", fill=5.0).fitted(np.array([1.0, 3.0]), "")
    assert column.fill == 5.0


def test_labels_of_actions(schema: TableSchema) -> None:
    assert schema.decode(np.array([1, 0, 2])).tolist() == ["low", "none", "high"]
    assert schema.decode(np.int64(2)) == "high"  # type: ignore[arg-type]
    assert schema.numbers_of(np.array(["high", "none"])).tolist() == [2, 0]
    with pytest.raises(
        TableError, match=r"'dose' must hold one of none, low, high, got 'None' at row 1; did you"
    ):
        schema.encode_actions({"dose": ["low", "None"]})


def test_labels_of_two_parts() -> None:
    actions = [
        {"name": "drug", "kind": "yes/no"},
        {"name": "dose", "kind": "order", "categories": ["low", "high"]},
    ]
    schema = TableSchema.from_json({**DATA, "actions": actions})
    encoded = schema.encode_actions({"drug": ["no", "yes"], "dose": ["high", "low"]})
    assert encoded.tolist() == [[0, 1], [1, 0]]
    assert schema.decode(encoded).tolist() == [["no", "high"], ["yes", "low"]]
    assert schema.numbers_of(schema.decode(encoded)).tolist() == encoded.tolist()


def test_actions_that_are_numbers_have_no_labels() -> None:
    schema = TableSchema.from_json({**DATA, "actions": [{"name": "dose", "unit": "mg", "low": 0, "high": 5}]})
    assert schema.encode_actions([{"dose": 2.5}]).tolist() == [[2.5]]
    with pytest.raises(TableError, match=r"actions are numbers .dose in mg.*leave labels=True out"):
        schema.decode(np.array([[2.5]]))
    with pytest.raises(TableError, match=r"must lie from 0.0 to 5.0 and be finite, got 6 at row 1"):
        schema.encode_actions([{"dose": 2}, {"dose": 6}])


def test_legal_actions_of_rows() -> None:
    schema = TableSchema.from_json({**DATA, "legal_actions": ["may0", "may1", "may2"]}).fitted(ROWS)
    rows = [{**row, "may0": "yes", "may1": 0, "may2": True} for row in ROWS]
    encoded = schema.encode(rows)
    assert isinstance(encoded, dict)
    assert encoded["legal_actions"].tolist() == [[1, 0, 1]] * 3
    assert encoded["legal_actions"].dtype == np.uint8
    np.testing.assert_array_equal(encoded["observations"], NUMBERS)
    np.testing.assert_array_equal(
        schema.encode(ROWS), NUMBERS
    )  # `predict(rows, legal_actions=...)` has them then.
    single = schema.encode(rows[0])
    assert isinstance(single, dict)
    assert single["legal_actions"].tolist() == [1, 0, 1]


def test_a_schema_as_data(schema: TableSchema) -> None:
    again = TableSchema.from_json(json.loads(json.dumps(schema.to_json(), sort_keys=True)))
    assert again == schema
    assert list(schema.differences(again)) == []
    assert schema.observations[0].to_json() == {
        "name": "pulse",
        "kind": "number",
        "unit": "1/min",
        "gaps": "median",
        "fill": 73.0,
    }


def test_differences_of_schemas(schema: TableSchema) -> None:
    other = TableSchema.from_json(DATA).fitted([{**row, "pulse": 60} for row in ROWS])
    (difference,) = schema.differences(other)
    assert "'fill': 73.0" in difference
    assert "'fill': 60.0" in difference


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"kind": "numbr"}, "column 'x' has kind 'numbr', expected one of number, category"),
        ({"gaps": "medain"}, "has gaps 'medain', expected one of refuse, mean"),
        ({"kind": "category"}, "of kind category needs categories"),
        ({"categories": ["a"]}, "of kind number needs none"),
        ({"kind": "category", "categories": ["a", "a"]}, "has a category twice"),
        ({"kind": "category", "categories": ["a", "unknown"]}, "has a category 'unknown'; leave it out"),
        ({"kind": "order", "categories": ["a"], "gaps": "mean"}, "holds labels, which have no mean"),
        ({"kind": "yes/no", "gaps": "median"}, "holds labels, which have no median"),
        (
            {"kind": "order", "categories": ["a"], "gaps": "constant", "fill": "b"},
            "must hold one of a, got fill 'b'",
        ),
        ({"kind": "time", "gaps": "constant", "fill": "noon"}, "must hold times, .* got fill 'noon'"),
        ({"kind": "time", "origin": "noon"}, "must hold times, .* origin 'noon'"),
        ({"kind": "time", "origin": 3}, "must hold times, .* origin 3"),
        ({"gaps": "constant"}, "has gaps: constant without its value"),
        ({"kind": "time", "unit": "day"}, "counts times in 'day', expected one of seconds"),
        ({"low": 2, "high": 1}, "has low 2.0 above high 1.0"),
        ({"low": "x"}, "must have numbers as low, high, fill and embed"),
        ({"gap": "mean"}, "a column has no field 'gap'; did you mean 'gaps'"),
        ({"name": ""}, "a column must have a name"),
    ],
)
def test_columns_that_mean_nothing(column: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        TableSchema.from_json({**DATA, "observations": [{"name": "x", **column}]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observations": []}, "observations must be columns of different names"),
        ({"observations": [{"name": "a"}, {"name": "a"}]}, "observations must be columns of different names"),
        ({"observations": "pulse"}, "observations must be a list"),
        (
            {"actions": [{"name": "a"}, {"name": "b", "kind": "yes/no"}]},
            "actions must be all numbers or all labels",
        ),
        ({"actions": [{"name": "a", "gaps": "mean"}]}, "none with a rule for gaps"),
        ({"legal_actions": ["a"]}, "legal_actions must name a column for each of the 3 labels"),
        ({"rewards": "score"}, "a schema has no field 'rewards'; did you mean 'reward'"),
    ],
)
def test_schemas_that_mean_nothing(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        TableSchema.from_json({**DATA, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pulse": "fast"}, "column 'pulse' must hold numbers, got 'fast' at row 0"),
        ({"pulse": "1_000"}, "column 'pulse' must hold numbers, got '1_000' at row 0"),
        ({"pulse": "inf"}, "column 'pulse' must lie from -inf to inf and be finite, got inf at row 0"),
        (
            {"state": "mld"},
            "column 'state' must hold one of mild, severe, got 'mld' at row 0; did you mean 'mild'",
        ),
        ({"admitted": "noon"}, "column 'admitted' must hold times, .* got 'noon' at row 0"),
        ({"admitted": 3.0}, "column 'admitted' must hold times"),
        ({"smoker": 2}, "column 'smoker' must hold one of yes, no, true, false, 1, 0, got 2 at row 0"),
        ({"ward": None}, "column 'ward' has no value at row 0 .*gaps: most_frequent"),
        ({"pulse": [1, 2]}, r"column 'pulse' must hold numbers, got \[1, 2\] at row 0"),
    ],
)
def test_cells_that_do_not_fit(schema: TableSchema, change: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        schema.encode([{**ROWS[0], **change}])


def test_columns_without_names(schema: TableSchema) -> None:
    numbered = TableSchema.from_json({**DATA, "observations": [{"name": "0"}, {"name": "1"}]})
    assert numbered.encode(pandas.DataFrame(np.arange(4).reshape(2, 2))).tolist() == [[0, 1], [2, 3]]  # type: ignore[union-attr]
    with pytest.raises(TableError, match="column 'pulse' must have one value a row"):
        schema.encode(frame_of_rows().rename(columns={"dose": "pulse"}))


def test_tables_that_do_not_fit(schema: TableSchema) -> None:
    with pytest.raises(TableError, match="the rows have no column 'pulse'; did you mean 'puls'"):
        schema.encode([{**{k: v for k, v in ROWS[0].items() if k != "pulse"}, "puls": 3}])
    with pytest.raises(TableError, match="expected a DataFrame, a list of dicts or a dict of columns, got 3"):
        schema.encode(3)
    with pytest.raises(TableError, match="column 'pulse' has no value for gaps yet"):
        TableSchema.from_json(DATA).encode(ROWS)
    with pytest.raises(TableError, match="column 'day' has no origin"):
        TableColumn("day", "time").encode(np.array(["2024-01-01"], object))
