"""From a table to a decision on the command line: `datasets init`, `--schema`, `predict`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import Result

import offlinekit
from offlinekit.cli.main import main
from offlinekit.datasets import get_dataset

pandas = pytest.importorskip("pandas")
pytest.importorskip("yaml")
Call = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 20 episodes, rows to decide on, and the schema that `init` guesses."""
    place, rng = tmp_path_factory.mktemp("ward"), np.random.default_rng(0)
    frame = pandas.DataFrame(
        {
            "patient": np.repeat(np.arange(20), 5),
            "hour": np.tile(np.arange(5), 20),
            "pulse": rng.normal(80, 10, 100).round(1),
            "ward": rng.choice(["A", "None"], 100),
            "treatment": rng.choice(["None", "low", "high"], 100),
            "score": rng.normal(size=100),
        }
    )
    frame.loc[[3, 7], "pulse"] = np.nan
    frame.to_csv(place / "ward.csv", index=False)
    frame[["pulse", "ward"]][:5].to_csv(place / "rows.csv", index=False, sep=";")
    frame[["pulse", "ward"]][:5].to_json(place / "rows.json", orient="records")
    return place


@pytest.fixture(scope="module")
def schema(call: Call, folder: Path) -> Path:
    result = call("datasets", "init", folder / "ward.csv")
    assert result.exit_code == 0, result.output
    assert "2 of 100 rows have no value" in result.output
    path = folder / "ward.yaml"
    path.write_text(
        path.read_text().replace('"pulse", kind: "number", unit: "", gaps: "refuse"', "pulse, gaps: median")
    )
    return path


@pytest.fixture(scope="module")
def run(call: Call, folder: Path, schema: Path) -> Path:
    options = ("--steps", 20, "--seed", 0, "--set", "batch_size=16", "--out", folder / "runs")
    result = call(
        "train", "--algo", "discrete_bc", "--dataset", folder / "ward.csv", "--schema", schema, *options
    )
    assert result.exit_code == 0, result.output
    (made,) = (folder / "runs").iterdir()
    assert f"--dataset {folder / 'ward.csv'} --schema {made}/policy.okt --q fqe" in result.output
    return made


def test_init_overwrites_nothing(call: Call, folder: Path, schema: Path) -> None:
    again = call("datasets", "init", folder / "ward.csv")
    assert again.exit_code == 2
    assert "is there already" in again.output
    other = call("datasets", "init", folder / "ward.csv", "--action", "ward", "--out", folder / "other.yaml")
    assert 'actions:\n  - {name: "ward", kind: "category"' in (folder / "other.yaml").read_text(), (
        other.output
    )


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        elif command is not None:
            yield " ".join((*path, name)), command


def test_every_command_that_reads_datasets_takes_a_schema() -> None:
    reading = {
        "datasets info",
        "datasets validate",
        "datasets convert",
        "datasets merge",
        "datasets subsample",
    }
    reading |= {"datasets relabel", "datasets drift"}
    for name, command in commands(main):
        options = {option for parameter in command.params for option in parameter.opts}
        if {"--dataset", "--for"} & options or name in reading:
            assert {"--schema", "--dataset-option"} <= options, name


def test_where_to_begin_with_a_table(call: Call, folder: Path, schema: Path) -> None:
    shown = call("algos", "--for", folder / "ward.csv", "--schema", schema).output
    assert "Begin with, in this order" in shown


def test_validate_and_info(call: Call, folder: Path, schema: Path) -> None:
    assert "is sound" in call("datasets", "validate", folder / "ward.csv", "--schema", schema).output
    shown = call("datasets", "info", folder / "ward.csv", "--schema", schema).output
    for name in ("pulse is missing", "ward=unknown", "high  "):
        assert name in shown


def test_convert_keeps_the_schema(call: Call, folder: Path, schema: Path, tmp_path: Path) -> None:
    result = call("datasets", "convert", folder / "ward.csv", tmp_path / "ward.h5", "--schema", schema)
    assert result.exit_code == 0, result.output
    dataset, _ = get_dataset(tmp_path / "ward.h5")
    assert dataset.schema == get_dataset(folder / "ward.csv", schema=schema)[0].schema
    pandas.read_csv(folder / "ward.csv", keep_default_na=False)[5:].to_csv(tmp_path / "b.csv", index=False)
    merged = ("datasets", "merge", folder / "ward.csv", tmp_path / "b.csv", tmp_path / "both.h5")
    assert "rows 195" in " ".join(call(*merged, "--schema", schema).output.split())


@pytest.mark.parametrize("rows", ["rows.csv", "rows.json", "ward.csv"])
def test_predict(call: Call, folder: Path, run: Path, rows: str, tmp_path: Path) -> None:
    policy = offlinekit.load(run)
    expected = policy.predict(pandas.read_csv(folder / "ward.csv", keep_default_na=False), labels=True)
    expected = expected[:5] if "rows" in rows else expected
    labelled = call("predict", run, folder / rows)
    assert labelled.output.split() == ["treatment", *expected]
    exported = policy.export(tmp_path / "x.safetensors")
    assert call("predict", exported, folder / rows).output == labelled.output
    numbers = [["None", "high", "low"].index(label) for label in expected]
    written = call("predict", run, folder / rows, "--numbers", "--out", tmp_path / "actions.csv")
    assert f"{len(expected)} actions" in written.output
    assert (tmp_path / "actions.csv").read_text().split() == ["treatment", *map(str, numbers)]


def test_what_predict_refuses(
    call: Call, folder: Path, run: Path, trained: tuple[Path, Result], tmp_path: Path
) -> None:
    other = call("predict", trained[0], folder / "rows.csv")
    assert (other.exit_code, "did not learn from a table with a schema" in other.output) == (1, True)
    (tmp_path / "x.csv").write_text("pulse\n3\n")
    lacking = call("predict", run, tmp_path / "x.csv")
    assert lacking.exit_code == 2
    assert "the rows have no column 'ward'" in lacking.output
    (tmp_path / "x.json").write_text("[]")
    assert "must hold a list of objects" in call("predict", run, tmp_path / "x.json").output


def test_a_held_out_table_is_read_by_the_policy(
    call: Call, folder: Path, schema: Path, run: Path, tmp_path: Path
) -> None:
    pandas.read_csv(folder / "ward.csv", keep_default_na=False)[:50].to_csv(
        tmp_path / "held.csv", index=False
    )
    ope = ("ope", run, "--dataset", tmp_path / "held.csv", "--estimator", "wis", "--schema")
    refused = call(*ope, schema)
    assert "another schema than 'held'" in refused.output
    assert "--schema policy.okt" in refused.output
    taken = call(*ope, run / "policy.okt")
    assert taken.exit_code == 0, taken.output


def test_drift(call: Call, folder: Path, schema: Path, tmp_path: Path) -> None:
    table = pandas.read_csv(folder / "ward.csv", keep_default_na=False)
    table.assign(ward="A")[50:].to_csv(tmp_path / "later.csv", index=False)
    both = call("datasets", "drift", folder / "ward.csv", tmp_path / "later.csv", "--schema", schema)
    assert both.exit_code == 0, both.output
    assert "Of 20 and 10 episodes. Moved: ward=" in both.output
    call("datasets", "convert", folder / "ward.csv", tmp_path / "ward.h5", "--schema", schema)
    assert call("datasets", "drift", tmp_path / "ward.h5", tmp_path / "later.csv").output == both.output
    cut = call("datasets", "drift", folder / "ward.csv", "--schema", schema, "--by", "hour", "--json")
    assert json.loads(cut.output)["n_episodes"] == [10, 10]
    assert "give two datasets, or one and --by" in call("datasets", "drift", folder / "ward.csv").output


def test_train_on_what_is_recent(call: Call, folder: Path, schema: Path, tmp_path: Path) -> None:
    options = ("--steps", 2, "--seed", 0, "--out", tmp_path, "--weights", "recency:by=hour,half_life=2")
    made = call(
        "train", "--algo", "discrete_bc", "--dataset", folder / "ward.csv", "--schema", schema, *options
    )
    assert made.exit_code == 0, made.output
