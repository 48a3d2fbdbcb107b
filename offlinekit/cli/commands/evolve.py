"""`offlinekit evolve`: a population that improves itself, generation by generation."""

from __future__ import annotations

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

COUNT = click.IntRange(min=1)


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit evolve --algo discrete-cql --dataset cartpole-mixed --set batch_size=128 \\",
        '      --search \'learning_rate={"low": 1e-4, "high": 1e-2, "log": true}\' --generations 5 --steps 2000',
        "offlinekit evolve --config evolution.yaml --fitness return --target 200",
        "offlinekit evolve --resume runs/Evolution_cartpole-mixed_... --generations 10",
    ),
)
@algo_option
@dataset_option
@reader_options("dataset_options")
@key_value_option("--set", "set", help="Hyperparameter of all members; JSON or text")
@key_value_option("--search", "search", help="Hyperparameter over {low, high, log, integer}, or a JSON list")
@click.option(
    "--scheduler",
    help="evolution, agilerl (its semantics), pbt, pb2, mf-pbt or cma-es.  [default: evolution]",
)
@key_value_option("--setting", "settings", help="Setting of the scheduler, such as tournament_size=3")
@click.option("--population", type=COUNT, help="Number of members.  [default: 4]")
@click.option("--generations", type=COUNT, help="How many, those of a resumed run included.  [default: 10]")
@click.option("--steps", type=COUNT, help="Updates of each member in each generation.  [default: 10000]")
@click.option(
    "--fitness",
    help="What ranks members: fqe, return (in an environment), or an evaluator.  [default: fqe]",
)
@key_value_option("--fitness-setting", "fitness_settings", help="Of the fitness, such as held_out=0.2")
@click.option("--eval-env", help="Gymnasium environment of --fitness return.  [default: the dataset's]")
@click.option("--target", type=float, help="Fitness at which to stop.")
@click.option("--budget", type=COUNT, help="Updates of all members together after which to stop.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the first member and all draws.  [default: 0]")
@click.option("--device", help="auto, cpu, cuda, cuda:1.  [default: auto]")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with the options above (extra `sweep`); those on the command line win, name by name.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    help="Folder for the run's own folder.",
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a run to go on with; --generations, --target and --budget may differ.",
)
@click.option("--from-generation", type=COUNT, help="Of --resume.  [default: the newest]")
@click.option("--logger", "loggers", multiple=True, help="wandb, mlflow or tensorboard, repeatable.")
@click.option("--quiet", is_flag=True, show_default=False, help="No progress bar; the winner only.")
@preview_options
@debug_option
def command(**options: Any) -> None:
    """Train a population whose members are judged, chosen and changed after each generation.

    Without an environment members are ranked by the lower bound of fitted Q evaluation on held-out episodes. The winner
    is judged anew by episodes that ranked nobody.
    """
    from offlinekit.cli.evolve_job import evolve, show_winner

    evolved = evolve(options)
    if evolved is not None:
        show_winner(evolved)
