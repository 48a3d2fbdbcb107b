"""Warnings, before a file is written, of parts of a dataset that its format cannot hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from offlinekit.datasets import schema, spaces
from offlinekit.errors import DatasetWarning
from offlinekit.ground.callers import warn_caller

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

OWN = ("origin", "edits")
"""Metadata of the source of a dataset; a reader writes its own."""


def warn_of_losses(
    dataset: MDPDataset,
    format: str,
    held: Collection[str],
    *,
    facts: Collection[str] = (),
    further: Sequence[str] = (),
) -> None:
    """Warns of all that a format leaves out.

    Args:
        dataset: An MDPDataset.
        format: Its name.
        held: The columns that it has, and "spaces" if it has these.
        facts: The metadata that it has.
        further: What else it leaves out, in words.
    """
    lost = [*schema.held_beside(dataset, *held), *further]
    if "spaces" not in held:
        lost += _other_spaces(dataset)
    known = (*OWN, *facts)
    lost += [
        f"metadata {key!r}"
        for key, value in dataset.metadata.items()
        if key not in known and value is not None
    ]
    if lost:
        warn_caller(
            f"{format} cannot hold {', '.join(lost)}, left out of the file; write .h5 to keep all",
            DatasetWarning,
        )


def _other_spaces(dataset: MDPDataset) -> list[str]:
    """Returns the spaces that are other ones than the columns alone show."""
    inferred = {
        "action space": (dataset.action_space, spaces.as_actions(dataset.actions, None)[1]),
        "observation space": (
            dataset.observation_space,
            spaces.infer_observation_space(dataset.observations),
        ),
    }
    return [name for name, (declared, read_back) in inferred.items() if declared != read_back]
