"""Hyperparameters that had other names or defaults: two tables, by which files, runs, sweeps and calls migrate."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from offlinekit.configured import default_of, fields_of
from offlinekit.core.hyperparameters import as_plain

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo


class Rename(NamedTuple):
    """One hyperparameter of an algorithm and its subclasses under its name of before.

    Attributes:
        algo: Name of the class.
        old: Name of before.
        new: Name of today.
        convert: Value of before -> value of today.
        version: The first release with the name of today.
    """

    algo: str
    old: str
    new: str
    convert: Callable[[Any], Any]
    version: str


class NewDefault(NamedTuple):
    """One hyperparameter of an algorithm and its subclasses whose default is not what was done before.

    Attributes:
        algo: Name of the class.
        name: Of the hyperparameter, which may be new as well.
        before: Value that does what was done; files that lack the hyperparameter have it.
        version: The first release with the default of today.
    """

    algo: str
    name: str
    before: object
    version: str


def inverse(value: float) -> float:
    """Returns 1 / value, and infinity for 0: a temperature of its inverse."""
    return 1.0 / value if value else math.inf


RENAMES = (
    Rename("DiscreteAWAC", "beta", "temperature", inverse, "0.1.0"),
    Rename("DiscreteCRR", "beta", "temperature", inverse, "0.1.0"),
    Rename("Dynamics", "resample", "bootstrap", lambda drawn: "episodes" if drawn else "none", "0.1.0"),
)

NEW_DEFAULTS = (
    NewDefault("Dynamics", "n_elites", None, "0.1.0"),
    NewDefault("Dynamics", "learned_bounds", False, "0.1.0"),
    NewDefault("Dynamics", "layer_decay", 0.0, "0.1.0"),
    NewDefault("Dynamics", "scales_inputs", False, "0.1.0"),
    NewDefault("Dynamics", "holdout", 0.0, "0.1.0"),
    NewDefault("Dynamics", "patience", None, "0.1.0"),
    NewDefault("FQL", "n_candidates", None, "0.1.0"),
    NewDefault("QC", "encoder", "auto", "0.1.0"),
    NewDefault("QCFQL", "encoder", "auto", "0.1.0"),
)


def renames_of(front: type[Any]) -> dict[str, Rename]:
    """Returns what an algorithm renamed, by name of before; a field of that name of its own is not meant."""
    classes = {base.__name__ for base in front.__mro__}
    known = getattr(front, "__dataclass_fields__", {})
    return {rename.old: rename for rename in RENAMES if rename.algo in classes and rename.old not in known}


def renamed(front: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns hyperparameters by the names and in the units of today.

    Raises:
        TypeError: For one that is given by both names.
    """
    renames, current = renames_of(front), dict(given)
    for old in renames.keys() & given.keys():
        rename = renames[old]
        if rename.new in given:
            raise TypeError(f"{front.__name__} takes {rename.new!r}, which was {old!r}; give one of them")
        current[rename.new] = rename.convert(current.pop(old))
    return current


def values_before(front: type[Any]) -> dict[str, Any]:
    """Returns what an algorithm did where its default of today does otherwise, by name of the hyperparameter."""
    classes = {base.__name__ for base in front.__mro__}
    return {default.name: default.before for default in NEW_DEFAULTS if default.algo in classes}


def migrated(front: type[Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the hyperparameters of a file by which this version does as the one that wrote it."""
    return {**values_before(front), **renamed(front, config)}


def current_names(front: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns hyperparameters by their names of today, and warns of those of before."""
    current = renamed(front, given)
    for old in given.keys() - current.keys():
        new = renames_of(front)[old].new
        warnings.warn(
            f"{old!r} of {front.__name__} is now {new!r}: give {new}={current[new]!r} for {old}={given[old]!r}",
            DeprecationWarning,
            stacklevel=4,
        )
    return current


def migrated_run(algo: Algo, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the hyperparameters of a run by the names of today, to compare with the algorithm's own.

    Those younger than the run have their defaults.
    """
    defaults = as_plain({field.name: default_of(field) for field in dataclasses.fields(algo)})
    younger = {name: defaults[name] for name in algo.config.keys() - config.keys()}
    as_default = {name: defaults[name] for name in adopted(algo, config)}
    return {**younger, **migrated(type(algo), config), **as_default}


def adopted(algo: Algo, config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a run does as it was done before a new default, if the algorithm's own is that default."""
    begun, fields = migrated(type(algo), config), fields_of(type(algo))
    return {
        name: before
        for name, before in values_before(type(algo)).items()
        if begun[name] == before and getattr(algo, name) == default_of(fields[name])
    }
