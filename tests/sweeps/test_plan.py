"""Variations in a plan, and inputs that it refuses, also of files that strangers wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from offlinekit.errors import FileFormatError
from offlinekit.io import LARGEST_YAML, read_yaml
from offlinekit.sweeps import Plan, Range
from offlinekit.sweeps.space import corners, grid, parse
from offlinekit.sweeps.sweep import packs


def test_a_grid_holds_every_combination_once():
    assert grid(parse({"a": [1, 2], "b": ["x", "y", None]})) == [
        {"a": a, "b": b} for a in (1, 2) for b in ("x", "y", None)
    ]


def test_corners_hold_every_value_and_both_ends():
    tried = corners(parse({"a": [1, 2, 3], "b": {"low": 0.5, "high": 2}}))
    assert {setting["a"] for setting in tried} == {1, 2, 3}
    assert {setting["b"] for setting in tried} == {0.5, 2}


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"a": 3}, "a must vary over a list.*got 3"),
        ({"a": []}, "a must vary over at least one value"),
        ({"a": {"low": 1}}, "a range needs low and high"),
        ({"a": {"low": 1, "hihg": 2}}, "'hihg'; did you mean 'high'"),
        ({"a": {"low": 2, "high": 1}}, "low < high, got 2 and 1"),
        ({"a": {"low": 0, "high": 1, "log": True}}, "logarithmic range needs low > 0"),
        ({"a": {"low": "0", "high": 1}}, "two numbers"),
        ({"a": {"low": float("nan"), "high": 1}}, "two numbers"),
    ],
)
def test_spaces_that_cannot_be_are_refused(vary, message):
    with pytest.raises((TypeError, ValueError), match=message):
        parse(vary)


def test_a_grid_is_bounded_and_made_of_lists():
    with pytest.raises(ValueError, match="at most 100,000 settings, this one has 1,000,000"):
        grid({name: list(range(100)) for name in "abc"})
    with pytest.raises(ValueError, match="give trials= to search it"):
        grid({"a": Range(0, 1)})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vary": {"alhpa": [1]}}, "did you mean 'alpha'"),
        ({"vary": {"alpha": [-1]}}, "alpha must be"),
        ({"vary": {"tau": {"low": 0.5, "high": 2}}, "trials": 3}, "tau must be"),
        ({"vary": {"alpha": [1]}, "set": {"alpha": 2}}, "alpha cannot vary and be set"),
        ({"vary": {"seed": [1]}}, "seed cannot vary and be set; seeds="),
        ({"vary": {"alpha": [1]}, "seeds": 0}, r"seeds must be in \[1, inf\), got 0"),
        ({"vary": {"alpha": [1]}, "trials": 2.5}, "trials must be an integer"),
        ({"vary": [1]}, "vary must name values"),
    ],
)
def test_plans_that_cannot_be_are_refused(fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Plan("td3+bc", **fields)


def test_packs_share_an_architecture_and_are_small_enough():
    plan = Plan("td3+bc", {"alpha": [1, 2, 3], "batch_size": [32, 64]}, seeds=2, pack=4)
    found = packs(plan)
    assert [list(pack) for pack in found] == [[0, 2], [4], [1, 3], [5]]
    assert {values["batch_size"] for values in found[0].values()} == {32}


def test_a_plan_comes_back_from_plain_data():
    plan = Plan("IQL", {"beta": {"low": 1, "high": 9, "log": True}}, trials=4, steps=10)
    assert Plan.from_dict(plan.to_json(), "plan") == Plan.from_dict(plan.to_json(), "again")
    assert Plan.from_dict(plan.to_json(), "plan").to_json() == plan.to_json()
    with pytest.raises(FileFormatError, match="unknown field 'sedes'; did you mean 'seeds'"):
        Plan.from_dict({"algo": "iql", "vary": {}, "sedes": 3}, "plan")


def test_yaml_is_read_as_plain_data(tmp_path):
    (tmp_path / "sweep.yaml").write_text("algo: td3+bc\nvary:\n  alpha: [0.5, 2.5]\nseeds: 2\n")
    assert read_yaml(tmp_path / "sweep.yaml") == {"algo": "td3+bc", "vary": {"alpha": [0.5, 2.5]}, "seeds": 2}


def test_numbers_of_yaml_are_those_of_json(tmp_path):
    numbers = {"1e-4": 1e-4, "-1E+3": -1e3, "2.e3": 2e3, ".5e1": 5.0, "1.0e-4": 1e-4, "7": 7, "0.5": 0.5}
    texts = ["1e", "e-4", "1e-4x", "e", "1e-4-5", "'1e-4'"]
    (tmp_path / "n.yaml").write_text(f"a: [{', '.join(numbers)}]\nb: [{', '.join(texts)}]\n")
    read = read_yaml(tmp_path / "n.yaml")
    assert [(value, type(value)) for value in read["a"]] == [(n, type(n)) for n in numbers.values()]
    assert read["b"] == [*texts[:-1], "1e-4"]
    assert read_yaml(tmp_path / "n.yaml", as_texts=True)["a"] == list(numbers)


def test_a_file_of_yaml_has_the_size_that_the_guide_says(tmp_path):
    guide = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    assert f"more than {LARGEST_YAML >> 20} MiB" in guide


@pytest.mark.parametrize(
    "text",
    [
        "algo: !!python/object/apply:os.system ['touch {here}/owned']",
        "algo: !!python/object/new:os.system ['touch {here}/owned']",
        "algo: !!python/name:os.system",
        "a: &a [1, 1]\nb: &b [*a, *a]\nvary: [*b, *b]",
        "- a list",
        "just text",
        "algo: [unclosed",
        "a: " + "[" * 5000,
        "x: 1\n" * 300_000,
    ],
)
def test_yaml_that_is_more_than_plain_data_is_refused(text, tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(text.replace("{here}", str(tmp_path)))
    with pytest.raises(FileFormatError, match=r"sweep\.yaml"):
        read_yaml(path)
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.yaml"]
