"""The sweep of the command line: from its options to the calls of the library and the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click

from offlinekit.cli.options import command_line, given_options, over_file, usage
from offlinekit.cli.output import number, table, with_error
from offlinekit.cli.runs import make_env
from offlinekit.datasets import get_dataset
from offlinekit.datasets.registry import located
from offlinekit.errors import TrainingError
from offlinekit.fields import checked
from offlinekit.sweeps import Plan, Sweep, Trial

SHOWN = 20


def make_sweep(options: dict[str, Any], begins: bool = True) -> Sweep:
    """Makes a sweep, or opens the one to go on with.

    Args:
        begins: Whether a new one gets its folder; without, it is checked alone.
        options: Of the command; fields of `Plan` that were given, and `config`, `resume`, `out`, `quiet`.

    Raises:
        click.UsageError: For names, hyperparameters and combinations that there are not.
    """
    given = given_options(options)
    folder = given.pop("resume", None)
    quiet, out = given.pop("quiet", False), given.pop("out")
    if folder is not None:
        if given.keys() - {"report_seeds"}:
            raise click.UsageError(f"--resume takes the plan of the sweep; leave out {sorted(given)}")
        with usage("--resume"):
            plan = Sweep.read_plan(folder)
    else:
        plan = _plan(given)
    if plan.dataset is None:
        raise click.UsageError("Missing option '--dataset'.")
    with usage("--dataset"):
        dataset, env = get_dataset(plan.dataset, **plan.dataset_options)
    if plan.eval_env is not None:
        env = None if plan.eval_env.lower() == "none" else make_env(plan.eval_env, "--eval-env")
    elif not plan.metric.startswith("eval/"):
        env = None  # Nothing looks at it, and evaluations take time.
    with usage("--metric"):
        if folder is not None or not begins:
            return Sweep(folder or out / "new", plan, dataset, env, not quiet)
        return Sweep.create(out, plan, dataset, env, not quiet)


def _plan(given: dict[str, Any]) -> Plan:
    config = given.pop("config", None)
    given.pop("report_seeds", None)
    with usage("--config" if config else "--vary"):
        fields = over_file(config, given, _with_direction)
        for name in ("algo", "vary"):
            if name not in fields:
                raise click.UsageError(
                    f"Missing option '--{name}' (or '--config FILE', or '--resume FOLDER')."
                )
        if isinstance(fields.get("dataset"), str):
            fields["dataset"] = located(fields["dataset"])
        return Plan.from_dict(fields, str(config or "the command line"))


def _with_direction(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options with `maximize` alone, false where they say `minimize`."""
    minimize = checked("minimize", options.get("minimize"), bool | None)
    fields = {name: value for name, value in options.items() if name != "minimize"}
    if not minimize:
        return fields
    if fields.get("maximize"):
        raise click.UsageError("--maximize and --minimize exclude each other; give one")
    return {**fields, "maximize": False}


def describe_sweep(sweep: Sweep) -> str:
    """Returns what a sweep would do, in a line."""
    plan = sweep.plan
    n_trials = len(plan.grid) if plan.trials is None else plan.trials
    return (
        f"Would train {n_trials} settings of {plan.algo} on {sweep.dataset.name} with {plan.seeds} seeds each, "
        f"{plan.steps:,} updates a run, and compare them by {plan.metric}; nothing was trained (--dry-run)"
    )


def report(sweep: Sweep, trials: list[Trial]) -> None:
    """Prints the trials, the best first."""
    names = list(sweep.plan.vary)
    sign = -1 if sweep.plan.maximize else 1
    ordered = sorted(trials, key=lambda t: (t.value is None, sign * (t.value or 0.0)))
    rows = [[str(t.number), *(str(t.values[n]) for n in names), _value(t), t.state] for t in ordered[:SHOWN]]
    table(["trial", *names, f"{sweep.plan.metric} (mean ± s.e.)", "state"], rows)
    if len(trials) > SHOWN:
        click.echo(f"... and {len(trials) - SHOWN} more")
    click.echo(f"\nFolder: {sweep.folder}")


def report_anew(sweep: Sweep, seeds: int) -> None:
    """Trains the best setting with seeds that had no part in its choice, and prints its return.

    Raises:
        click.UsageError: Without an environment.
    """
    plan = sweep.plan
    env = sweep.env
    if env is None and plan.eval_env is None and plan.dataset is not None:
        _, env = get_dataset(plan.dataset, **plan.dataset_options)
    if env is None:
        raise click.UsageError("--report-seeds plays in an environment; name one by --eval-env")
    anew = Sweep(sweep.folder, plan, sweep.dataset, env, sweep.progress)
    anew.preemptible = sweep.preemptible
    remedy = f"go on with: {command_line('sweep', '--resume', sweep.folder, '--report-seeds', seeds)}"
    try:
        values = anew.report(seeds)
    except KeyboardInterrupt as error:
        raise type(error)(f"; {remedy}") from None
    except TrainingError:
        if not anew.out_of_time:
            raise
        click.echo(f"Out of time; {remedy}")
        return
    click.echo(f"Best setting {sweep.best().values} with {seeds} new seeds: return {_mean(values)}")


def _value(trial: Trial) -> str:
    return "-" if trial.value is None else _mean([run["value"] for run in trial.runs])


def _mean(values: list[float]) -> str:
    if len(values) < 2:
        return number(values[0])
    return with_error(mean(values), stdev(values) / len(values) ** 0.5)


def describe_jobs(folder: Path, jobs: list[Any]) -> None:
    """Prints where jobs are and how to see what they have done."""
    click.echo(f"Submitted {len(jobs)} jobs: {', '.join(job.job_id for job in jobs)}")
    click.echo(f"Once they are over: {command_line('sweep', '--resume', folder)}")
