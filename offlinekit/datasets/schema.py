"""The columns of a dataset, listed once for building, checking, files, slices, joins and minibatches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from offlinekit.types import leaves

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

Columns: TypeAlias = dict[str, Any]
"""Arguments of MDPDataset by name, as readers return them."""

Kind: TypeAlias = Literal["tree", "actions", "legal", "number", "flag", "named", "bits"]
KINDS: dict[Kind, str] = {
    "tree": "[N, ...], or a dict or tuple of such; uint8 is kept, other numbers become float32",
    "actions": "[N] of a Discrete, int64; [N, A] of a Box, float32",
    "legal": "[N, A] of a Discrete with A actions, bool; or numbers that are 0 or 1",
    "number": "[N], float32",
    "flag": "[N], bool; or numbers that are 0 or 1",
    "named": "a dict of [N, ...] of numbers or bytes, any dtype",
    "bits": "[N, mask_size], uint8",
}
"""Shape and dtype by kind of column; N counts episodes for columns with one entry an episode."""


class Column(NamedTuple):
    """Facts of a column."""

    name: str
    kind: Kind
    per: Literal["row", "episode"] = "row"
    is_required: bool = False
    is_argument: bool = True  # Of MDPDataset; masks are drawn.
    is_kept: bool = True  # As an attribute, and in files.
    is_mapped: bool = False  # Stays in a file that is opened; small columns are read.
    in_batch: bool = False  # Whether every minibatch needs it; others are brought by name.


COLUMNS = (
    Column("observations", "tree", is_required=True, is_mapped=True, in_batch=True),
    Column("actions", "actions", is_required=True, is_mapped=True, in_batch=True),
    Column("rewards", "number", is_required=True, in_batch=True),
    Column("terminals", "flag", is_required=True, in_batch=True),
    Column("timeouts", "flag", in_batch=True),
    Column("episode_terminals", "flag", is_kept=False),
    Column("next_observations", "tree", is_mapped=True, in_batch=True),
    Column("legal_actions", "legal", is_kept=False),  # Kept as a leaf of the observations.
    Column("behavior_log_probs", "number", is_mapped=True),
    Column("extras", "named", is_mapped=True),
    Column("masks", "bits", is_argument=False, is_mapped=True),
    Column("final_observations", "tree", "episode", is_mapped=True),
    Column("final_known", "flag", "episode"),
    Column("episode_extras", "named", "episode", is_mapped=True),
)
BY_NAME = {column.name: column for column in COLUMNS}


def names(**facts: object) -> tuple[str, ...]:
    """Returns the columns of which facts hold, such as per="row", is_kept=True."""
    return tuple(c.name for c in COLUMNS if all(getattr(c, fact) == value for fact, value in facts.items()))


ROWS = names(per="row", is_kept=True)
EPISODES = names(per="episode", is_kept=True)
FLAGS = names(kind="flag", per="row")
REQUIRED = names(is_required=True)
FLAT = tuple(c.name for c in COLUMNS if c.is_argument and c.per == "row" and c.kind != "named")
"""Arguments that a file may hold as one array [N, ...] each."""


FACTS = (
    "observation_space",
    "action_space",
    "create_mask",
    "mask_size",
    "seed",
    "name",
    "metadata",
    "nonfinite",
)
"""Arguments of MDPDataset that are no columns."""
ARGUMENTS = (*names(is_argument=True), *FACTS)


def column_of(field: str) -> Column | None:
    """Returns the column that a field, such as `observations['camera']`, is a part of."""
    return BY_NAME.get(field.partition("[")[0])


def columns_of(dataset: MDPDataset) -> Columns:
    """Returns the columns and facts of an MDPDataset as arguments of a new one; its masks are not among them."""
    kept = {c.name: getattr(dataset, c.name) for c in COLUMNS if c.is_argument and c.is_kept}
    if dataset.next_observations is not None:
        del kept["final_observations"]
    elif not dataset.final_known.any():
        kept |= {"final_observations": None, "final_known": None}
    facts = {
        name: getattr(dataset, name) for name in ("observation_space", "action_space", "name", "metadata")
    }
    return {**kept, **facts, "episode_terminals": dataset.terminals | dataset.timeouts}


def held_beside(dataset: MDPDataset, *held: str) -> list[str]:
    """Returns what a dataset holds beside the columns named: what a format that has these alone leaves out."""
    lost = [name for name in names(is_kept=True) if name not in (*held, "final_known")]
    if not dataset.final_known.any():
        lost = [name for name in lost if name != "final_observations"]
    return [name for name in lost if getattr(dataset, name) is not None and leaves(getattr(dataset, name))]
