"""Datasets that were recorded here by the recipe of a published one, as `offlinekit datasets record` writes them."""

from __future__ import annotations

import functools

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.recording.recipes import RECIPES, path_of
from offlinekit.datasets.source import Source

PREFIX = "recorded/"


@functools.cache
def names() -> dict[str, str]:
    """Returns the names of recorded datasets, each with one line."""
    return {
        f"{PREFIX}{name}": f"Recorded here by the recipe of {recipe.stands_for}; a stand-in, not its file."
        for name, recipe in RECIPES.items()
    }


def load(name: str) -> MDPDataset:
    """Reads a dataset that was recorded here.

    Raises:
        FileNotFoundError: If it has not been; says the command that records it.
    """
    recipe = name.removeprefix(PREFIX)
    path = path_of(recipe)
    if not path.is_file():
        raise FileNotFoundError(
            f"{name} has not been recorded here: there is no {path}; record it by: offlinekit datasets record {recipe}"
        )
    return MDPDataset.load(path)


SOURCE = Source(summary="Recorded here by the recipe of a published dataset.", names=names, load=load)
