"""`offlinekit evaluate`: runs a trained policy in an environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, policy_argument
from offlinekit.cli.output import json_text, number, pairs, with_error
from offlinekit.cli.runs import Found, find, load

if TYPE_CHECKING:
    from offlinekit.metrics import Evaluation


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit evaluate runs/TD3PlusBC_hopper-medium-v2_... --episodes 100",
        "offlinekit evaluate policy.okt --env CartPole-v1 --json",
    ),
)
@policy_argument
@click.option("--episodes", type=click.IntRange(min=1), default=10, help="Number of episodes.")
@click.option("--seed", type=int, default=0, help="Episode i starts from seed + i.")
@click.option(
    "--env",
    "env_id",
    help="Gymnasium environment, or NAME?key=value.  [default: the run's own]",
)
@click.option("--n-envs", type=click.IntRange(min=1), help="Environments side by side.  [default: up to 10]")
@click.option("--max-steps", type=click.IntRange(min=1), help="End each episode after so many steps.")
@click.option("--which", type=click.Choice(["last", "best"]), default="last", help="Policy of a run folder.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1.")
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print JSON, with each return.")
@debug_option
def command(
    run: Path,
    episodes: int,
    seed: int,
    env_id: str | None,
    n_envs: int | None,
    max_steps: int | None,
    which: str,
    device: str,
    as_json: bool,
) -> None:
    """Judge a trained policy in an environment.

    RUN_OR_POLICY is a run folder, or a policy file such as policy.okt.
    """
    from offlinekit.metrics import evaluate

    subject = find(run, which)
    algo, env = load(subject, env_id, device=device)
    result = evaluate(algo, env, episodes, seed=seed, n_envs=n_envs, max_steps=max_steps)
    env.close()
    if env_id:  # The run's reference is of its own environment.
        subject = Found(subject.policy, {})
    facts = {
        "policy": str(subject.policy),
        "algorithm": type(algo).__name__,
        "updates": algo.grad_step,
        "environment": env.spec.id if env.spec else str(env),
        "episodes": episodes,
        "seed": seed,
    }
    if as_json:
        summary = {**result.summary(subject.reference), "return_standard_error": result.standard_error}
        each = {"returns": result.returns.tolist(), "lengths": result.lengths.tolist()}
        click.echo(json_text({**facts, **summary, **each}))
    else:
        pairs([(name, str(value)) for name, value in facts.items()])
        click.echo()
        pairs(_lines(result, subject))


def _lines(result: Evaluation, found: Found) -> list[tuple[str, str]]:
    """Returns the rows of the report, without those that are not known."""
    rows = [
        ("return", f"{with_error(result.mean, result.standard_error)} (mean ± standard error)"),
        ("", f"median {number(result.median)}, from {number(result.min)} to {number(result.max)}"),
        ("length", f"{number(result.mean_length)} steps an episode"),
    ]
    if result.mean_start_value is not None:
        rows.append(
            ("value", f"{number(result.mean_start_value)}, the policy's estimate for the start states")
        )
    score = result.normalized(found.reference)
    if score is not None:
        rows.append(("score", f"{number(score)} (0 random, 100 expert)"))
    behaviour = found.config.get("behaviour_return")
    if behaviour is not None:
        rows.append(("data", f"{number(behaviour)}, the mean return it learned from"))
    return rows
