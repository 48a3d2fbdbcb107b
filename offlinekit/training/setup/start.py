"""Makes the run that `fit` takes the steps of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from offlinekit.datasets import MDPDataset
from offlinekit.envs.env_spaces import check_environment
from offlinekit.envs.frame_stacking import fit_stack
from offlinekit.envs.given_env import GivenEnv
from offlinekit.fields import Count, checked
from offlinekit.interfaces import Sampler, Trainable
from offlinekit.nn.isolation import trainable
from offlinekit.training import run_folder
from offlinekit.training.engines.distributed import DistributedEngine
from offlinekit.training.engines.engine import Engine
from offlinekit.training.evaluations import make_evaluations, try_evaluators, warn_of_one_action
from offlinekit.training.run import Run
from offlinekit.training.setup.contention import warn_of_contention
from offlinekit.training.setup.data_parallel import RANK_0_ALONE, share
from offlinekit.training.setup.description import describe_data, describe_run
from offlinekit.training.setup.resuming import check_length, compare_config, find_run, resume
from offlinekit.training.setup.row_weighting import as_priorities, draw_by_losses, resolved, weighted_dataset
from offlinekit.training.setup.settings import RunSettings, complete, evaluators_of, plain
from offlinekit.training.trackers import find_factories
from offlinekit.training.value_alarm import value_alarm

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from offlinekit.core.algo import Algo
    from offlinekit.interfaces import EnvSource

MakeSampler = Callable[..., Sampler]
"""Takes an algorithm, a dataset, and further settings of its `make_sampler`."""


@trainable()
def start_run(
    algo: Trainable,
    dataset: MDPDataset,
    n_steps: int,
    *,
    resume_step: int | None = None,
    make_sampler: MakeSampler | None = None,
    **given: Unpack[RunSettings],
) -> Run:
    """Makes the run of an algorithm, with its networks, from the keywords of `fit`.

    Args:
        algo: What learns.
        dataset: What it learns from.
        n_steps: Number of updates; with `resume`, of the whole run.
        resume_step: Update of the checkpoint to go on from; None for the newest.
        make_sampler: What draws its batches; None for a sampler of its own.
        given: Settings of a run.

    Raises:
        TypeError: For an unknown setting, or one of another type.
        ValueError: For one out of its range, or settings that contradict one another.
        UnsupportedError: For a dataset that the algorithm cannot learn from.
        TrainingError: If another process trains in the run folder to go on with.
    """
    settings = complete(given)
    algo.check(dataset)
    n_steps = checked("n_steps", n_steps, Count)
    _check_together(settings)
    settings = resolved(dataset, settings)
    written = settings["out"] is not None or settings["resume"] is not None
    data = describe_data(dataset, settings["info"] or {}) if written else {}
    folder = _folder_to_resume(algo, n_steps, settings, data)
    team = settings["team"]
    with ExitStack() as held:
        if folder is not None and (team is None or team.is_rank_zero):
            held.enter_context(run_folder.locked(folder))  # Before its checkpoints are read.
        state = resume(algo, folder, resume_step) if folder else None
        if folder is not None and state is not None:
            check_length(algo, folder, state, n_steps)
        learned = weighted_dataset(dataset, settings["weights"], team)
        algo.build(learned)
        algo.dataset_name = dataset.name
        if team is not None:
            make_sampler = share(algo, team, {"n_steps": n_steps, **_common(settings)})
            if not team.is_rank_zero:
                settings, folder = RunSettings(**{**settings, **RANK_0_ALONE}), None  # type: ignore[typeddict-item]
        learner = cast("Algo", algo)  # Evaluators are functions of one.
        if settings["eval_env"] is not None:
            check_fits(learner, dataset, settings["eval_env"])
        try_evaluators(learner, dataset, evaluators_of(settings))
        sampler = _prepare_sampler(algo, learned, settings, make_sampler)
        config = describe_run(algo, n_steps, settings, data)
        noted = None if folder is None else compare_config(algo, folder, config)
        run = algo.run_class(
            algo,
            _engine(algo, sampler, settings),
            n_steps,
            settings,
            make_evaluations(
                learner,
                dataset,
                settings["eval_env"],
                settings["eval_episodes"],
                evaluators_of(settings),
                n_envs=settings["n_envs"],
                max_steps=settings["max_steps"],
            ),
            config,
            folder,
            state,
            value_alarm(learner, learned, settings["value_alarm"]),
            partial(warn_of_one_action, learner, dataset),
        )
        run.noted = noted
        run.hold(held.pop_all())
    algo.run_dir, algo.history = run.folder, run.history
    warn_of_contention(algo.impl.device)
    return run


def _check_together(settings: RunSettings) -> None:
    """Checks settings that depend on one another, and decides which way early stopping goes."""
    if settings["tensorboard"] and settings["out"] is None:
        raise ValueError("tensorboard=True writes into the run folder; give out='runs' as well")
    if settings["loggers"] and settings["out"] is None:
        raise ValueError("loggers belong to a run folder; give out='runs' as well")
    find_factories(settings["loggers"])
    stopping, evaluators = settings["early_stopping"], evaluators_of(settings)
    own = [name for name in evaluators if name.startswith("eval/")]
    if own and settings["eval_env"] is not None:
        raise ValueError(
            f"an evaluator cannot be named {own[0]!r}, as eval_env gives this group of columns; rename it"
        )
    if stopping is not None:
        settings["early_stopping"] = stopping.resolved(evaluators)
        measured = {"eval", *evaluators} if settings["eval_env"] is not None else {*evaluators}
        if stopping.metric.startswith("eval/") and not {stopping.metric, "eval"} & measured:
            raise ValueError(
                f"early_stopping waits for {stopping.metric!r}, which needs an environment; give eval_env"
            )


def _folder_to_resume(
    algo: Trainable, n_steps: int, settings: RunSettings, data: Mapping[str, Any]
) -> Path | None:
    """Returns the run folder to go on with, the same in all processes of the run; None for a new run."""
    resume, out, team = settings["resume"], settings["out"], settings["team"]
    if resume == "auto":
        wanted = describe_run(algo, n_steps, settings, data)
        place = None if out is None else Path(out)
        folder = find_run(algo, place, wanted) if team is None or team.is_rank_zero else None
        resume = folder if team is None else team.gather(folder and str(folder))[0]
    if resume is not None and not isinstance(resume, (str, Path)):
        raise TypeError(f"resume must be one run folder, or 'auto', got {resume!r}")
    return Path(resume) if resume else None


def _common(settings: RunSettings) -> dict[str, Any]:
    """Returns the settings that must be the same in all processes of a run."""
    return {name: value for name, value in plain(settings).items() if name not in RANK_0_ALONE}


def check_fits(algo: Algo, dataset: MDPDataset, env: EnvSource, option: str = "eval_env=") -> None:
    """Checks that an environment has the spaces of the algorithm and the data.

    Args:
        algo: With networks.
        dataset: That it learns from.
        env: Left open if it is an object.
        option: By which the environment was given, for the message.

    Raises:
        DatasetError: For other ones.
    """
    with GivenEnv(env).opened() as (opened,):
        check_environment(
            algo.impl.observation_space, dataset.action_space, fit_stack(opened, algo), option=option
        )


def _prepare_sampler(
    algo: Trainable, dataset: MDPDataset, settings: RunSettings, make_sampler: MakeSampler | None
) -> Sampler:
    """Makes the algorithm's sampler of the dataset, which resumes from the earlier or the saved one."""
    reached = algo.sampler_state if algo.sampler is None else algo.sampler.state()
    priorities = as_priorities(settings["priorities"])
    how = {} if priorities is None else {"priorities": priorities}
    recorded = (make_sampler or type(algo).make_sampler)(algo, dataset, **how)
    algo.sampler = sampler = algo.training_sampler(recorded, dataset)
    if reached is not None:
        sampler.set_state(reached)
    algo.impl.learn_data(dataset, recorded)
    draw_by_losses(algo.impl, sampler, priorities)
    return sampler


def _engine(algo: Trainable, sampler: Sampler, settings: RunSettings) -> Engine:
    how = (algo.impl, sampler, settings["engine"], settings["precision"], settings["deterministic"])
    team = settings["team"]
    return Engine(*how) if team is None else DistributedEngine(team, *how)
