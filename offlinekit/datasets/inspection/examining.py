"""Datasets looked through: every fault, doubt and note at once, of which building raises or warns of some."""

from __future__ import annotations

import warnings
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, NamedTuple

from offlinekit.datasets import schema
from offlinekit.datasets.draft import Draft
from offlinekit.datasets.editing.dropping import without_nonfinite
from offlinekit.datasets.editing.ordering import in_file
from offlinekit.datasets.findings import Finding
from offlinekit.datasets.inspection.doubts import doubts_of
from offlinekit.datasets.inspection.notes import notes_of
from offlinekit.datasets.inspection.rules import faults_of
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.registry import Env, built, environment_of, read
from offlinekit.errors import DatasetError, DatasetWarning

if TYPE_CHECKING:
    from offlinekit.datasets.findings import Severity


class Report(NamedTuple):
    """Findings in a dataset.

    Attributes:
        name: What was examined.
        dataset: The dataset, or None if none could be built.
        faults: What prevents it.
        warnings: What looks wrong.
        notes: What is worth a look, and often right.
        env: The environment that `get_dataset` gives with the dataset, or None.
    """

    name: str
    dataset: MDPDataset | None
    faults: list[Finding]
    warnings: list[Finding]
    notes: list[Finding]
    env: Env | None = None

    @property
    def is_sound(self) -> bool:
        """Whether a dataset could be built."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """Returns the report as plain data."""
        kinds = {"faults": self.faults, "warnings": self.warnings, "notes": self.notes}
        findings_by_kind = {
            kind: [finding.to_json() for finding in findings] for kind, findings in kinds.items()
        }
        return {"name": self.name, "sound": self.is_sound, **findings_by_kind}


def examine(name: str | PathLike[str], /, **options: Any) -> Report:
    """Reads a dataset and reports everything that is wrong with it.

    Args:
        name: What `get_dataset` takes.
        **options: As of `get_dataset`.

    Raises:
        FileFormatError: For a damaged file, whose columns cannot be read.
        FileNotFoundError: For a path to nothing.
        ValueError: For an unknown name.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = read(name, **options)
        except DatasetError as error:
            faults = list(error.findings) or [_as_finding("fault", str(error))]
            return Report(fspath(name), None, faults, [], [])
        is_built = isinstance(
            result.columns, MDPDataset
        )  # Its doubts were warned of, and are found again below.
        said = [one for one in caught if not is_built or one.category is not DatasetWarning]
        n_read = len(caught)
        columns = result.columns if isinstance(result.columns, dict) else schema.columns_of(result.columns)
        draft = without_nonfinite(Draft(columns), result.nonfinite)
        faults = in_file(columns if result.nonfinite == "refuse" else {}, faults_of(draft))
        dataset = None if faults else built(result)
        env = None if dataset is None else environment_of(result, dataset)
    said += [one for one in caught[n_read:] if one.category is not DatasetWarning]
    of_reader = [_as_finding("warning", str(one.message)) for one in said]
    if faults:
        return Report(fspath(name), None, faults, of_reader, [])
    return Report(fspath(name), dataset, [], [*doubts_of(draft), *of_reader], list(notes_of(draft)), env)


def _as_finding(severity: Severity, text: str) -> Finding:
    """Returns what a reader says in a sentence as a finding."""
    message, _, fix = text.partition("; ")
    return Finding(severity, "dataset", message, fix or "see the message")
