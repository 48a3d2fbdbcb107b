"""Parsing of KEY=VALUE and the look of numbers and tables."""

from __future__ import annotations

import json

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from gymnasium import spaces

from offlinekit.cli.options import given_options, key_value_option
from offlinekit.cli.output import json_text, number, pairs, space_text, table, with_error


@click.command()
@key_value_option("--set", "values", help="Anything")
def echo(values: dict[str, object]) -> None:
    click.echo(json.dumps(values))


def parse(*given: str) -> Result:
    return CliRunner().invoke(echo, [part for value in given for part in ("--set", value)])


def test_values_are_json_where_they_are_json_and_text_elsewhere() -> None:
    given = (
        "a=1",
        "b=2.5",
        "c=[1, 2]",
        "d=true",
        "e=null",
        "f=qr",
        "g=None",
        "h=False",
        "i=a=b",
        'j="1"',
        "k=",
    )
    assert json.loads(parse(*given).output) == {
        "a": 1,
        "b": 2.5,
        "c": [1, 2],
        "d": True,
        "e": None,
        "f": "qr",
        "g": None,
        "h": False,
        "i": "a=b",
        "j": "1",
        "k": "",
    }
    assert json.loads(parse("a=1", "a=2").output) == {"a": 2}
    assert json.loads(parse().output) == {}


def test_a_zero_is_an_option_that_was_given() -> None:
    given = {"seed": 0, "target": 0.0, "name": "", "first": "x"}
    assert given_options({**given, "none": None, "flag": False, "pairs": {}, "several": ()}) == given


@pytest.mark.parametrize("given", ["alpha", "=3", " =3"])
def test_what_is_no_key_and_value_is_wrong_usage(given: str) -> None:
    result = parse(given)
    assert result.exit_code == 2
    assert f"Invalid value for '--set': expected KEY=VALUE, such as alpha=2.5, got {given!r}" in result.output


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (1234567, "1,234,567"),
        (12.0, "12"),
        (63.149, "63.15"),
        (-4774.81, "-4,775"),
        (0.0123456, "0.01235"),
        (-1.23e-9, "-1.23e-09"),
        (1e15, "1e+15"),
        (None, "-"),
        (float("nan"), "-"),
        (float("inf"), "inf"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("mean", "error", "text"),
    [
        (261.04, 22.4, "261 ± 22"),
        (192.13, 5.34, "192.1 ± 5.3"),
        (0.7312, 0.0123, "0.731 ± 0.012"),
        (4774.8, 161.9, "4,775 ± 162"),
        (500.0, 0.0, "500.0 ± 0.0"),
        (63.14, float("nan"), "63.1"),
    ],
)
def test_mean_and_error_share_the_decimals_of_the_error(mean: float, error: float, text: str) -> None:
    assert with_error(mean, error) == text


def test_spaces_in_a_few_words() -> None:
    box = spaces.Box(-1, 1, (2, 3), np.float32)
    uneven = spaces.Box(np.array([0.0, 1.0]), np.array([2.0, 2.0]), dtype=np.float64)
    tree = spaces.Dict({"a": spaces.Tuple([box, spaces.Discrete(4)]), "b": uneven})
    assert space_text(tree) == "{a: (float32[2, 3] in [-1, 1], Discrete(4)), b: float64[2]}"


def test_tables_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    table(("policy", "return"), [("bc", "1.5"), ("random", "-10")])
    pairs([("rows", "7"), ("", "more")])
    assert capsys.readouterr().out.splitlines() == [
        "policy  return",
        "------  ------",
        "bc         1.5",
        "random     -10",
        "rows  7",
        "      more",
    ]


def test_json_has_null_for_what_is_no_number() -> None:
    given = {"a": float("nan"), "b": [1.5, float("-inf")], "c": {"d": (2, "nan")}}
    assert json.loads(json_text(given)) == {"a": None, "b": [1.5, None], "c": {"d": [2, "nan"]}}
