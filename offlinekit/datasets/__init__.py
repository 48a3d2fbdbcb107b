"""Datasets: recorded transitions, their readers, and the environments to evaluate policies in."""

from functools import partial
from typing import TYPE_CHECKING

from offlinekit.datasets.editing.last_actions import LastActions, with_last_actions
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.recording.collecting import collect
from offlinekit.datasets.recording.recipes import record
from offlinekit.datasets.registry import get_dataset, known_datasets, register_dataset, unregister_dataset
from offlinekit.datasets.sources.dialogues import text_dataset
from offlinekit.datasets.sources.tables import from_dataframe
from offlinekit.datasets.tabular.drift import drift
from offlinekit.datasets.tabular.recency import Recency
from offlinekit.datasets.transitions import Transitions
from offlinekit.envs.environments import as_gymnasium, make_env
from offlinekit.ground.hints import no_attribute
from offlinekit.tables.table_schema import TableSchema

__all__ = [
    "LastActions",
    "MDPDataset",
    "Recency",
    "TableSchema",
    "Transitions",
    "as_gymnasium",
    "collect",
    "drift",
    "from_dataframe",
    "get_dataset",
    "known_datasets",
    "make_env",
    "record",
    "register_dataset",
    "text_dataset",
    "unregister_dataset",
    "with_last_actions",
]

if not TYPE_CHECKING:
    __getattr__ = partial(no_attribute, __name__, __all__)
