"""`offlinekit datasets info` and `validate`: what is in a dataset, and whether it is sound."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offlinekit.cli.options import debug_option, example, reader_options, usage
from offlinekit.cli.output import json_text, number, pairs, space_text, table

if TYPE_CHECKING:
    from offlinekit.datasets.findings import Finding
    from offlinekit.datasets.mdp_dataset import MDPDataset
    from offlinekit.types import Array

SHOWN = 12
"""Dimensions that are shown of observations or actions; --json has all."""
SHOWN_TEXT = 60
"""Characters that are shown of a dialogue."""
BAR = 40
STATED = object()
"""In place of an environment: the one that the metadata of a dataset state."""


@click.command(
    "info",
    epilog=example(
        "offlinekit datasets info hopper-medium-v2",
        "offlinekit datasets info cartpole-mixed --plot sheet.png",
    ),
)
@click.argument("name")
@reader_options()
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print all statistics as JSON.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw a sheet of figures, such as sheet.png.")
@debug_option
def info(name: str, options: dict[str, Any], as_json: bool, plot: Path | None) -> None:
    """Describe the dataset NAME, a name or a path."""
    from offlinekit.datasets import get_dataset

    with usage("NAME"):
        dataset, env = get_dataset(name, **options)
    if as_json:
        from offlinekit.datasets.inspection.coverage import describe_coverage

        facts = {"name": dataset.name, **dataset.statistics(), **describe_coverage(dataset)}
        click.echo(json_text(facts))
    else:
        describe(dataset, env)
        describe_coverage_of(dataset)
    if plot is not None:
        from offlinekit.datasets.inspection.sheet import draw_sheet

        with usage("--plot"):
            draw_sheet(dataset, plot)
        click.echo(f"\nWrote {plot}", err=as_json)


@click.command("validate", epilog=example("offlinekit datasets validate my_data.hdf5"))
@click.argument("path")
@reader_options()
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print the findings as JSON.")
@debug_option
def validate(path: str, options: dict[str, Any], as_json: bool) -> None:
    """Look for everything that is wrong with the dataset PATH, a path or a name.

    Faults prevent a dataset and end with exit code 1. Warnings do not: they are what looks as if it was not meant.
    Notes are what is often right and worth a look.
    """
    from offlinekit.datasets.inspection.examining import examine
    from offlinekit.errors import DatasetError

    with usage("PATH"):
        report = examine(path, **options)
    if as_json:
        click.echo(json_text(report.to_json()))
    else:
        if report.dataset is not None:
            describe(report.dataset, report.env)
            click.echo()
        for finding in [*report.faults, *report.warnings, *report.notes]:
            _show(finding)
    if report.faults:
        raise DatasetError(f"{path} is not sound: {_count(report.faults, 'fault')}")
    if not as_json:
        kinds = (("warning", report.warnings), ("note", report.notes))
        more = " and ".join(_count(findings, noun) for noun, findings in kinds if findings)
        click.echo(f"{path} is sound{', with ' + more if more else ''}.")


def _show(finding: Finding) -> None:
    """Prints a finding: where and what, and below it what to do."""
    number, kind = (finding.row, "row") if finding.row is not None else (finding.episode, "episode")
    place = "" if number is None else f", {kind} {number:,}"
    place += f" and {finding.n_rows - 1:,} more" if finding.n_rows and finding.n_rows > 1 else ""
    click.echo(f"{finding.severity.upper():8} {finding.field} {finding.message}{place}")
    click.echo(f"{'':8} -> {finding.fix}\n")


def _count(things: list[Any], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def open_dataset(argument: str, name: str, options: dict[str, Any]) -> MDPDataset:
    """Reads the dataset that an argument of a command names."""
    from offlinekit.datasets import get_dataset

    with usage(argument):
        return get_dataset(name, **options)[0]


def open_alike(argument: str, name: str, first: MDPDataset, options: dict[str, Any]) -> MDPDataset:
    """Reads another dataset as the first one was: a table by its schema, with its values for gaps and first times."""
    from offlinekit.datasets.sources.tables import SOURCE

    if first.schema is not None and name.lower().endswith(SOURCE.suffixes):
        options = {**options, "schema": first.schema}
    return open_dataset(argument, name, options)


def describe(dataset: MDPDataset, env: object = STATED) -> None:
    """Prints what a dataset holds, a line each.

    Args:
        dataset: The dataset.
        env: That `get_dataset` gives with it; without it the one that the metadata state is named.
    """
    statistics = dataset.statistics()
    rows = [
        ("name", dataset.name),
        ("rows", f"{statistics['rows']:,}"),
        (
            "episodes",
            f"{statistics['episodes']:,}; ends: {statistics['terminals']:,} terminal, "
            f"{statistics['timeouts']:,} timeout "
            f"({statistics['final_observations_known']:,} with the observation after the end)",
        ),
        ("return", _spread(statistics["return"])),
        ("length", _spread(statistics["length"])),
        ("reward", _spread(statistics["reward"])),
        ("observations", space_text(dataset.observation_space)),
        ("actions", space_text(dataset.action_space)),
        ("environment", _name_of(dataset, env)),
    ]
    if dataset.reference_scores is not None and not dataset.metadata.get("clipped_rewards"):
        score = dataset.normalized_score(statistics["return"]["mean"])
        rows.append(("score", f"{number(score)} (0 random, 100 expert)"))
    if dataset.behavior_log_probs is not None:
        mean = number(float(dataset.behavior_log_probs.mean()))
        rows.append(("behaviour", f"log-probabilities of the actions are known, mean {mean}"))
    tokenizer = getattr(dataset.observation_space, "tokenizer", None)
    if tokenizer is not None:
        start = tokenizer.decode(dataset.observations[: dataset.episode_ends[0], 0])
        share = float(dataset.extras["is_action"].mean()) if "is_action" in dataset.extras else 1.0
        rows.append(("text", f"{share:.1%} of the tokens are the agent's; begins {start[:SHOWN_TEXT]!r}"))
    pairs(rows)


def _name_of(dataset: MDPDataset, env: object) -> str:
    spec = getattr(env, "spec", None)
    own = "-" if env is None else type(getattr(env, "unwrapped", env)).__name__
    return str(dataset.metadata.get("env_id") or "-") if env is STATED else spec.id if spec else own


def describe_coverage_of(dataset: MDPDataset) -> None:
    """Prints how rewards, actions and observations are spread."""
    from offlinekit.datasets.inspection import coverage

    counts, edges = coverage.histogram(dataset.rewards)
    click.echo("\nrewards")
    labels = [number(float(edge)) for edge in edges]
    spans = labels[:-1] if len(counts) < 10 else [f"{a} to {b}" for a, b in itertools.pairwise(labels)]
    _bars(spans, counts)
    taken = coverage.action_counts(dataset)
    if taken is not None:
        click.echo("\nactions")
        _bars(coverage.output_names(dataset)[: 4 * SHOWN], taken)
    for spreads in (coverage.action_spreads(dataset), coverage.observation_spreads(dataset)):
        _spreads(spreads)


def _bars(labels: list[str], counts: Array) -> None:
    width = max(map(len, labels))
    for label, count in zip(labels, counts, strict=False):
        share = count / counts.sum()
        bar = "█" * round(BAR * count / counts.max())
        click.echo(f"  {label.rjust(width)}  {bar or ('▏' if count else '')} {share:.1%}")


def _spreads(spreads: list[Any]) -> None:
    if not spreads:
        return
    click.echo()
    bounded = any(spread.at_bounds is not None for spread in spreads)
    head = ("dimension", "lowest", "5 %", "median", "95 %", "highest", *(("at bounds",) if bounded else ()))
    body = []
    for spread in spreads[:SHOWN]:
        share = "-" if spread.at_bounds is None else f"{spread.at_bounds:.1%}"
        body.append((spread.name, *map(number, spread[2:]), *((share,) if bounded else ())))
    table(head, body)
    if len(spreads) > SHOWN:
        click.echo(f"... and {len(spreads) - SHOWN} more dimensions (--json has all)")


def _spread(values: dict[str, float]) -> str:
    shown = {name: number(value) for name, value in values.items()}
    return "mean {mean}, std {std}, median {median}, from {min} to {max}".format(**shown)
