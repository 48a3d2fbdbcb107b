"""`offlinekit finetune`: goes online with what was learned offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offlinekit.cli.options import (
    SETTINGS,
    RunOrPolicy,
    debug_option,
    example,
    policy_argument,
    reader_options,
)
from offlinekit.cli.setting_options import setting_options
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.setup.settings import N_STEPS


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit finetune runs/IQL_pendulum-mixed_... --env Pendulum-v1 --steps 20000",
        "offlinekit finetune policy.okt --env Hopper-v4 --steps 50000 --dataset hopper-medium-v2 --mixing symmetric",
        "offlinekit finetune policy.okt --env Pendulum-v1 --steps 20000 --resume runs/IQL_pendulum-mixed_...",
    ),
)
@policy_argument
@click.option("--env", "env_id", help="Gymnasium environment to act in.  [default: the run's own]")
@click.option(
    "--steps", type=click.IntRange(min=1), default=N_STEPS, show_default=True, help="Environment steps."
)
@click.option("--dataset", help="Name or path, or none.  [default: what the run has learned from]")
@reader_options("dataset_options")
@click.option("--eval-env", help="Gymnasium environment to evaluate in.  [default: another one of --env]")
@click.option(
    "--guide",
    type=RunOrPolicy(),
    help="Run or policy that acts first, for --guide-steps.",
)
@click.option("--which", type=click.Choice(["last", "best"]), default="last", help="Policy of a run folder.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    help="Folder for the new run.",
)
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1.")
@setting_options("progress", "preemptible", record=OnlineSettings)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of an online run to go on with, begun with the same policy and options.",
)
@debug_option
def command(run: Path, env_id: str | None, steps: int, dataset: str | None, **options: Any) -> None:
    """Act in an environment and go on learning, beside the recorded data or without them.

    Writes a run folder as `train` does, with what was played in experience/. Prints the score before the first step,
    its dip, and after the last.
    """
    from offlinekit.cli.online_job import finetune

    finetune(run, env_id, steps, dataset, options)
