"""`offlinekit ope`: what a policy is worth, by recorded episodes of another."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offlinekit.cli.datasets_info import open_dataset
from offlinekit.cli.options import SETTINGS, debug_option, example, policy_argument, reader_options, usage
from offlinekit.cli.output import json_text, number, pairs, table
from offlinekit.cli.runs import find, load_dynamics
from offlinekit.ground.progress import Progress

if TYPE_CHECKING:
    from offlinekit.algos.dynamics import Dynamics
    from offlinekit.datasets import MDPDataset
    from offlinekit.metrics.ope import Report
    from offlinekit.metrics.ope.target import QFunction

INTERVALS = ["bootstrap", "t", "bernstein", "hoeffding"]


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit ope policy.okt --dataset cartpole-mixed --q fqe",
        "offlinekit ope policy.okt --dataset pendulum-mixed --estimator model_based --gamma 0.97",
        "offlinekit ope runs/DiscreteCQL_cartpole-mixed_... --dataset held_out.h5 --estimator wis --clip 100",
    ),
)
@policy_argument
@click.option("--dataset", "name", required=True, help="Episodes to estimate from: a name or a path.")
@reader_options()
@click.option(
    "--estimator",
    "estimators",
    multiple=True,
    help="Such as wis or wdr, repeatable; model_based fits dynamics.  [default: all but model_based]",
)
@click.option(
    "--behaviour",
    type=click.Choice(["fit", "logged"]),
    help="Propensities.  [default: logged ones, else fitted]",
)
@click.option("--gamma", type=click.FloatRange(0, 1), help="Discount factor.  [default: the policy's own]")
@click.option("--confidence", type=click.FloatRange(0, 1, True, True), default=0.95, help="Of intervals.")
@click.option("--interval", type=click.Choice(INTERVALS), default="bootstrap", help="Kind of intervals.")
@click.option("--clip", type=click.FloatRange(0, min_open=True), help="Largest weight.  [default: no limit]")
@click.option(
    "--sample/--greedy", default=None, help="Judge drawn or greedy actions.  [default: drawn if continuous]"
)
@click.option(
    "--q",
    type=click.Choice(["fqe", "critic", "none"]),
    default="none",
    help="Model of the values: FQE fitted in folds, the policy's own critic, or none but counts.",
)
@click.option(
    "--q-steps",
    type=click.IntRange(min=1),
    help="Updates of each fit.  [default: of FQE until values have settled, of dynamics 10,000]",
)
@click.option(
    "--dynamics",
    type=click.Path(exists=True, path_type=Path),
    help="Run of dynamics, or of what learned inside them, for model_based.  [default: fitted]",
)
@click.option("--seed", type=int, default=0, help="Of folds and resamples.")
@click.option("--which", type=click.Choice(["last", "best"]), default="last", help="Policy of a run folder.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1.")
@click.option("--json", "as_json", is_flag=True, show_default=False, help="Print JSON.")
@debug_option
def command(
    run: Path,
    name: str,
    options: dict[str, Any],
    estimators: tuple[str, ...],
    gamma: float | None,
    sample: bool | None,
    q: str,
    q_steps: int | None,
    dynamics: Path | None,
    which: str,
    device: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Judge a policy by recorded episodes, without an environment.

    RUN_OR_POLICY is a run folder, or a policy file such as policy.okt. The episodes should be others than those
    it learned from. A run folder keeps the estimates in ope.json, for the card of an export
    of the same policy.
    """
    import offlinekit
    from offlinekit.algos.fqe import fitted_by
    from offlinekit.core.sharing.card import POLICY
    from offlinekit.core.units import SampledPolicy
    from offlinekit.envs.stateful_policies import check_memoryless
    from offlinekit.metrics.ope import ESTIMATORS, estimate
    from offlinekit.training.policy_file import hash_of_networks

    if unknown := [given for given in estimators if given not in ESTIMATORS]:
        raise click.BadParameter(
            f"there is no {unknown[0]!r}; there are {', '.join(ESTIMATORS)}", param_hint="'--estimator'"
        )
    algo = offlinekit.load(find(run, which).policy, device=device)
    dataset = open_dataset("--dataset", name, options)
    with usage("RUN_OR_POLICY"):
        check_memoryless(algo)
    with usage("--dataset"):
        algo.check(dataset)
    drawn = algo.action_kind == "continuous" if sample is None else sample
    policy = SampledPolicy(algo) if drawn else algo
    if drawn and algo.action_kind == "discrete" and not hasattr(policy, "log_prob"):
        raise click.BadParameter(
            f"{type(algo).__name__} has no probabilities; give --greedy", param_hint="'--sample'"
        )
    gamma = algo.gamma if gamma is None else gamma
    seed = settings["seed"]
    model = _dynamics(estimators, dynamics, dataset, q_steps, seed, device)
    fit = fitted_by(policy, q_steps, gamma=gamma, seed=seed)
    folds = min(inspect.signature(estimate).parameters["n_folds"].default, dataset.n_episodes)
    progress = Progress(f"values of {dataset.name}", folds, shown=q == "fqe", unit="fit")
    with progress, usage("--estimator"):
        report = estimate(
            policy,
            dataset,
            estimators or None,
            gamma=gamma,
            q_function=algo if q == "critic" else None,
            fit_q=_counted(fit, progress) if q == "fqe" else None,
            dynamics=model,
            **settings,
        )
    facts = {
        "policy": f"{run} ({type(algo).__name__}), its {'drawn' if drawn else 'greedy'} actions",
        "dataset": f"{dataset.name}, {dataset.n_episodes:,} episodes",
        "gamma": f"{gamma:g}",
        "behaviour": _behaviour(report),
        "support": str(report.support),
        "weights": "not used" if report.mean_weight is None else str(report.mean_weight),
    }
    plain = {**report.to_json(), **facts}
    _keep(run, {**plain, POLICY: hash_of_networks(algo.impl), "updates": algo.grad_step})
    if as_json:
        click.echo(json_text(plain))
        return
    pairs(list(facts.items()))
    click.echo()
    _print(report, settings["confidence"])
    for warning in report.warnings:
        click.echo(f"\n{warning}.")


def _counted(fit: Callable[[MDPDataset], QFunction], progress: Progress) -> Callable[[MDPDataset], QFunction]:
    """Returns a fit that counts as one of those that a progress shows."""

    def counted(dataset: MDPDataset) -> QFunction:
        with progress.span(1):
            return fit(dataset)

    return counted


def _dynamics(
    estimators: tuple[str, ...],
    given: Path | None,
    dataset: MDPDataset,
    q_steps: int | None,
    seed: int,
    device: str,
) -> Dynamics | None:
    """Returns the dynamics that estimators need: those given, or fitted ones; None if none needs them."""
    from offlinekit.algos.dynamics import fitted_dynamics
    from offlinekit.metrics.ope import ESTIMATORS

    simulates = any(ESTIMATORS[name].needs_dynamics for name in estimators)
    if given is None:
        if not simulates:
            return None
        with Progress(f"dynamics of {dataset.name}", 1, unit="model") as progress, progress.span(1):
            return fitted_dynamics(dataset, q_steps or 10_000, seed=seed, device=device)
    if not simulates:
        raise click.UsageError("--dynamics serves model_based; give --estimator model_based as well")
    with usage("--dynamics"):
        model = load_dynamics(given, device)
        model.check(dataset)
    return model


def _keep(run: Path, facts: dict[str, Any]) -> None:
    """Writes estimates into the run folder that was named, for the cards of exports; a policy file has none."""
    from offlinekit.core.sharing.card import ESTIMATES
    from offlinekit.io import atomic_write

    if run.is_dir():
        with atomic_write(run / ESTIMATES) as beside:
            beside.write_text(json_text(facts) + "\n")


def _behaviour(report: Report) -> str:
    """Returns where the propensities come from and how far they can be trusted."""
    value = f"mean discounted return {number(report.behaviour_value)}"
    if report.calibration is None:
        return f"{value}; logged propensities"
    return f"{value}; fitted, calibration error {report.calibration.error:.3f}"


def _print(report: Report, confidence: float) -> None:
    rows = [
        (
            name,
            number(estimate.value),
            f"{number(estimate.interval[0])} to {number(estimate.interval[1])}",
            estimate.estimand,
            number(estimate.effective_sample_size, 3),
            "; ".join(estimate.warnings).replace("(n_steps)", "(--q-steps)"),
        )
        for name, estimate in report.estimates.items()
    ]
    table(("estimator", "value", f"{confidence:.0%} interval", "of the return", "episodes", "warning"), rows)
