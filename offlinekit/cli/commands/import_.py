"""`offlinekit import`: a policy that d3rlpy trained, as a policy file of this library."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, usage
from offlinekit.cli.output import pairs, space_text


@click.command(
    "import",
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit import policy.d3",
        "offlinekit import d3rlpy_logs/IQL_20240501/model_100000.pt --out iql.okt",
    ),
)
@click.argument("policy", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="File to write.  [default: POLICY as .okt]")
@click.option(
    "--params",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="params.json of a run, for its .pt.  [default: beside POLICY]",
)
@debug_option
def command(policy: Path, out: Path | None, params: Path | None) -> None:
    """Take over POLICY, a .d3 or .pt file of d3rlpy 2, as a policy file that the other commands take.

    Networks, targets and scalers are taken over, and hyperparameters of the same meaning. The file is read as data:
    nothing in it is run. docs/from_d3rlpy.md lists the algorithms.
    """
    import offlinekit

    target = out or policy.with_suffix(".okt")
    if target.exists():
        raise click.BadParameter(f"{target} is there already; write to another file", param_hint="'--out'")
    with usage("POLICY"):
        algo = offlinekit.from_d3rlpy(policy, params=params, device="cpu")
    algo.save(target)
    pairs(
        [
            ("algorithm", type(algo).__name__),
            ("observations", space_text(algo.impl.observation_space)),
            ("actions", space_text(algo.impl.action_space)),
        ]
    )
    click.echo(
        f"\nWrote {target}; next: offlinekit evaluate {quote(str(target))} --env ID, or export, ope, select"
    )
