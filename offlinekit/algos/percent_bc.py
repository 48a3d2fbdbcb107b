"""Percent behaviour cloning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from offlinekit.algos.bc import BC
from offlinekit.algos.torch.percent_bc_impl import PercentBCImpl
from offlinekit.core.hyperparameters import Count, Rate
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.editing.thinning import best_pieces, piece_starts
from offlinekit.ground.shares import share_of
from offlinekit.sampling.named_columns import numbered

if TYPE_CHECKING:
    from offlinekit.interfaces import Sampler

A = TypeVar("A", bound="PercentBC")


class PercentBC(BC):
    """Behaviour cloning of the best fraction of the data by return (%BC, 10%BC).

    Source: Chen et al. 2021, arXiv:2106.01345, section 5.1.
    """

    fraction: Annotated[Rate, "Share of the episodes that is cloned, those of the highest return."] = 0.1
    piece_length: Annotated[
        Count | None,
        "Rows of a piece: pieces, cut at terminals and not at timeouts, are ranked in place of episodes.",
    ] = None

    family: ClassVar[str] = "IL"
    paper: ClassVar[str] = "arXiv:2106.01345"
    sampler_options: ClassVar[tuple[str, ...]] = ("fraction", "piece_length")
    impl_class = PercentBCImpl

    def build(self: A, dataset: MDPDataset) -> A:
        """Fits the scalers and makes the networks for the best episodes."""
        self.check(dataset)
        return super().build(self.best_episodes(dataset))

    def make_sampler(self, dataset: MDPDataset, **settings: Any) -> Sampler:
        """Makes what draws the batches of a run from the best episodes."""
        return super().make_sampler(self.best_episodes(numbered(dataset)), **settings)

    def best_episodes(self, dataset: MDPDataset) -> MDPDataset:
        """Returns the episodes of the highest return, at least one, in recorded order; earlier ones at a tie.

        With `piece_length` they are parts of episodes: those that lie in the best pieces.
        """
        starts = piece_starts(dataset, self.piece_length)
        n = max(math.floor(share_of(self.fraction, len(starts))), 1)
        return best_pieces(dataset, starts, n)
