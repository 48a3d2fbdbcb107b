"""`offlinekit datasets`: what there is, what is in it, and whether a file is sound."""

from __future__ import annotations

import json
from typing import Any

import click

from offlinekit.cli.output import number, pairs, space_text
from offlinekit.cli.parts import SETTINGS, debug_option, example, key_value_option, usage

reader_options = key_value_option("--dataset-option", "options", help="Option of the reader")


@click.group(
    context_settings=SETTINGS,
    epilog=example("offlinekit datasets list hopper", "offlinekit datasets info cartpole-mixed"),
)
@debug_option
def command() -> None:
    """List, describe and validate datasets."""


@command.command("list", epilog=example("offlinekit datasets list hopper"))
@click.argument("text", required=False, default="")
@debug_option
def list_(text: str) -> None:
    """List the names of datasets that contain TEXT, or all, and the kinds of files."""
    from offlinekit.datasets import known_datasets

    rows = [(name, line) for name, line in known_datasets().items() if text.lower() in name.lower()]
    if not rows:
        raise click.BadParameter(f"no known dataset contains {text!r}", param_hint="'TEXT'")
    pairs([row for row in rows if not row[0].startswith("*")] or rows)
    files = [row for row in rows if row[0].startswith("*")]
    if files and not text:
        click.echo("\nOr the path of a file:")
        pairs(files)


@command.command("info", epilog=example("offlinekit datasets info hopper-medium-v2"))
@click.argument("name")
@reader_options
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print all statistics as JSON.")
@debug_option
def info(name: str, options: dict[str, Any], as_json: bool) -> None:
    """Describe the dataset NAME, a name or a path."""
    dataset = _open("NAME", name, options)
    if as_json:
        click.echo(json.dumps({"name": dataset.name, **dataset.statistics()}, indent=2))
    else:
        _describe(dataset)


@command.command("validate", epilog=example("offlinekit datasets validate my_data.hdf5"))
@click.argument("path", type=click.Path(exists=True))
@reader_options
@debug_option
def validate(path: str, options: dict[str, Any]) -> None:
    """Read the file PATH and check every value; exit code 1 where it is not sound."""
    dataset = _open("PATH", path, options)
    _describe(dataset)
    click.echo(f"\n{path} is sound.")


def _open(argument: str, name: str, options: dict[str, Any]) -> Any:
    from offlinekit.datasets import get_dataset

    with usage(argument):
        return get_dataset(name, **options)[0]


def _describe(dataset: Any) -> None:
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
