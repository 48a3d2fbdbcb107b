"""`offlinekit record`: a film of one episode."""

from __future__ import annotations

from pathlib import Path

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, policy_argument, usage
from offlinekit.cli.output import number
from offlinekit.cli.runs import find, load


@click.command(
    context_settings=SETTINGS,
    epilog=example("offlinekit record runs/DiscreteCQL_cartpole-mixed_... --out film.mp4"),
)
@policy_argument
@click.option("--out", required=True, type=click.Path(path_type=Path), help="File to write, .mp4 or .gif.")
@click.option(
    "--env",
    "env_id",
    help="Gymnasium environment, or NAME?key=value.  [default: the run's own]",
)
@click.option("--which", type=click.Choice(["last", "best"]), default="last", help="Policy of a run folder.")
@click.option("--seed", type=int, default=0, help="Of the episode.")
@click.option("--max-steps", type=click.IntRange(min=1), help="End the film after so many steps.")
@debug_option
def command(run: Path, out: Path, env_id: str | None, which: str, seed: int, max_steps: int | None) -> None:
    """Film one episode of a trained policy.

    Needs the extra `video`. RUN_OR_POLICY is a run folder, or a policy file such as policy.okt.
    """
    from offlinekit.metrics import record_video

    subject = find(run, which)
    algo, env = load(subject, env_id, render_mode="rgb_array")
    with usage("--out"):
        recording = record_video(algo, env, out, seed, max_steps=max_steps)
    env.close()
    click.echo(f"Wrote {out}: {recording.n_steps:,} steps, return {number(recording.episode_return)}")
