"""One online job of the command line: from its options to the call of the library and the report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import gymnasium

import offlinekit
from offlinekit.cli.options import given_options, usage
from offlinekit.cli.output import number, pairs
from offlinekit.cli.runs import find, load, make_env
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.envs.env_facts import env_facts
from offlinekit.training import run_folder
from offlinekit.training.interrupts import COMPLETE
from offlinekit.training.online.acting_envs import MakeEnv
from offlinekit.training.online.before_after import BeforeAfter, advice
from offlinekit.training.online.online_settings import resets_of, share_of


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
    data = _dataset(subject.config, dataset, options.pop("dataset_options"))
    options["eval_env"] = _other(env, options.pop("eval_env"))
    if guide := options.pop("guide"):
        options["guide"] = offlinekit.load(find(guide, "last", "--guide").policy, device=algo.device)
    given = given_options(options)
    if folder := given.get("resume"):
        with usage("--resume"):
            run_folder.latest_checkpoint(folder)
    with usage("--mixing"):
        share_of(given.get("mixing", "append"))
    with usage("--reset"):
        resets_of(given.get("reset", ""))
    try:
        algo.fit_online(_acting(env, given.get("n_envs", 1)), steps, dataset=data, preemptible=True, **given)
    except KeyboardInterrupt as error:
        if not str(error) or algo.run_dir is None:
            raise
        if str(error) == COMPLETE:
            raise KeyboardInterrupt(f"; the run is complete: {algo.run_dir}") from None
        raise type(error)(
            f"after step {algo.history[-1]['step'] if algo.history else 0:,}, saved; go on with the same command and "
            f"--resume {shlex.quote(str(algo.run_dir))}"
        ) from None
    _print(BeforeAfter.of(algo.history), data)
    click.echo(f"\nRun folder: {algo.run_dir}")
    if algo.run_dir is not None and not run_folder.is_finished(algo.run_dir):
        click.echo(f"Out of time; go on with the same command and --resume {shlex.quote(str(algo.run_dir))}")


def _acting(env: gymnasium.Env[Any, Any], n_envs: int) -> gymnasium.Env[Any, Any] | MakeEnv:
    """Returns the environment to act in, or for several side by side a function that makes such ones."""
    return env if n_envs == 1 else lambda: _other(env, None) or env


def _other(env: gymnasium.Env[Any, Any], named: str | None) -> gymnasium.Env[Any, Any] | None:
    """Returns the environment to evaluate in: the named one, or another like the one to act in if a name makes it."""
    if named:
        return make_env(named, "--eval-env")
    facts = env_facts(env)
    return facts["env_id"] and make_env(facts["env_id"], "--eval-env", **facts["env_kwargs"])


def _dataset(config: dict[str, Any], named: str | None, given: dict[str, Any]) -> MDPDataset | None:
    """Returns the data that are named, those that the run has learned from, or none."""
    own = config.get("dataset") or {}
    name = named or own.get("source")
    if name is None or name.lower() == "none":
        return None
    with usage("--dataset"):
        return get_dataset(name, **{**({} if named else own.get("options", {})), **given})[0]


def _print(report: BeforeAfter | None, data: MDPDataset | None) -> None:
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
    if data is not None:
        rows.append(("advice", _advice(report.before, data)))
    pairs(rows)


def _advice(before: float, data: MDPDataset) -> str:
    """Returns what to go online with; "start anew" only where the data have reference scores."""
    scores = None if data.metadata.get("clipped_rewards") else data.reference_scores
    behaviour, random = float(data.episode_returns().mean()), (scores or (None,))[0]
    text = f"data return {number(behaviour)}"
    text += "" if random is None else f", random {number(random)}"
    kept = {"policy": "keep the policy", "data": "keep the data in every minibatch", "anew": "start anew"}
    return f"{kept[advice(before, behaviour, random)]} ({text})"
