"""Contents of a run's config.json: algorithm, settings, and origin of the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.datasets.registry import located
from offlinekit.envs.given_env import GivenEnv
from offlinekit.interfaces import Trainable
from offlinekit.training.setup.settings import RunSettings, SharedSettings, plain


def describe_run(
    algo: Trainable,
    n_steps: int,
    settings: SharedSettings,
    data: Mapping[str, Any],
    record: type[SharedSettings] = RunSettings,
) -> dict[str, Any]:
    """Returns the config of a run.

    Args:
        algo: What learns.
        n_steps: Length of the run.
        settings: The others.
        data: As `describe_data` gives it.
        record: Where the settings are declared.
    """
    env, is_written = settings.get("eval_env"), (settings.get("out") or settings.get("resume")) is not None
    facts = GivenEnv(env).facts if is_written and env is not None else {"env_id": None}
    return {
        "format": 1,
        "algo": type(algo).__name__,
        "impl": algo.impl_class.__name__,
        "hyperparameters": algo.config,
        "seed": algo.seed,
        "eval_env": facts["env_id"] or "none",
        "n_steps": n_steps,
        **plain(settings, record),
        **data,
        **facts,
    }


def describe_data(dataset: MDPDataset, info: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a run's config keeps of its data: their source and what they scored.

    Args:
        dataset: What is learned from.
        info: Entries of the caller, which override; those of "dataset" one by one.
    """
    origin = dataset.metadata.get("origin") or {}
    known = info.get("dataset", {})
    return {
        "env_kwargs": dataset.metadata.get("env_kwargs") or {},
        "metrics": [],
        "behaviour_return": float(dataset.episode_returns().mean()),
        "reference_scores": dataset.reference_scores,
        **info,
        "dataset": {
            "name": dataset.name,
            "source": located(origin["name"]) if isinstance(origin.get("name"), str) else None,
            "options": origin.get("options", {}),
            **({} if "hash" in known else {"hash": fingerprint(dataset)}),
            **known,
        },
    }
