"""Finds the policy, its config and its environment behind what a user names as a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from offlinekit.cli.options import usage
from offlinekit.errors import MissingExtraError

if TYPE_CHECKING:
    import gymnasium

    from offlinekit.algos.dynamics import Dynamics
    from offlinekit.core.algo import Algo


class Found(NamedTuple):
    """A policy file and what its run says of itself."""

    policy: Path
    config: dict[str, Any]  # Of the run; empty for a policy outside a run folder.

    @property
    def folder(self) -> Path | None:
        """The run folder; None for a policy outside one."""
        return next(
            (place for place in self.policy.parents[:2] if self.config and (place / "config.json").is_file()),
            None,
        )

    @property
    def reference(self) -> tuple[float, float] | None:
        """The returns that score 0 and 100, if the run recorded them."""
        pair = self.config.get("reference_scores")
        return None if pair is None else (float(pair[0]), float(pair[1]))


def find(run: Path, which: str, option: str = "RUN_OR_POLICY") -> Found:
    """Finds a policy that an option names; see `locate`.

    Raises:
        click.BadParameter: If there is none; says what the folder lacks.
        FileFormatError: For a run folder that is damaged.
    """
    with usage(option):
        return locate(run, which)


def locate(run: Path, which: str) -> Found:
    """Finds a policy; of an evolution, its winner.

    Args:
        run: A run folder or a policy file.
        which: "last" or "best", of a run folder.

    Raises:
        FileNotFoundError: If the folder is none of a run, or has no policy.
        click.BadParameter: If it has no best one.
        FileFormatError: For a run folder that is damaged.
    """
    from offlinekit.training import run_folder
    from offlinekit.training.manifest import check_inside

    if run.is_file():
        has_config = (run.parent / "config.json").is_file()
        return Found(run, run_folder.read_config(run.parent) if has_config else {})
    if (run / "evolution.json").is_file() and not (run / "config.json").is_file():
        return _winner(run)
    config = run_folder.read_config(run)
    if which == "best":
        best = run / "best.okt"
        if not best.is_file():
            named = any(config.get(name) for name in ("env_id", "env_note"))
            why = (
                "was not evaluated in its environment yet" if named else "was trained without an environment"
            )
            raise click.BadParameter(f"{run} has no best.okt: it {why}; use --which last")
        check_inside(best)
        return Found(best, config)
    policy = run_folder.policy_of(run)
    if policy.parent != run:
        click.echo(f"Note: the run is not finished; using its checkpoint {policy.name}", err=True)
    return Found(policy, config)


def _winner(run: Path) -> Found:
    """Returns the winner of an evolution, with what its folder says of the environment that judged."""
    from offlinekit.io import read_small

    winner = run / "winner.okt"
    if not winner.is_file():
        raise FileNotFoundError(
            f"{run} is an evolution that has not ended, so it has no winner.okt; go on with it by offlinekit evolve "
            f"--resume {run}"
        )
    config = json.loads(read_small(run / "evolution.json"))
    return Found(
        winner, {name: config[name] for name in ("env_id", "env_kwargs", "env_note") if name in config}
    )


def load(
    found: Found, env_id: str | None, *, device: str = "auto", **kwargs: Any
) -> tuple[Algo, gymnasium.Env[Any, Any]]:
    """Loads a policy and makes its environment.

    Args:
        found: The policy.
        env_id: Environment that the user names; None takes the run's own.
        device: Where the networks go.
        kwargs: Passed to `gymnasium.make`.

    Returns:
        The algorithm and the environment.

    Raises:
        click.UsageError: If no environment is known.
        DatasetError: If the policy does not fit it.
    """
    import offlinekit
    from offlinekit.envs.frame_stacking import fit_env

    algo = offlinekit.load(found.policy, device=device)
    name = env_id or found.config.get("env_id")
    if name is None:
        note = found.config.get("env_note")
        where = f"was evaluated in {note}, which no name makes" if note else "does not say its environment"
        raise click.UsageError(f"{found.policy} {where}; give one by --env, such as CartPole-v1")
    settings = {} if env_id else found.config.get("env_kwargs") or {}
    env = make_env(name, "--env", **settings, **kwargs)
    fit_env(env, algo, "--env")
    return algo, env


def make_env(env_id: str, option: str, **kwargs: Any) -> gymnasium.Env[Any, Any]:
    """Makes the environment that an option names.

    Args:
        env_id: Its name, with arguments behind a question mark, such as "ALE/Breakout-v5?frame_stack=4".
        option: That named it.
        kwargs: Of `offlinekit.datasets.make_env`; those of the name replace them.

    Raises:
        click.BadParameter: If there is no such environment.
        MissingExtraError: If its package is not installed.
    """
    from offlinekit.datasets import make_env as make
    from offlinekit.datasets.registry import with_query

    with usage(option):
        name, stated = with_query(env_id)
        env = make(name, **{**kwargs, **stated})
    if env is None:
        raise MissingExtraError(
            f"there is no environment {name!r} without its package (see the warning above)"
        )
    return env


def load_dynamics(run: Path, device: str = "auto") -> Dynamics:
    """Loads the dynamics of a run of their own, or of one that learned inside them.

    Raises:
        FileNotFoundError: For a folder that is none of a run.
        UnsupportedError: If it learned none.
    """
    from offlinekit.metrics.ope.simulation import dynamics_of

    return cast("Dynamics", dynamics_of(locate(run, "last").policy, device=device))
