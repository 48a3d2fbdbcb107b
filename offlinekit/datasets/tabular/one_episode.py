"""The warning of tables of which no column says where episodes begin."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from offlinekit.errors import DatasetWarning
from offlinekit.ground.callers import warn_caller
from offlinekit.tables.episode_columns import named_episode, proposed_episode
from offlinekit.types import Array

if TYPE_CHECKING:
    import pandas as pd

    from offlinekit.tables.table_schema import TableSchema


def warn_of_one_episode(
    frame: pd.DataFrame, plan: TableSchema | None, named: Collection[str], ends: Iterable[Array]
) -> None:
    """Warns if the rows of a table are one episode because no column says otherwise.

    Args:
        frame: The table.
        plan: Its schema, if it has one.
        named: Columns of the action, and those that have a role.
        ends: [N] each, not 0 where an episode ended, in the order of time.
    """
    if len(frame) < 2 or any((flags[:-1] != 0).any() for flags in ends):
        return
    others = {
        str(name): frame[name].to_numpy()
        for name in frame.columns
        if name not in named and frame.columns.tolist().count(name) == 1
    }
    likely = named_episode(others) or proposed_episode(others)
    example = "COLUMN" if likely is None else likely
    name_it = f"episode: {example} in the schema" if plan is not None else f"episode={example!r}"
    perhaps = "" if likely is None else f", such as {likely!r}, which looks like it"
    warn_caller(
        f"no column says where episodes begin: {len(frame):,} rows are taken as one episode; name the column{perhaps} "
        f"({name_it}), or one that marks the last rows as terminal or timeout; bandit=True if each row is an episode, "
        "bandit=False if all rows are one",
        DatasetWarning,
    )
