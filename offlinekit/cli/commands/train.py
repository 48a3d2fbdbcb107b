"""`offlinekit train`: a dataset in, a trained and evaluated policy out."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from offlinekit.cli.options import (
    SETTINGS,
    algo_option,
    dataset_option,
    debug_option,
    example,
    key_value_option,
    preview_options,
    reader_options,
)
from offlinekit.cli.output import json_text
from offlinekit.cli.setting_options import setting_options
from offlinekit.training.setup.settings import N_STEPS

COUNT = click.IntRange(min=1)


class RunOrAuto(click.Path):
    """A run folder, or the word auto."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the folder's path, or "auto"."""
        return value if value == "auto" else super().convert(value, param, ctx)


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit train --algo discrete_cql --dataset cartpole-mixed --steps 10000 --seed 1",
        "offlinekit train --algo td3+bc --dataset hopper-medium-v2 --set alpha=2.5 --set batch_size=512",
        "offlinekit train --algo rebrac --dataset hopper-medium-v2 --preset",
        "offlinekit train --resume runs/TD3PlusBC_hopper-medium-v2_...",
        "torchrun --nproc-per-node 2 -m offlinekit train --algo iql --dataset hopper-medium-v2",
    ),
)
@algo_option
@dataset_option
@click.option("--steps", type=COUNT, help=f"Number of updates.  [default: {N_STEPS}]")
@click.option("--seed", type=int, help="Of networks, batches and evaluation.  [default: drawn and noted]")
@click.option(
    "--seeds", type=COUNT, help="Train so many seeds side by side, from --seed on, each its own run."
)
@click.option(
    "--preset",
    is_flag=False,
    flag_value="",
    metavar="[DATASET]",
    help="Hyperparameters and steps published for DATASET.  [without it: for that of --dataset]",
)
@key_value_option("--set", "hyperparameters", help="Hyperparameter; JSON or text")
@reader_options("dataset_options")
@click.option("--eval-env", help="Gymnasium environment, or none.  [default: the dataset's own]")
@click.option(
    "--metric",
    "metrics",
    metavar="NAME[:KEY=VALUE,...]",
    multiple=True,
    help="Metric on the dataset, such as td_error or soft_opc:return_threshold=200, repeatable.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the run's own folder.  [default: runs]",
)
@click.option("--device", help="auto, cpu, cuda, cuda:1.  [default: auto]")
@setting_options("progress", "preemptible")
@click.option(
    "--logger",
    "loggers",
    multiple=True,
    type=click.Choice(["tensorboard", "wandb", "mlflow"]),
    help="Log to another tool too (extra of its name), repeatable.",
)
@click.option(
    "--tag", "tags", multiple=True, help="Word to keep in config.json and show in trackers, repeatable."
)
@click.option("--quiet", is_flag=True, show_default=False, help="No progress bar, no table; errors only.")
@click.option(
    "--resume",
    type=RunOrAuto(exists=True, file_okay=False, path_type=Path),
    metavar="RUN|auto",
    help="Run folder to go on with; options that are not given come from it. auto: the newest unfinished run of the "
    "same options in --out, else a new one.",
)
@preview_options
@debug_option
def command(**options: Any) -> None:
    """Train an algorithm on a dataset.

    Evaluates as it goes and writes a run folder with config.json, metrics.csv, checkpoints/, policy.okt
    (last) and best.okt (by mean return, if there is an environment).
    """
    from offlinekit.cli.job import Job, report
    from offlinekit.training.process_group import ProcessGroup, is_launched

    with ProcessGroup.join(options["device"] or "auto") if is_launched() else nullcontext() as team:
        previews = {name: options.pop(name) for name in ("print_config", "dry_run")}
        job = Job.from_options(options, team)
        if previews["print_config"]:
            click.echo(json_text(job.config()))
        if previews["dry_run"]:
            click.echo(f"{job.describe()}\n{job.plan()}")
        if any(previews.values()):
            return
        quiet = options["quiet"] or not (team is None or team.is_rank_zero)
        if not quiet:
            click.echo(job.describe())
        job.run()
    if not quiet:
        report(job)
