"""`offlinekit select`: which of several policies to deploy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from offlinekit.cli.options import (
    SETTINGS,
    RunOrPolicy,
    debug_option,
    example,
    key_value_option,
    reader_options,
    usage,
)
from offlinekit.cli.output import number, table

COLUMNS = (
    "policy",
    "value",
    "s.e.",
    "gain",
    "gain by weights",
    "gain by dynamics",
    "lower bound of the gain",
    "episodes",
)


@click.command(
    context_settings=SETTINGS,
    epilog=example("offlinekit select runs/*/policy.okt --dataset pendulum-mixed"),
)
@click.argument("policies", nargs=-1, required=True, type=RunOrPolicy())
@click.option("--dataset", required=True, help="Name or path; `offlinekit datasets list` lists names.")
@reader_options("dataset_options")
@click.option(
    "--steps", type=click.IntRange(min=1), help="Updates of each fit.  [default: until values have settled]"
)
@click.option("--resamples", default=8, type=click.IntRange(min=2), help="Bootstraps over the episodes.")
@click.option("--margin", default=0.0, help="By how much a policy must beat what recorded the data.")
@click.option(
    "--confidence", default=0.95, type=click.FloatRange(0, 1, True, True), help="Of all bounds together."
)
@click.option(
    "--min-effective-sample",
    default=25.0,
    type=click.FloatRange(min=0),
    help="Episodes' worth of rows that must show what a policy does.",
)
@click.option(
    "--max-disagreement",
    default=3.0,
    type=click.FloatRange(0, min_open=True),
    help="Standard errors that the two estimates of the gain may lie apart.",
)
@click.option(
    "--behaviour",
    type=click.Choice(["fit", "logged", "none"]),
    help="Propensities.  [default: logged ones, else fitted]",
)
@click.option(
    "--dynamics",
    type=click.Path(exists=True, path_type=Path),
    help="Run of dynamics, or of what learned inside them, in which policies are rolled out as well.",
)
@click.option("--sample/--greedy", default=False, help="Judge drawn or greedy actions.")
@key_value_option("--set", "hyperparameters", help="Hyperparameter of FQE; JSON or text")
@click.option("--seed", default=0, type=int, help="Of fits and bootstraps.")
@debug_option
def command(policies: tuple[Path, ...], dataset: str, **options: Any) -> None:
    """Choose which of several POLICIES (files or run folders) to deploy, without an environment.

    Each is evaluated by fitted Q evaluation on DATASET, whose episodes are resampled for the bounds, and, if there
    are probabilities to weight episodes by, by weighted doubly robust too, and with --dynamics by its return in
    these. A policy is chosen only if, by all of them, it beats the one that recorded the data at the given
    confidence, corrected for their number; else that one stays.
    Policies that do what the data do not show, and fits that have not settled, are held back; one that cannot be
    read, or does not fit the data, is left out.
    """
    import offlinekit
    from offlinekit.cli.runs import load_dynamics, locate
    from offlinekit.core.units import SampledPolicy
    from offlinekit.datasets import get_dataset
    from offlinekit.envs.stateful_policies import check_memoryless
    from offlinekit.metrics.ope.selection import select
    from offlinekit.metrics.reporting.curves import read_each

    with usage("--dataset"):
        data, _ = get_dataset(dataset, **options["dataset_options"])

    def named(path: Path) -> tuple[str, Any]:
        algo = offlinekit.load(locate(path, "last").policy)
        check_memoryless(algo)
        algo.check(data)
        return str(path), algo

    with usage("POLICIES"):
        pairs, left_out = read_each(policies, named)
    for line in left_out:
        click.echo(f"{line}.")
    loaded = dict(pairs)
    if options["sample"]:
        loaded = {name: SampledPolicy(algo) for name, algo in loaded.items()}
    n_fits = (len(loaded) + 1) * (1 + options["resamples"])
    click.echo(f"Fitting {n_fits} values of {len(loaded) + 1} policies.", err=True)
    with usage("--dynamics"):
        model = options["dynamics"] and load_dynamics(options["dynamics"])
        if model is not None:
            model.check(data)
    with usage("--set"):
        selection = select(
            loaded,
            data,
            margin=options["margin"],
            confidence=options["confidence"],
            min_effective_sample=options["min_effective_sample"],
            max_disagreement=options["max_disagreement"],
            behaviour=options["behaviour"],
            dynamics=model,
            n_steps=options["steps"],
            n_resamples=options["resamples"],
            seed=options["seed"],
            progress=True,
            **options["hyperparameters"],
        )
    rows = [
        [
            c.name,
            *map(
                number,
                (c.value, c.standard_error, c.gain, c.weighted_gain, c.model_gain),
            ),
            number(c.lower_bound) if math.isfinite(c.lower_bound) else "none",
            number(c.effective_sample),
        ]
        for c in selection.candidates
    ]
    rows.append(["behaviour (the data)", number(selection.behaviour), *[""] * 6])
    table(COLUMNS, rows)
    held_back = [f"{c.name} is held back: {c.held_back}" for c in selection.candidates if c.held_back]
    decision = f"{f'Deploy {selection.chosen}' if selection.chosen else 'Deploy none'}: {selection.reason}"
    for line in (*selection.warnings, *held_back, decision):
        click.echo(f"\n{line}.".replace("(n_steps)", "(--steps)"))
