"""The evolution of the command line: from its options to the calls of the library and what it prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from offlinekit.algos import get_algo
from offlinekit.cli.options import command_line, given_options, over_file, usage
from offlinekit.cli.output import json_text, number
from offlinekit.cli.runs import make_env
from offlinekit.datasets import get_dataset
from offlinekit.datasets.registry import located
from offlinekit.errors import FileFormatError, did_you_mean
from offlinekit.metrics.evaluators import FQE_NAME
from offlinekit.metrics.reporting.lineage import Lineage
from offlinekit.sweeps import (
    CMAES,
    PB2,
    PBT,
    EnvironmentFitness,
    EvaluatorFitness,
    Evolution,
    MultiFrequencyPBT,
    OfflineFitness,
)
from offlinekit.sweeps.evolution import Evolved, Generation, Scheduler
from offlinekit.sweeps.evolution.fitness import Fitness
from offlinekit.sweeps.space import parse
from offlinekit.training import run_config
from offlinekit.training.interrupts import whole_runs
from offlinekit.training.run_folder import write_json

COMMAND = "command.json"
SCHEDULERS: dict[str, Any] = {
    "evolution": Evolution,
    "agilerl": Evolution.agilerl,
    "pbt": PBT,
    "pb2": PB2,
    "mf-pbt": MultiFrequencyPBT,
    "cma-es": CMAES,
}
DEFAULTS: dict[str, Any] = {
    "dataset_options": {},
    "set": {},
    "search": {},
    "scheduler": "evolution",
    "settings": {},
    "population": 4,
    "generations": 10,
    "steps": 10_000,
    "fitness": FQE_NAME,
    "fitness_settings": {},
    "eval_env": None,
    "target": None,
    "budget": None,
    "seed": 0,
    "device": "auto",
}
NEEDED = ("algo", "dataset")
TEXTS, OBJECTS = (
    (*NEEDED, "scheduler", "fitness", "device"),
    ("dataset_options", "set", "search", "settings", "fitness_settings"),
)
ENTRIES: dict[str, tuple[run_config.Check, str]] = {
    "eval_env": run_config.REGISTERED,
    **dict.fromkeys(TEXTS, (run_config.is_text, "a text")),
    **dict.fromkeys(OBJECTS, (run_config.is_object, "an object")),
    **dict.fromkeys(
        ("population", "generations", "steps", "budget", "seed"), (run_config.is_whole, "a whole number")
    ),
    "target": (run_config.is_number, "a number"),
}
"""What command.json and the file of --config may hold."""
ANEW = ("generations", "target", "budget")
"""Options that a run may go on with otherwise."""


def evolve(options: dict[str, Any]) -> Evolved | None:
    """Runs what the options describe, and prints each generation; returns None if that was only to be checked.

    Args:
        options: Of the command.

    Raises:
        click.UsageError: For names, settings and combinations that there are not.
    """
    previews = {name: options.pop(name) for name in ("print_config", "dry_run")}
    given = given_options(options)
    quiet, out, resume = given.pop("quiet", False), given.pop("out"), given.pop("resume", None)
    loggers, since = given.pop("loggers", ()), given.pop("from_generation", None)
    fields = _fields(given) if resume is None else _resumed(resume, given)
    with usage("--dataset"):
        dataset, env = get_dataset(fields["dataset"], **fields["dataset_options"])
    with usage("--search"):
        parse(fields["search"])
    with usage("--setting"):
        scheduler = _scheduler(fields)
    with usage("--set"):
        algo = get_algo(fields["algo"])(
            **{**fields["set"], "seed": fields["seed"], "device": fields["device"]}
        )
        population = scheduler.population(algo, fields["population"])
    limits = {name: fields[name] for name in (*ANEW, "steps")}
    with usage("--fitness"):
        fitness = _fitness(fields, env)
    if previews["print_config"]:
        click.echo(json_text(fields))
    if previews["dry_run"]:
        click.echo(
            f"Would evolve {len(population)} members of {fields['algo']} on {dataset.name} for {fields['generations']} "
            f"generations of {fields['steps']:,} updates; nothing was trained (--dry-run)"
        )
    if any(previews.values()):
        return None
    generations = scheduler.fitter(
        population,
        dataset,
        fitness=fitness,
        out=None if resume else out,
        resume=resume,
        from_generation=since,
        loggers=loggers,
        progress=not quiet,
        preemptible=True,
        **limits,
    )
    last: Generation | None = None
    with usage("--resume" if resume else "--search"), whole_runs():
        try:
            for last in generations:
                if last.number == 1 or last.result is not None:
                    _keep(last, fields)
                if not quiet:
                    click.echo(_line(last))
        except KeyboardInterrupt as error:
            folder = resume if last is None else last.folder
            remedy = (
                f"go on with: {command_line('evolve', '--resume', folder)}"
                if folder
                else "no generation was complete"
            )
            raise type(error)(f"; {remedy}") from None
    assert last is not None  # The run has a generation, or raised.
    return last.evolved


def show_winner(evolved: Evolved) -> None:
    """Prints the winner, what it is worth, and the folder."""
    reported, winner = evolved.reported, evolved.winner
    has_interval = not math.isnan(reported.low)
    interval = f" ({number(reported.low)} to {number(reported.high)})" if has_interval else ""
    click.echo(f"\nWinner: member {evolved.number}, {winner!r}")
    click.echo(f"Worth {number(reported.value)}{interval}, by {reported.source}")
    click.echo(f"Folder: {evolved.run_dir}")


def _line(generation: Generation) -> str:
    row = generation.rows[generation.best]
    values = ", ".join(f"{name}={_short(value)}" for name, value in row.values.items())
    held = sum(bool(each.held_back) for each in generation.rows)
    note = f"; {held} held back" if held else ""
    return (
        f"generation {generation.number}: best is member {row.member}, fitness {number(row.fitness)}"
        f" ({row.architecture}{', ' if values else ''}{values}){note}"
    )


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _keep(generation: Generation, fields: Mapping[str, Any]) -> None:
    """Writes what --resume reads."""
    folder = generation.folder
    if folder is not None:
        write_json(folder / COMMAND, dict(fields))


def _fields(given: dict[str, Any]) -> dict[str, Any]:
    config = given.pop("config", None)
    with usage("--config"):
        fields = over_file(config, given, entries=ENTRIES)
        for name in fields:
            if name not in (*DEFAULTS, *NEEDED):
                hint = did_you_mean(str(name), [*DEFAULTS, *NEEDED])
                raise ValueError(f"{config} has an unknown field {name!r}{hint}")
    for name in NEEDED:
        if name not in fields:
            raise click.UsageError(f"Missing option '--{name}' (or '--config FILE', or '--resume FOLDER').")
    if isinstance(fields["dataset"], str):
        fields["dataset"] = located(fields["dataset"])
    return {**DEFAULTS, **{name: value for name, value in fields.items() if value is not None}}


def _resumed(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    if others := sorted(given.keys() - set(ANEW)):
        raise click.UsageError(f"--resume takes the options of the run; leave out {others}")
    with usage("--resume"):
        lineage = Lineage.read(folder)
        if not (folder / COMMAND).exists():
            raise FileNotFoundError(
                f"{folder} was not begun by `offlinekit evolve`; go on by fit(..., resume=) in Python"
            )
        fields = run_config.read(folder / COMMAND, ENTRIES)
    if not {*DEFAULTS, *NEEDED} <= fields.keys() or any(fields[name] is None for name in (*TEXTS, *OBJECTS)):
        raise FileFormatError(f"{folder / COMMAND} lacks options of a run; restore it from a copy")
    size = len(lineage.generation(lineage.last))
    if fields["population"] != size:  # Before members are made, of which a file may ask for any number.
        raise FileFormatError(
            f"{folder / COMMAND} asks for {fields['population']} members, and the run has {size}; restore it from "
            "a copy"
        )
    return {**fields, **given}


def _scheduler(fields: Mapping[str, Any]) -> Scheduler:
    kinds, kind = SCHEDULERS, fields["scheduler"]
    if kind not in kinds:
        raise ValueError(
            f"scheduler must be one of {', '.join(kinds)}, got {kind!r}{did_you_mean(kind, kinds)}"
        )
    made: Scheduler = kinds[kind](
        **{"search": fields["search"], "seed": fields["seed"], **fields["settings"]}
    )
    return made


def _fitness(fields: Mapping[str, Any], env: object) -> Fitness:
    kind, settings = fields["fitness"], fields["fitness_settings"]
    if kind == FQE_NAME:
        return OfflineFitness(**settings)
    if kind != "return":
        return EvaluatorFitness(evaluator=kind, **settings)
    if fields["eval_env"] is not None:
        env = make_env(fields["eval_env"], "--eval-env")
    if env is None:
        raise ValueError("return plays in an environment; name one by --eval-env")
    return EnvironmentFitness(env=env, **settings)
