"""`offlinekit export`: a trained policy as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offlinekit.cli.datasets_info import open_dataset
from offlinekit.cli.options import SETTINGS, debug_option, example, policy_argument, reader_options, usage
from offlinekit.cli.runs import find

SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2", "torchscript": ".pt", "numpy": ".safetensors"}


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit export runs/TD3PlusBC_hopper-medium-v2_... --format onnx",
        "offlinekit export policy.okt --format numpy --out robot/policy.safetensors",
    ),
)
@policy_argument
@click.option(
    "--format",
    "form",
    type=click.Choice(list(SUFFIXES)),
    show_default=False,
    help="Of the file.  [default: by the suffix of --out, else onnx]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default=False,
    help="File to write.  [default: beside the policy, such as policy.onnx]",
)
@click.option("--which", type=click.Choice(["last", "best"]), default="last", help="Policy of a run folder.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0.0),
    default=1e-5,
    help="Largest difference from the policy, of an action scaled to [-1, 1].",
)
@click.option("--dataset", "name", help="What it learned from, to save the rule of rows unlike these.")
@reader_options()
@click.option("--intended-use", help="Paragraph for the card: by whom, for what and where.")
@debug_option
def command(
    run: Path,
    form: str | None,
    out: Path | None,
    which: str,
    tolerance: float,
    name: str | None,
    options: dict[str, Any],
    intended_use: str | None,
) -> None:
    """Write the greedy policy with its scalers inside, compared with the policy itself, and its card.

    Formats: onnx (extra `onnx`), torch-export, torchscript, and numpy, which needs nothing but numpy and the one file
    offlinekit/deploy.py. RUN_OR_POLICY is a run folder, or a policy file such as policy.okt. The card, such as
    policy.onnx.md, has data, settings and what `offlinekit ope RUN` has estimated of this policy. Without --dataset a
    rule of rows that lies there from another export is removed.
    """
    import offlinekit
    from offlinekit.core.sharing import card_of

    subject = find(run, which)
    form = form or ("onnx" if out is None else None)
    target = out or subject.policy.with_suffix(SUFFIXES[str(form)])
    algo = offlinekit.load(subject.policy, device="cpu")
    with usage("--out"):
        dataset = None if name is None else open_dataset("--dataset", name, options)
        algo.export(
            target, form, tolerance=tolerance, dataset=dataset, intended_use=intended_use, run=subject.folder
        )
    size = target.stat().st_size
    click.echo(f"Wrote {target}: {type(algo).__name__}, {algo.grad_step:,} updates, {size:,} bytes")
    click.echo(f"Its actions are those of {subject.policy} to {tolerance:g}")
    click.echo(f"Card: {card_of(target)}")
