"""`offlinekit push`: a policy with its card to a folder or a hub."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, policy_argument, usage
from offlinekit.cli.runs import find


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit push runs/DiscreteCQL_ward_... shared/ward-policy",
        "offlinekit push policy.onnx hf:owner/ward-policy --private",
    ),
)
@policy_argument
@click.argument("destination")
@click.option("--which", type=click.Choice(["last", "best"]), default="last", help="Policy of a run folder.")
@click.option("--revision", help="Branch of the hub.  [default: its main one]")
@click.option("--private", is_flag=True, show_default=False, help="Make a repository on a hub private.")
@debug_option
def command(run: Path, destination: str, which: str, revision: str | None, private: bool) -> None:
    """Copy a policy, its card and its rule of seen rows, with their SHA-256, to DESTINATION.

    DESTINATION is a folder, or hf:owner/name with the extra `hub`. RUN_OR_POLICY is a run folder, or a file that
    holds data alone: .okt, .onnx or the .safetensors of the numpy format. A policy of a run gets its card here.
    """
    import offlinekit
    from offlinekit.core.sharing import card_of, push, write_card
    from offlinekit.core.sharing.beside import describes

    subject = find(run, which)
    if subject.policy.suffix == ".okt" and not describes(card_of(subject.policy), subject.policy):
        write_card(subject.policy, offlinekit.load(subject.policy, device="cpu"), run=subject.folder)
    with usage("DESTINATION"):
        where = push(subject.policy, destination, revision=revision, private=private)
    click.echo(f"Pushed {subject.policy} to {where}; fetch it with: offlinekit pull {quote(where)}")
