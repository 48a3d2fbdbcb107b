"""`offlinekit datasets info` and `validate`: what is in a dataset, and whether it is sound."""

from __future__ import annotations

import json
from typing import Any

import click

from offlinekit.cli.output import number, pairs, space_text
from offlinekit.cli.parts import debug_option, example, key_value_option, usage

reader_options = key_value_option("--dataset-option", "options", help="Option of the reader")


@click.command("info", epilog=example("offlinekit datasets info hopper-medium-v2"))
@click.argument("name")
@reader_options
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print all statistics as JSON.")
@debug_option
def info(name: str, options: dict[str, Any], as_json: bool) -> None:
    """Describe the dataset NAME, a name or a path."""
    dataset = open_dataset("NAME", name, options)
    if as_json:
        click.echo(json.dumps({"name": dataset.name, **dataset.statistics()}, indent=2))
    else:
        describe(dataset)


@click.command("validate", epilog=example("offlinekit datasets validate my_data.hdf5"))
@click.argument("path", type=click.Path(exists=True))
@reader_options
@debug_option
def validate(path: str, options: dict[str, Any]) -> None:
    """Read the file PATH and check every value; exit code 1 where it is not sound."""
    dataset = open_dataset("PATH", path, options)
    describe(dataset)
    click.echo(f"\n{path} is sound.")


def open_dataset(argument: str, name: str, options: dict[str, Any]) -> Any:
    """Reads the dataset that an argument of a command names."""
    from offlinekit.datasets import get_dataset

    with usage(argument):
        return get_dataset(name, **options)[0]


def describe(dataset: Any) -> None:
    """Prints what a dataset holds, a line each."""
    found = dataset.statistics()
    rows = [
        ("name", dataset.name),
        ("rows", f"{found['rows']:,}"),
        (
            "episodes",
            f"{found['episodes']:,}; ends: {found['terminals']:,} terminal, {found['timeouts']:,} timeout "
            f"({found['final_observations_known']:,} with the observation after the end)",
        ),
        ("return", _spread(found["return"])),
        ("length", _spread(found["length"])),
        ("reward", _spread(found["reward"])),
        ("observations", space_text(dataset.observation_space)),
        ("actions", space_text(dataset.action_space)),
        ("environment", str(dataset.metadata.get("env_id") or "-")),
    ]
    if dataset.reference_scores is not None:
        score = dataset.normalized_score(found["return"]["mean"])
        rows.append(("score", f"{number(score)} (0 random, 100 expert)"))
    pairs(rows)


def _spread(values: dict[str, float]) -> str:
    shown = {name: number(value) for name, value in values.items()}
    return "mean {mean}, std {std}, median {median}, from {min} to {max}".format(**shown)
