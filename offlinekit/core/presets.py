"""Presets: the published settings of an algorithm on a dataset, each with its source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from offlinekit.errors import did_you_mean


@dataclass(frozen=True)
class Preset:
    """Published settings of one algorithm on one dataset.

    Attributes:
        dataset: Name of the dataset that they were published for.
        hyperparameters: What differs from the defaults of the algorithm.
        n_steps: Number of updates.
        source: Where they were published.
    """

    dataset: str
    hyperparameters: dict[str, Any]
    n_steps: int
    source: str


@cache
def published(algo: str) -> dict[str, Preset]:
    """Returns the presets of an algorithm by dataset, none where nobody published any.

    An entry of `<algo>.json` adds to those above it that name the same dataset; one that names none adds to
    every preset of the file.

    Args:
        algo: Name in the catalogue, such as "td3_plus_bc".
    """
    path = Path(__file__).resolve().parents[1] / "algos" / "presets" / f"{algo}.json"
    if not path.is_file():
        return {}
    entries = json.loads(path.read_text())
    datasets = dict.fromkeys(name for entry in entries for name in entry.get("datasets", ()))
    return {name: _joined(name, entries) for name in datasets}


def find(algo: str, dataset: str) -> Preset:
    """Returns the preset of an algorithm on a dataset.

    Raises:
        ValueError: Where there is none; lists those that there are.
    """
    known = published(algo)
    if dataset in known:
        return known[dataset]
    those = f"; it has them for: {', '.join(known)}" if known else ", nor for any other dataset"
    raise ValueError(f"{algo} has no preset for {dataset!r}{did_you_mean(dataset, known)}{those}")


def _joined(dataset: str, entries: list[dict[str, Any]]) -> Preset:
    hyperparameters: dict[str, Any] = {}
    n_steps, sources = 1_000_000, []
    for entry in entries:
        if dataset in entry.get("datasets", [dataset]):
            hyperparameters |= entry.get("set", {})
            n_steps = entry.get("n_steps", n_steps)
            sources.append(entry["source"])
    return Preset(dataset, hyperparameters, n_steps, "; ".join(dict.fromkeys(sources)))
