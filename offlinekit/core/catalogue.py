"""Entries of the catalogue: name, family, paper, hyperparameters and presets of an algorithm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from offlinekit.configured import describe
from offlinekit.core import presets
from offlinekit.fields import Described
from offlinekit.naming import check_free, register

A = TypeVar("A", bound="CatalogueEntry")


def letters(name: str) -> str:
    """Returns what all spellings of a name have in common: "td3plusbc" of "TD3+BC", "TD3PlusBC", "td3_plus_bc"."""
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "plus"))


class CatalogueEntry:
    """Description of an algorithm, by class attributes and class methods."""

    family: ClassVar[str] = ""
    action_kind: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    short_name: ClassVar[str] = ""

    @classmethod
    def catalogue_name(cls) -> str:
        """Returns the name on the command line, such as "td3_plus_bc"; `short_name` if the class has one."""
        own: str = cls.__dict__.get("short_name", "")
        return own or re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    @classmethod
    def enter(cls, known: dict[str, type[A]], overwrite: bool) -> None:
        """Enters the class in a catalogue by its own name, which files have.

        Raises:
            ValueError: If that name, or its like on the command line, belongs to another module.
        """
        name = letters(cls.catalogue_name())
        for owner in known.values():
            if name in (letters(owner.catalogue_name()), letters(owner.__name__)):
                check_free(cls.__name__, cls, owner, overwrite)
        register(known, cls.__name__, cls, overwrite)

    @classmethod
    def summary(cls) -> str:
        """Returns one line on the algorithm."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @classmethod
    def hyperparameters(cls) -> dict[str, Described]:
        """Returns name, default, range and meaning of each hyperparameter."""
        return describe(cls)

    @classmethod
    def current_names(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns hyperparameters by their names of today."""
        return given

    @classmethod
    def presets(cls) -> dict[str, presets.Preset]:
        """Returns the published settings by dataset: what differs from the defaults, updates and source."""
        return presets.published(cls.catalogue_name())

    @classmethod
    def preset(cls: type[A], dataset: str, **hyperparameters: Any) -> A:
        """Makes the algorithm with the settings published for a dataset.

        Args:
            dataset: Name of the dataset, such as "hopper-medium-v2".
            hyperparameters: Those to set otherwise.

        Raises:
            ValueError: If none were published for it; lists those that were.
        """
        published = presets.find(cls.catalogue_name(), dataset).hyperparameters
        return cls(**{**published, **cls.current_names(hyperparameters)})
