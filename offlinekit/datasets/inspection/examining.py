"""Datasets looked through: every fault and suspicion at once, where building stops at the first."""

from __future__ import annotations

import warnings
from os import PathLike, fspath
from typing import Any, NamedTuple

from offlinekit.datasets.inspection.doubts import find_suspicions
from offlinekit.datasets.inspection.rules import Finding, find_faults
from offlinekit.datasets.intake import noted_arguments
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.registry import get_dataset
from offlinekit.errors import DatasetError


class Report(NamedTuple):
    """What was found in a dataset.

    Attributes:
        name: What was examined.
        dataset: The dataset, or None where none could be built.
        faults: What prevents it.
        warnings: What looks wrong.
    """

    name: str
    dataset: MDPDataset | None
    faults: list[Finding]
    warnings: list[Finding]

    @property
    def is_sound(self) -> bool:
        """Whether a dataset could be built."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """Returns the report as plain data."""
        return {
            "name": self.name,
            "sound": self.is_sound,
            "faults": [finding.to_json() for finding in self.faults],
            "warnings": [finding.to_json() for finding in self.warnings],
        }


def examine(name: str | PathLike[str], **options: Any) -> Report:
    """Reads a dataset and reports everything that is wrong with it.

    Args:
        name: What `get_dataset` takes.
        **options: Of its reader.

    Raises:
        FileFormatError: For a damaged file, of whose columns nothing can be said.
        FileNotFoundError: For a path to nothing.
        ValueError: For an unknown name.
    """
    dataset, refusal = None, None
    with noted_arguments() as noted, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            dataset = get_dataset(name, **options)[0]
        except DatasetError as error:
            if not noted:
                raise
            refusal = error
    faults = [finding for columns in noted for finding in find_faults(columns)]
    if refusal is not None and not faults:
        message, _, fix = str(refusal).partition("; ")
        faults = [Finding("fault", "dataset", message, fix or "see the message")]
    suspicions = [] if faults else [finding for columns in noted for finding in find_suspicions(columns)]
    suspicions += [_told_by_reader(str(one.message)) for one in told]
    return Report(fspath(name), None if faults else dataset, faults, suspicions)


def _told_by_reader(text: str) -> Finding:
    """Returns what a reader warned of as a finding."""
    message, _, fix = text.partition("; ")
    return Finding("warning", "dataset", message, fix or "see the message")
