"""Makes the run that `fit_online` takes the steps of."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.recording.behaviour_actions import Behaviour
from offlinekit.envs.env_facts import name_of, run_facts
from offlinekit.envs.env_spaces import check_learnable
from offlinekit.envs.frame_stacking import fit_env
from offlinekit.envs.given_env import GivenEnv, statistics_kept
from offlinekit.errors import NotFittedError, TrainingError
from offlinekit.fields import Count, checked
from offlinekit.ground.schedules import largest, schedule_text
from offlinekit.interfaces import Sampler
from offlinekit.sampling.loss_weights import describe
from offlinekit.training import policy_file, run_folder
from offlinekit.training.engines.engine import Engine
from offlinekit.training.evaluations import make_evaluations, try_evaluators
from offlinekit.training.online.acting import ActingLoop, replay
from offlinekit.training.online.acting_envs import environments, example_row
from offlinekit.training.online.experience import Experience
from offlinekit.training.online.explorer import Explorer
from offlinekit.training.online.online_checks import (
    build_online,
    check_acting,
    check_share,
    check_together,
    recorded_weights,
    warn_of_nothing_to_learn,
)
from offlinekit.training.online.online_run import OnlineRun, way_on_after
from offlinekit.training.online.online_settings import (
    BEGAN_WITH,
    OnlineSettings,
    resets_of,
    share_of,
)
from offlinekit.training.online.remembering import make_memory, weighed
from offlinekit.training.online.resets import reset
from offlinekit.training.setup.description import describe_data, describe_run
from offlinekit.training.setup.resuming import check_length, compare_config, find_run, resume
from offlinekit.training.setup.row_weighting import as_priorities, draw_by_losses
from offlinekit.training.setup.settings import completed, evaluators_of

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.interfaces import EnvSource
    from offlinekit.training.setup.start import MakeSampler
    from offlinekit.types import Array

EVALUATION_SEED = 10**9
"""Distance of the seeds of evaluations from those of episodes to learn from, of which no run has as many."""


def start_online(
    algo: Algo,
    env: EnvSource | GivenEnv,
    n_steps: int,
    *,
    dataset: MDPDataset | None = None,
    make_sampler: MakeSampler | None = None,
    **given: Any,
) -> OnlineRun:
    """Makes the online run of an algorithm from the keywords of `fit_online`.

    Args:
        algo: What learns; one without networks gets them here.
        env: Where it acts: an environment, a function that makes one, or a name that gymnasium knows.
        n_steps: Environment steps; with `resume`, of the whole run.
        dataset: Recorded rows to learn from beside new ones, or None.
        make_sampler: What draws recorded rows apart from new ones; None for a sampler of the algorithm's own.
        given: Settings of an online run; for others the algorithm's `online_settings` come before the defaults.

    Raises:
        TypeError: For an unknown setting, or one of another type.
        ValueError: For one out of its range, or settings that contradict one another.
        UnsupportedError: For an algorithm that cannot act and learn from transitions.
        DatasetError: If environment and dataset do not fit.
        TrainingError: If another process trains in the run folder to go on with.
    """
    settings = completed({**algo.online_settings, **given}, OnlineSettings, "fit_online")
    n_steps = checked("n_steps", n_steps, Count)
    share, resets = share_of(settings["mixing"]), resets_of(settings["reset"])
    priorities = as_priorities(settings["priorities"])
    check_together(algo, settings)
    with ExitStack() as held:
        envs = held.enter_context(environments(env, settings["n_envs"]))
        check_learnable(envs[0])
        example = example_row(dataset, envs[0], algo.seed or 0)
        begun = _began_with(algo, settings)
        weights = recorded_weights(dataset, settings["weights"], share)
        build_online(algo, dataset if dataset is None else weighed(dataset, weights), example)
        check_share(algo, share, dataset)
        warn_of_nothing_to_learn(algo, dataset, settings)
        check_acting(algo, example, envs[0])
        algo.dataset_name = dataset.name if dataset is not None else name_of(envs[0])
        data = _describe(dataset, envs[0], settings, weights)
        config = describe_run(algo, n_steps, settings, data, OnlineSettings)
        config |= {"online": name_of(envs[0]), "env_note": None, **run_facts(envs[0])}
        config |= {name: schedule_text(settings[name]) for name in ("noise", "epsilon")}
        config |= {"mixing": settings["mixing"], "reset": resets, BEGAN_WITH: begun}
        folder = _folder_to_resume(algo, settings, config)
        state = noted = None
        if folder is not None:
            held.enter_context(run_folder.locked(folder))
            state = resume(algo, folder, online=True)
            check_length(algo, folder, state, n_steps)
            noted = compare_config(algo, folder, config, OnlineSettings)
        else:
            reset(algo.impl, resets)
            algo.impl.begin_online()
        algo.impl.enter_phase(online=True)
        held.callback(algo.impl.enter_phase, online=False)
        # Runs that earlier versions began evaluate on the seeds on which they act.
        seed = algo.seed or 0
        eval_seed = state.get("eval_seed", seed) if state else seed + EVALUATION_SEED
        experience = Experience(folder, *((state["parts"], state.get("stretches")) if state else ()))

        def done() -> float:
            return min(loop.n_steps / n_steps, 1.0)

        balance = settings["first_share"] if settings["mixing"] == "balanced" else None
        capacity = settings["buffer_size"]
        sampler, memory = make_memory(
            algo, dataset, example, share, capacity, done, balance, priorities, weights, make_sampler
        )
        draw_by_losses(algo.impl, sampler, priorities)
        engine = _engine(algo, sampler, settings)
        space, shows = envs[0].action_space, envs[0].observation_space
        explorer = Explorer(algo, settings, space, shows, lambda: (loop.n_steps, done()), engine.acting)
        behaviour = Behaviour(explorer, space, largest(settings["epsilon"]))
        loop = ActingLoop(behaviour, envs, seed, memory, settings["episode_steps"], example)
        first = 0
        for part, stretches in zip(experience.parts, experience.stretches, strict=True):
            replay(memory, part, stretches, len(envs), first)
            first += part.n_episodes
        if state and algo.sampler_state is not None:
            sampler.set_state(algo.sampler_state)
        algo.sampler = sampler
        run = OnlineRun(
            loop,
            experience,
            settings=settings,
            state=state,
            algo=algo,
            engine=engine,
            n_steps=n_steps,
            evaluators=_evaluations(
                algo, dataset if dataset is not None else example, envs[0], settings, eval_seed
            ),
            eval_seed=eval_seed,
            config=config,
            folder=folder,
        )
        experience.keep_in(run.folder)
        run.noted = noted
        run.hold(held.pop_all())
    algo.run_dir, algo.history = run.folder, run.history
    return run


def _began_with(algo: Algo, settings: OnlineSettings) -> dict[str, Any] | None:
    """Returns updates and hash of the policy that a written run begins with; None for one without networks yet."""
    if (settings["out"] or settings["resume"]) is None:
        return None
    try:
        return {"updates": algo.grad_step, "sha256": policy_file.hash_of_networks(algo.impl)}
    except NotFittedError:
        return None


def _engine(algo: Algo, sampler: Sampler, settings: OnlineSettings) -> Engine:
    """Returns what takes updates: as they are written, if losses look at all rows, whose number grows."""
    how = "eager" if algo.impl.learns_whole_dataset else settings["engine"]
    return Engine(algo.impl, sampler, how, settings["precision"], settings["deterministic"])


def _folder_to_resume(algo: Algo, settings: OnlineSettings, config: dict[str, Any]) -> Path | None:
    wanted = settings["resume"]
    if wanted == "auto":
        place = None if settings["out"] is None else Path(settings["out"])
        wanted = find_run(algo, place, config, record=OnlineSettings)
    if wanted is not None and not isinstance(wanted, (str, Path)):
        raise TypeError(f"resume must be one run folder, or 'auto', got {wanted!r}")
    return Path(wanted) if wanted else None


def _evaluations(
    algo: Algo, dataset: MDPDataset, env: gymnasium.Env[Any, Any], settings: OnlineSettings, seed: int
) -> dict[str, Any]:
    """Returns what measures the policy: in `eval_env`, or in the acting environment while no episode runs there.

    Args:
        algo: What learns.
        dataset: What evaluators look at.
        env: Where it acts.
        settings: Of the run.
        seed: Of the first episode of each evaluation.
    """
    evaluators, given = evaluators_of(settings), settings["eval_env"]
    try_evaluators(algo, dataset, evaluators)
    n_episodes = settings["eval_episodes"]
    if given is not None:
        with GivenEnv(given).opened() as (other,):
            fit_env(other, algo, "eval_env=", "the algorithm")
        return make_evaluations(algo, dataset, given, n_episodes, evaluators, seed=seed)
    evaluations = make_evaluations(algo, dataset, env, n_episodes, evaluators, n_envs=1, seed=seed)
    play, is_written = evaluations["eval"], (settings["out"] or settings["resume"]) is not None

    def undisturbed() -> dict[str, Any]:
        with statistics_kept(env):
            try:
                return play()
            except Exception as error:
                raise TrainingError(
                    f"the environment failed in an evaluation: {type(error).__name__}: {error}; "
                    f"{way_on_after(is_written)}"
                ) from error

    return {**evaluations, "eval": undisturbed}


def _describe(
    dataset: MDPDataset | None,
    env: gymnasium.Env[Any, Any],
    settings: OnlineSettings,
    weights: Array | None,
) -> dict[str, Any]:
    priorities = as_priorities(settings["priorities"])
    info: dict[str, Any] = {} if weights is None else {"loss_weights": describe(weights)}
    info |= {} if priorities is None else {"prioritised": asdict(priorities)}
    info |= settings["info"] or {}
    if dataset is not None:
        return describe_data(dataset, info)
    nothing: dict[str, Any] = {"name": name_of(env), "source": None, "options": {}}
    return {
        "env_kwargs": {},
        "metrics": [],
        "behaviour_return": None,
        "reference_scores": None,
        "dataset": nothing,
        **info,
    }
