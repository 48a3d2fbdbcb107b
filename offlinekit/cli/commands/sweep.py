"""`offlinekit sweep`: many settings of one algorithm, those of one architecture side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offlinekit.cli.options import (
    SETTINGS,
    algo_option,
    command_line,
    dataset_option,
    debug_option,
    example,
    imported,
    key_value_option,
    preview_options,
    reader_options,
    usage,
)
from offlinekit.cli.output import json_text
from offlinekit.cli.setting_options import setting_options
from offlinekit.errors import TrainingError
from offlinekit.training.setup.settings import N_STEPS

COUNT = click.IntRange(min=1)


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit sweep --algo td3+bc --dataset pendulum-mixed --vary alpha=[0.5,1,2.5] --seeds 4 --steps 10000",
        "offlinekit sweep --algo iql --dataset pendulum-mixed --trials 30 \\",
        '      --vary \'learning_rate={"low": 1e-5, "high": 1e-2, "log": true}\'',
        "offlinekit sweep --config sweep.yaml --report-seeds 5",
        "offlinekit sweep --resume sweeps/sweep_iql_pendulum-mixed_...",
    ),
)
@algo_option
@dataset_option
@reader_options("dataset_options")
@key_value_option("--vary", "vary", help="Hyperparameter over a JSON list, or {low, high, log, integer}")
@key_value_option("--set", "set", help="Hyperparameter of all settings; JSON or text")
@click.option("--trials", type=COUNT, help="Settings that Optuna proposes.  [default: the whole grid]")
@click.option("--seeds", type=COUNT, help="Runs of each setting.  [default: 1]")
@click.option("--seed", type=int, help="The first seed.  [default: 0]")
@click.option("--steps", type=COUNT, help=f"Updates of each run.  [default: {N_STEPS}]")
@click.option(
    "--metric",
    help="What settings are compared by: fqe, a metric on the dataset, eval/return_mean.  [default: fqe]",
)
@click.option(
    "--maximize", is_flag=True, show_default=False, help="Higher is better; without it the metric says."
)
@click.option(
    "--minimize", is_flag=True, show_default=False, help="Lower is better; without it the metric says."
)
@click.option("--fqe-steps", type=COUNT, help="Updates of each fitted Q evaluation.  [default: 10000]")
@click.option(
    "--eval-env", help="Gymnasium environment, or none.  [default: the dataset's, if the metric needs one]"
)
@setting_options("progress", "preemptible", eval_interval="at the end")
@click.option("--device", help="auto, cpu, cuda, cuda:1.  [default: auto]")
@click.option("--pack", type=COUNT, help="The most runs trained at once.  [default: 32]")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with the options above (extra `sweep`); those on the command line win, name by name.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("sweeps"),
    help="Folder for the sweep's own folder.",
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a sweep to go on with, or to work on beside other processes.",
)
@click.option(
    "--report-seeds", type=COUNT, help="Then train the best setting with so many new seeds and report it."
)
@click.option("--workers", type=COUNT, help="Submit so many jobs instead of working here (extra `submitit`).")
@click.option("--cluster", type=click.Choice(["slurm", "local"]), default="slurm", help="Of --workers.")
@key_value_option("--job", "job", help="Parameter of --workers' jobs, such as timeout_min=60")
@click.option("--quiet", is_flag=True, show_default=False, help="No progress bar, no table; errors only.")
@preview_options
@debug_option
def command(**options: Any) -> None:
    """Train many settings of one algorithm and compare them.

    Runs that share an architecture are trained as one stacked program. Several processes may work on one sweep: start
    it in one, and others with --resume FOLDER.
    """
    from offlinekit.cli.sweep_job import describe_jobs, describe_sweep, make_sweep, report, report_anew

    workers, cluster, job = (options.pop(name) for name in ("workers", "cluster", "job"))
    previews = {name: options.pop(name) for name in ("print_config", "dry_run")}
    if workers and options["report_seeds"]:
        raise click.UsageError(
            "--report-seeds trains the best setting once all trials are done, for which --workers does not wait; leave "
            "it out, and give it beside --resume FOLDER when the jobs are over"
        )
    sweep = make_sweep(options, begins=not any(previews.values()))
    if previews["print_config"]:
        click.echo(json_text(sweep.plan.to_json()))
    if previews["dry_run"]:
        click.echo(describe_sweep(sweep))
    if any(previews.values()):
        return
    if workers:
        from offlinekit.sweeps.slurm import submit

        with usage("--job"):
            describe_jobs(sweep.folder, submit(sweep.folder, workers, cluster, imported(), **job))
        return
    sweep.preemptible = True
    try:
        trials = sweep.run()
    except KeyboardInterrupt as error:
        raise type(error)(f"; go on with: {command_line('sweep', '--resume', sweep.folder)}") from None
    if not options["quiet"]:
        report(sweep, trials)
    if sweep.out_of_time:
        more = ("--report-seeds", options["report_seeds"]) if options["report_seeds"] else ()
        click.echo(f"Out of time; go on with: {command_line('sweep', '--resume', sweep.folder, *more)}")
        return
    if trials and all(trial.state == "failed" for trial in trials):
        raise TrainingError(
            f"all {len(trials)} trials failed; {sweep.folder}/results.csv says what ended them"
        )
    if options["report_seeds"]:
        report_anew(sweep, options["report_seeds"])
