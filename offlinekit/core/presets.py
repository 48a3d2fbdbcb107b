"""Presets: the published settings of an algorithm on a dataset, each with its sources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from offlinekit.errors import did_you_mean


@dataclass(frozen=True)
class Preset:
    """Published settings of one algorithm on one dataset: all that differs from the defaults of the library.

    Attributes:
        dataset: Name of the dataset that they were published for.
        hyperparameters: Of the algorithm; scaling of observations and rewards is among them.
        n_steps: Number of updates, those of a warm-up included.
        dataset_options: Of `get_dataset`, such as which rows of the file become transitions.
        online: Of `fit_online`, `n_steps` of the environment and what differs from the algorithm's own settings; empty
            unless it goes online there.
        sources: Paper, and the files that the settings were read from as "owner/repository:path@commit".
    """

    dataset: str
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    n_steps: int = 1_000_000
    dataset_options: dict[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    online: dict[str, Any] = field(default_factory=dict)


@cache
def published(algo: str) -> dict[str, Preset]:
    """Returns the presets of an algorithm by dataset, none if none were published.

    An entry of `<algo>.json` adds to those above it that name the same dataset. Names may hold choices:
    "{hopper,walker2d}-medium-v2" stands for two datasets.

    Args:
        algo: Name in the catalogue, such as "td3_plus_bc".
    """
    path = Path(__file__).resolve().parents[1] / "algos" / "presets" / f"{algo}.json"
    if not path.is_file():
        return {}
    entries = [{**entry, "datasets": expand(entry["datasets"])} for entry in json.loads(path.read_text())]
    datasets = dict.fromkeys(name for entry in entries for name in entry["datasets"])
    return {name: _joined(name, entries) for name in datasets}


def expand(names: Iterable[str]) -> list[str]:
    """Returns the names that names with choices stand for: "{a,b}-{c,d}" gives a-c, a-d, b-c and b-d."""
    expanded = []
    for name in names:
        choice = re.search(r"\{([^}]*)\}", name)
        if choice is None:
            expanded.append(name)
        else:
            before, after = name[: choice.start()], name[choice.end() :]
            expanded += expand(before + chosen + after for chosen in choice[1].split(","))
    return expanded


def find(algo: str, dataset: str) -> Preset:
    """Returns the preset of an algorithm on a dataset.

    Raises:
        ValueError: If there is none; lists those that there are.
    """
    known = published(algo)
    if dataset in known:
        return known[dataset]
    others = f"; it has them for: {', '.join(known)}" if known else ", nor for any other dataset"
    raise ValueError(f"{algo} has no preset for {dataset!r}{did_you_mean(dataset, known)}{others}")


def _joined(dataset: str, entries: list[dict[str, Any]]) -> Preset:
    preset = Preset(dataset)
    for entry in entries:
        if dataset in entry["datasets"]:
            preset = Preset(
                dataset,
                preset.hyperparameters | entry.get("set", {}),
                entry.get("n_steps", preset.n_steps),
                preset.dataset_options | entry.get("dataset_options", {}),
                (*preset.sources, *(source for source in entry["sources"] if source not in preset.sources)),
                preset.online | entry.get("online", {}),
            )
    return preset
