"""One online job of the command line: from its options to the call of the library and the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offlinekit.cli.options import usage
from offlinekit.cli.output import number, pairs
from offlinekit.cli.runs import find, load, make_env
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.training.online.before_after import BeforeAfter, advice


def finetune(run: Path, env_id: str | None, steps: int, dataset: str | None, options: dict[str, Any]) -> None:
    """Goes online with a policy and prints how its score went.

    Args:
        run: Run folder or policy file.
        env_id: Environment, or None for the run's own.
        steps: Environment steps.
        dataset: Name or path, "none", or None for what the run has learned from.
        options: The other options of `finetune`.
    """
    subject = find(run, options.pop("which"))
    algo, env = load(subject, env_id, device=options.pop("device"))
    data = _dataset(subject.config, dataset)
    judged = options.pop("eval_env") or (env.spec.id if env.spec else None)
    options["eval_env"] = None if judged is None else make_env(judged, "--eval-env")
    given = {name: value for name, value in options.items() if value not in (None, False)}
    try:
        with usage("--mixing"):
            steps_of_run = algo.fitter_online(env, steps, dataset=data, preemptible=True, **given)
            for _ in steps_of_run:
                pass
    except KeyboardInterrupt as error:
        if not str(error) or algo.run_dir is None:
            raise
        raise type(error)(
            f"after step {algo.history[-1]['step'] if algo.history else 0:,}, saved; go on with the same command and "
            f"--resume {algo.run_dir}"
        ) from None
    _print(BeforeAfter.of(algo.history), None if data is None else float(data.episode_returns().mean()))
    click.echo(f"\nRun folder: {algo.run_dir}")


def _dataset(config: dict[str, Any], named: str | None) -> MDPDataset | None:
    """Returns the data that are named, those that the run has learned from, or none."""
    own = config.get("dataset") or {}
    name = named or own.get("source")
    if name is None or name.lower() == "none":
        return None
    with usage("--dataset"):
        return get_dataset(name, **({} if named else own.get("options", {})))[0]


def _print(report: BeforeAfter | None, behaviour: float | None) -> None:
    if report is None:
        return
    back = "never" if report.recovered_at is None else f"step {report.recovered_at:,}"
    rows = [
        ("before", number(report.before)),
        ("dip", f"{number(report.dip)} (lowest {number(report.lowest)})"),
        ("after", number(report.after)),
        ("regret", f"{number(report.regret)}, mean shortfall against the score after"),
        ("recovered", back),
        ("spent", f"{report.steps:,} steps, {report.updates:,} updates"),
    ]
    if behaviour is not None:
        kept = {"policy": "keep the policy", "data": "keep the data in every minibatch", "anew": "start anew"}
        rows.append(("advice", f"{kept[advice(report.before, behaviour)]} (data return {number(behaviour)})"))
    pairs(rows)
