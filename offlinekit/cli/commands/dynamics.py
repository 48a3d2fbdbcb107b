"""`offlinekit dynamics`: how far a learned model can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offlinekit.cli.datasets_info import open_dataset
from offlinekit.cli.options import SETTINGS, debug_option, example, policy_argument, reader_options, usage
from offlinekit.cli.output import json_text, number, pairs, table
from offlinekit.cli.runs import load_dynamics


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit dynamics runs/MOPO_pendulum-mixed_... --dataset held_out.h5 --plot model.png",
        "offlinekit dynamics runs/dynamics/Dynamics_... --dataset pendulum-mixed --horizon 50 --json",
    ),
)
@policy_argument
@click.option("--dataset", "name", required=True, help="Steps to compare with: a name or a path.")
@reader_options()
@click.option("--rows", "n_rows", type=click.IntRange(min=1), default=10_000, help="The most that are drawn.")
@click.option("--horizon", type=click.IntRange(min=1), default=20, help="The most steps ahead.")
@click.option("--seed", type=int, default=0, help="Of the draw.")
@click.option("--plot", type=click.Path(path_type=Path), help="Figure to write: .png, .pdf or .svg.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1.")
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print JSON.")
@debug_option
def command(
    run: Path,
    name: str,
    options: dict[str, Any],
    plot: Path | None,
    device: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Compare what learned dynamics expect with recorded steps.

    RUN_OR_POLICY is a run or a policy file of dynamics, or of an algorithm that learned inside a model. The steps
    should be others than those that the model learned from.
    """
    from offlinekit.metrics.model_diagnosis import LEVELS, diagnose_model

    with usage("RUN_OR_POLICY"):
        model = load_dynamics(run, device)
    dataset = open_dataset("--dataset", name, options)
    with usage("--dataset"):
        diagnosis = diagnose_model(model, dataset, **settings)
    if plot is not None:
        with usage("--plot"):
            diagnosis.plot(plot)
    if as_json:
        click.echo(json_text(diagnosis.to_json()))
        return
    rows = zip(diagnosis.names, map(number, diagnosis.errors), map(number, diagnosis.explained), strict=True)
    table(("of one step", "error", "explained"), [tuple(row) for row in rows])
    inside = [f"{level:.0%}: {share:.0%}" for level, share in zip(LEVELS, diagnosis.coverage, strict=True)]
    steps = sorted({1, (len(diagnosis.growth) + 1) // 2, len(diagnosis.growth)})
    ahead = [f"{step}: {number(diagnosis.growth[step - 1])}" for step in steps]
    click.echo()
    pairs([("inside stated intervals", ", ".join(inside)), ("error so many steps ahead", ", ".join(ahead))])
