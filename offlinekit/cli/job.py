"""One training job of the command line: from its options to the calls of the library and the report."""

from __future__ import annotations

import csv
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from offlinekit.algos import Population, get_algo
from offlinekit.cli.options import command_line, given_options, usage
from offlinekit.cli.output import number, table, with_error
from offlinekit.cli.own_metrics import own_metrics, pointers
from offlinekit.cli.runs import make_env
from offlinekit.core import presets
from offlinekit.core.devices import check_device
from offlinekit.core.renames import renamed
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.datasets.registry import located
from offlinekit.errors import FileFormatError
from offlinekit.metrics import Budget, evaluate, get_evaluator, standard_error
from offlinekit.training import run_folder
from offlinekit.training.evaluations import try_evaluators
from offlinekit.training.interrupts import COMPLETE
from offlinekit.training.process_group import ProcessGroup
from offlinekit.training.setup.description import describe_data, describe_run
from offlinekit.training.setup.row_weighting import weighted_dataset
from offlinekit.training.setup.settings import N_STEPS, PLAIN, SETTINGS, complete
from offlinekit.training.setup.start import check_fits

if TYPE_CHECKING:
    import gymnasium

    from offlinekit.core.algo import Algo
    from offlinekit.types import Array


@dataclass
class Job:
    """An algorithm, its data and how `fit` is called."""

    algo: Algo
    dataset: MDPDataset
    env: gymnasium.Env[Any, Any] | None
    fit: dict[str, Any] = field(default_factory=dict)
    members: list[Algo] = field(default_factory=list)  # What was trained: the algorithm, or one a seed.
    team: ProcessGroup | None = None
    returns: Any = None  # Of the data's episodes, once it has run.

    @classmethod
    def from_options(cls, options: dict[str, Any], team: ProcessGroup | None = None) -> Job:
        """Makes the algorithm and reads the data that the options of `train` name.

        Args:
            options: Of `train`.
            team: The processes that train together, or None.

        Raises:
            click.UsageError: For names, hyperparameters and combinations that there are not.
        """
        options = given_options(options)
        drawn = not {"seed"} & {*options, *options.get("hyperparameters", {})}
        if team is not None:
            options = _of_rank(options, team)
        if options.get("resume", "auto") != "auto":
            _refuse_changes(options)
            with usage("--resume"):
                options = {**_of_run(options["resume"]), **options}
        for name in ("algo", "dataset"):
            if name not in options:
                raise click.UsageError(f"Missing option '--{name}' (or '--resume RUN').")
        if "preset" in options:
            options = _with_preset(options)
        algo = _make_algo(options)
        algo.seed_was_drawn = drawn  # Under torchrun rank 0 has drawn one for all.
        with usage("--dataset"):
            dataset, env = get_dataset(options["dataset"], **options.get("dataset_options", {}))
        if "eval_env" in options:
            env_id = options["eval_env"]
            env = None if env_id.lower() == "none" else make_env(env_id, "--eval-env")
        job = cls(algo, dataset, env, _fit_arguments(options, _info(options, dataset)), team=team)
        job.check()
        return job

    def check(self) -> None:
        """Tries what would else fail only at the first evaluation, perhaps hours later.

        Raises:
            OfflineKitError: If the algorithm, the data, the environment and the metrics do not fit.
        """
        self.algo.build(weighted_dataset(self.dataset, self.fit.get("weights"), None))
        if self.env is not None:
            check_fits(self.algo, self.dataset, self.env)
        try_evaluators(self.algo, self.dataset, self.fit["evaluators"])

    def describe(self) -> str:
        """Returns what is about to happen, in a few lines."""
        data = self.dataset
        if self.env is None:
            where = "no environment (name one by --eval-env)"
        else:
            where = self.env.spec.id if self.env.spec else str(self.env)
        return (
            f"{self.algo!r}\non {data.name}: {len(data):,} rows, {data.n_episodes:,} episodes, "
            f"mean return {number(float(data.episode_returns().mean()))}\nevaluated in {where}"
        )

    def config(self) -> dict[str, Any]:
        """Returns what config.json of the run would say."""
        given = {name: value for name, value in self.fit.items() if name not in ("n_steps", "seeds")}
        settings = complete({**given, "eval_env": self.env})
        data = describe_data(self.dataset, self.fit["info"])
        return describe_run(self.algo, self.fit["n_steps"], settings, data)

    def plan(self) -> str:
        """Returns how long it would learn and where it would write, in a line."""
        settings = complete(
            {name: value for name, value in self.fit.items() if name not in ("n_steps", "seeds")}
        )
        runs = self.fit["seeds"] or 1
        return (
            f"Would take {self.fit['n_steps']:,} updates{f' of {runs} seeds' * (runs > 1)}, evaluate every "
            f"{settings['eval_interval']:,} and write to {self.fit['out']}/; nothing was trained (--dry-run)"
        )

    def run(self) -> None:
        """Trains.

        Raises:
            KeyboardInterrupt: At Ctrl-C, with the command to go on with.
        """
        self.returns = self.dataset.episode_returns()
        try:
            if self.team is not None:  # Scalers are fitted; of the data this process keeps its part.
                self.fit["info"]["behaviour_return"] = float(self.returns.mean())
                self.fit["info"]["dataset"]["hash"] = fingerprint(self.dataset)
                self.dataset = self.team.shard(self.dataset)
                self.fit["team"] = self.team
            trained = self.algo.fit(self.dataset, eval_env=self.env, **self.fit)
            self.members = trained.algos if isinstance(trained, Population) else [self.algo]
        except KeyboardInterrupt as error:
            if (
                not str(error) or self.algo.run_dir is None
            ):  # Of a second Ctrl-C, before the checkpoint was written.
                raise
            if str(error) == COMPLETE:
                raise KeyboardInterrupt(f"; the run is complete: {self.algo.run_dir}") from None
            how = command_line("train", "--resume", self.algo.run_dir)
            if self.fit.get("seeds"):
                how = "the same command and --resume auto"
            raise type(error)(f"after update {self.algo.grad_step:,}, saved; go on with: {how}") from None


BEHAVIOUR = "behaviour (the data)"
"""What the report calls the returns of the data."""


def report(job: Job) -> None:
    """Prints where the runs are, and what came out: the return of the policy beside that of the data."""
    click.echo()
    for algo in job.members:  # Before anything that may fail.
        click.echo(f"Run folder: {algo.run_dir}")
        if algo.run_dir is not None and not run_folder.is_finished(algo.run_dir):
            click.echo(
                f"Out of time after update {algo.grad_step:,}; go on with: "
                f"{command_line('train', '--resume', algo.run_dir)}"
            )
    judged, n_judged = {}, 0
    if job.env is not None:
        for algo in job.members:
            name = type(algo).__name__
            name = f"{name}, seed {algo.seed}" if len(job.members) > 1 else name
            last = _last_returns(algo)
            if last is not None:
                judged[name] = last
                continue
            result = evaluate(
                algo,
                job.env,
                job.fit.get("eval_episodes", SETTINGS["eval_episodes"].default),
                seed=algo.seed or 0,
                n_envs=job.fit.get("n_envs"),
                max_steps=job.fit.get("max_steps"),
            )
            judged[name], n_judged = result.returns, n_judged + 1
    judged[BEHAVIOUR] = job.returns
    scored = job.dataset.reference_scores is not None
    rows = []
    for name, returns in judged.items():
        mean = float(returns.mean())
        known = name != BEHAVIOUR or not job.dataset.metadata.get("clipped_rewards")
        score = [number(job.dataset.normalized_score(mean)) if known else "-"] if scored else []
        rows.append([name, with_error(mean, standard_error(returns)), f"{len(returns):,}", *score])
    click.echo()
    table(["policy", "return (mean ± standard error)", "episodes", *(["score"] if scored else [])], rows)
    if job.env is None:
        for algo in job.members:
            click.echo(f"\n{type(algo).__name__}, seed {algo.seed}, by its own metrics:\n")
            table(("metric", "value", "what it is"), own_metrics(algo, job.dataset), left=3)
        source = job.fit["info"]["dataset"]["source"]
        click.echo("\n" + "\n".join(pointers(job.members, source)))
    click.echo(f"\n{_budget(job, n_judged)}")


def _last_returns(algo: Algo) -> Array | None:
    """Returns the returns of the episodes in which a run evaluated its last policy; None if it has not."""
    table = algo.run_dir and algo.run_dir / "returns.csv"
    if not algo.history or "eval/return_mean" not in algo.history[-1] or not table or not table.is_file():
        return None
    with table.open(newline="") as file:
        rows = [row["return"] for row in csv.DictReader(file) if int(row["step"]) == algo.grad_step]
    return np.array(rows, float) if rows else None


def _budget(job: Job, n_judged: int) -> Budget:
    """Returns what was spent, with the evaluations that were made for the table."""
    each = job.fit.get("eval_episodes", SETTINGS["eval_episodes"].default)
    spent = Budget(evaluations=n_judged, episodes=n_judged * each)
    for algo in job.members:
        n = sum("eval/return_mean" in row for row in algo.history)
        spent += Budget(1, algo.grad_step, n, n * each)
    return spent


def _of_rank(options: dict[str, Any], team: ProcessGroup) -> dict[str, Any]:
    """Returns the options of one of the processes that torchrun has started: one seed for all, a device each."""
    if "seeds" in options:
        raise click.UsageError(
            "--seeds trains in one process; leave it out under torchrun, or start without torchrun"
        )
    if "seed" not in options and options.get("resume", "auto") == "auto":
        options = {**options, "seed": team.gather(secrets.randbelow(2**31))[0]}
    return {**options, "device": str(team.device), **({} if team.is_rank_zero else {"quiet": True})}


def _info(options: dict[str, Any], dataset: MDPDataset) -> dict[str, Any]:
    """Returns what the run's config.json keeps for other commands: how it was started."""
    named = "eval_env" in options
    return {
        "dataset": {
            "source": located(options["dataset"]),
            "options": options.get("dataset_options", {}),
        },
        "eval_env": options.get("eval_env"),
        "env_kwargs": {} if named else dataset.metadata.get("env_kwargs") or {},
        "metrics": list(options.get("metrics", ())),
        **({"preset": options["preset"]} if "preset" in options else {}),
    }


def _of_run(folder: Path) -> dict[str, Any]:
    """Returns the options that a run was started with."""
    config = run_folder.read_config(folder)
    try:
        return _options_of(config, folder)
    except (KeyError, TypeError) as error:
        raise FileFormatError(
            f"{folder / 'config.json'} is not the config of a run ({error!r}); restore it from a copy"
        ) from error


def _options_of(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    if config.get("online"):
        raise click.BadParameter(
            f"{folder} is an online run; go on with it by the command that began it and --resume: "
            f"{command_line('finetune', 'RUN_OR_POLICY', '--steps', config['n_steps'], '--resume', folder)}",
            param_hint="'--resume'",
        )
    data = config.get("dataset")
    if not isinstance(data, dict) or not data.get("source"):
        raise click.BadParameter(
            f"{folder} learned from arrays, so it does not say how to read its dataset; "
            f"go on in Python: algo.fit(dataset, resume={str(folder)!r})",
            param_hint="'--resume'",
        )
    for name, setting in (("loss_weights", "weights"), ("prioritised", "priorities")):
        if config.get(name) and not config.get(setting):
            raise click.BadParameter(
                f"{folder} was given {setting} that are no name, so it does not say them; go on in Python: "
                f"algo.fit(dataset, resume={str(folder)!r}, {setting}=...)",
                param_hint="'--resume'",
            )
    if config.get("env_note") and config["eval_env"] == "none":
        raise click.BadParameter(
            f"{folder} was evaluated in {config['env_note']}, which no name makes; go on in Python: "
            f"algo.fit(dataset, resume={str(folder)!r}, eval_env=...)",
            param_hint="'--resume'",
        )
    options = {
        "algo": config["algo"],
        "dataset": data["source"],
        "dataset_options": data["options"],
        "hyperparameters": renamed(get_algo(config["algo"]), config["hyperparameters"]),
        "steps": config["n_steps"],
        "eval_env": config["eval_env"],
        "metrics": tuple(config["metrics"]),
        **{name: config[name] for name in (*PLAIN, "loggers") if name in config},
    }
    return given_options(options)


def _refuse_changes(given: dict[str, Any]) -> None:
    """Raises UsageError for options that a resumed run cannot change."""
    fixed = (
        ("algo", "--algo"),
        ("preset", "--preset"),
        ("hyperparameters", "--set"),
        ("seed", "--seed"),
        ("seeds", "--seeds"),
    )
    for name, option in fixed:
        if name in given:
            raise click.UsageError(f"{option} cannot change in a resumed run; leave it out beside --resume")
    for name, option in (("out", "--out"), ("run_name", "--run-name"), ("tags", "--tag")):
        if name in given:
            raise click.UsageError(
                f"{option} has no effect on a resumed run, which has its folder, name and words; leave it out beside "
                "--resume"
            )


def _with_preset(options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options with those of a preset beneath them; "preset" then says where they are from.

    What a preset says to the reader of its dataset holds for that dataset alone.
    """
    with usage("--algo"):
        front = get_algo(options["algo"])
    with usage("--preset"):
        preset = presets.find(front.catalogue_name(), options["preset"] or options["dataset"])
    reader = preset.dataset_options if options["dataset"] == preset.dataset else {}
    if reader != preset.dataset_options and "quiet" not in options:
        left_out = f"{preset.dataset_options} of the preset are left out"
        click.echo(f"Options of the reader: {left_out}; they are for {preset.dataset}", err=True)
    return {
        "steps": preset.n_steps,
        **options,
        "hyperparameters": {
            **preset.hyperparameters,
            **front.current_names(options.get("hyperparameters", {})),
        },
        "dataset_options": {**reader, **options.get("dataset_options", {})},
        "preset": {"dataset": preset.dataset, "sources": list(preset.sources)},
    }


def _make_algo(options: dict[str, Any]) -> Algo:
    with usage("--algo"):
        front = get_algo(options["algo"])
    chosen = {name: options[name] for name in ("seed", "device") if name in options}
    with usage("--device"):
        check_device(chosen.get("device", "auto"))
    with usage("--set"):
        return front(**{**options.get("hyperparameters", {}), **chosen})


def _fit_arguments(options: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """Returns the keywords of `fit`, without those that keep its own defaults."""
    with usage("--metric"):
        evaluators = {given: get_evaluator(given) for given in options.get("metrics", ())}
    return {
        **{name: options[name] for name in (*PLAIN, "loggers", "tags") if name in options},
        "n_steps": options.get("steps", N_STEPS),
        "evaluators": evaluators,
        "out": options.get("out", SETTINGS["out"].default),
        "resume": options.get("resume"),
        "preemptible": True,
        "seeds": options.get("seeds"),
        "progress": "quiet" not in options,
        "info": info,
    }
