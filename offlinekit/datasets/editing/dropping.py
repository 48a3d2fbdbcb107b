"""Leaves out episodes that hold NaN or infinities, as `nonfinite="drop"` does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from offlinekit.datasets import schema, validation
from offlinekit.datasets.draft import Draft
from offlinekit.errors import DatasetError
from offlinekit.ground.callers import warn_caller
from offlinekit.types import Array, leaves, map_tree

if TYPE_CHECKING:
    from offlinekit.types import ArrayTree

Nonfinite: TypeAlias = Literal["refuse", "drop"]

FINITE = (*schema.names(kind="tree"), "actions", *schema.names(kind="number"))
"""Columns that must be finite."""


def without_nonfinite(draft: Draft, choice: Nonfinite) -> Draft:
    """Returns a draft without the episodes that hold NaN or infinities, with a warning; the same one if there are none.

    Args:
        draft: Of a dataset; what makes no episodes is left to the rules.
        choice: "drop", or "refuse", which leaves all to the rules.

    Raises:
        ValueError: For another choice.
        DatasetError: If no episode is left.
    """
    if choice not in get_args(Nonfinite):
        raise ValueError(f"nonfinite must be 'refuse' or 'drop', got {choice!r}")
    if choice == "refuse" or draft.episodes is None:
        return draft
    lengths = np.diff(draft.episodes.ends, prepend=0)
    wrong = _broken_episodes(draft, draft.episodes.starts)
    if not wrong.any():
        return draft
    if wrong.all():
        raise DatasetError(f"each of the {len(wrong)} episodes holds NaN or infinities, so none is left")
    keep = np.repeat(~wrong, lengths)
    warn_caller(
        f"{int(wrong.sum()):,} of {len(wrong):,} episodes were left out, which hold NaN or infinities, the first of "
        f"them episode {int(np.argmax(wrong))}; {int(keep.sum()):,} of {len(keep):,} rows are left"
    )
    masks = {"row": keep, "episode": ~wrong}
    kept = {c.name: _kept(draft.given.get(c.name), masks[c.per]) for c in schema.COLUMNS if c.is_argument}
    return Draft({**draft.given, **kept})


def _broken_episodes(draft: Draft, starts: Array) -> Array:
    """Returns bool [E]; columns that have not one entry for each row or episode are left to the rules."""
    wrong = np.zeros(len(starts), np.bool_)
    for name in FINITE:
        tree, is_of_rows = draft.given.get(name), schema.BY_NAME[name].per == "row"
        for broken in () if tree is None else map(_not_finite, leaves(tree)):
            if is_of_rows and len(broken) == draft.n_rows:
                if name == "next_observations" and len(draft.final_known) == len(wrong):
                    broken[np.append(starts[1:], len(broken)) - 1] &= draft.final_known
                wrong |= np.logical_or.reduceat(broken, starts)
            elif not is_of_rows and len(broken) == len(draft.final_known) == len(wrong):
                wrong |= broken & draft.final_known
    return wrong


def _not_finite(leaf: Array) -> Array:
    """Returns bool [N]: whether a row holds NaN, an infinity, or what is one as float32."""
    array = np.asarray(leaf)
    if array.dtype.kind != "f" or array.ndim == 0:
        return np.zeros(array.shape[:1], np.bool_)
    wrong = np.zeros(len(array), np.bool_)
    wrong[validation.where_any(array, lambda part: ~np.isfinite(validation.as_float32(part)))] = True
    return wrong


def _kept(tree: ArrayTree | None, mask: Array) -> ArrayTree | None:
    return None if tree is None else map_tree(lambda leaf: np.asarray(leaf)[mask], tree)
