"""Datasets of other packages, found by the entry points that those packages declare.

An entry point of the group `offlinekit.datasets` names a `Source`, which becomes a format or family of that name;
a function, which becomes the dataset of that name or pattern; or a module, which registers what it has when it
is imported.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any

from offlinekit.datasets.source import Source, add_source
from offlinekit.ground.callers import warn_caller

GROUP = "offlinekit.datasets"


class PluginWarning(UserWarning):
    """A package's datasets that could not be loaded; the others are not affected."""


@functools.cache
def load_plugins(register: Callable[[str], Callable[[Any], Any]]) -> None:
    """Loads the datasets of other packages, once; warns of each that cannot be loaded.

    Args:
        register: `register_dataset`.
    """
    for point in entry_points(group=GROUP):
        try:
            _add(point, register)
        except Exception as error:
            where = f"{point.name} = {point.value!r}" + (f" of {point.dist.name}" if point.dist else "")
            warn_caller(
                f"the plug-in {where} cannot be loaded ({type(error).__name__}: {error}); its datasets are "
                "missing; mend or uninstall that package",
                PluginWarning,
            )


def _add(point: EntryPoint, register: Callable[[str], Callable[[Any], Any]]) -> None:
    loaded = point.load()
    if isinstance(loaded, Source):
        add_source(point.name, loaded)
    elif callable(loaded):
        register(point.name)(loaded)
    elif not isinstance(loaded, ModuleType):
        raise TypeError(
            f"expected a Source, a function or a module that registers datasets, got {type(loaded).__name__}"
        )
