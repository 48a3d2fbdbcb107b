"""Implicit language Q-learning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, cast

import numpy as np
import torch

from offlinekit.algos.torch.ilql_impl import ILQLImpl
from offlinekit.core.bases.text_model import STATE_STEPS, TextModel, state_columns
from offlinekit.core.compatibility import check_targets
from offlinekit.core.hyperparameters import Fraction, NonNegative, Positive, Rate
from offlinekit.datasets.families.dialogue_columns import IS_ACTION
from offlinekit.errors import UnsupportedError

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset
    from offlinekit.interfaces import Sampler
    from offlinekit.types import Array


class ILQL(TextModel):
    """Implicit language Q-learning: token values by IQL on a transformer reweight what a language model says.

    Source: Snell et al. 2022, arXiv:2206.11871.
    """

    beta: Annotated[NonNegative, "Weight of min Q - V in decoding; 0 is the language model alone."] = 16.0
    expectile: Annotated[Fraction, "Of the value; towards 1 it approaches the best token in the data."] = 0.7
    alpha: Annotated[NonNegative, "Weight of the cross-entropy that keeps Q low for unseen tokens."] = 1e-4
    temperature: Annotated[Positive, "Q-values are divided by it in that cross-entropy."] = 1.0
    policy_beta: Annotated[NonNegative, "Of exp(beta * advantage), a token's weight in cloning; 0: none."] = (
        0.0
    )
    max_weight: Annotated[Positive, "Bound of that weight."] = 100.0
    tau: Annotated[Rate, "Share of the online network that enters its target at each update."] = 0.005

    family: ClassVar[str] = "TEXT"
    action_kind: ClassVar[str] = "discrete"
    paper: ClassVar[str] = "arXiv:2206.11871"
    impl_class = ILQLImpl

    def check(self, dataset: MDPDataset) -> None:
        """Checks that the algorithm can learn from a dataset.

        Raises:
            UnsupportedError: As every language model, and for rewards in rows whose action is not the agent's.
        """
        super().check(dataset)
        is_action = np.asarray(dataset.extras.get(IS_ACTION, True), np.bool_)
        lost = np.flatnonzero(~is_action & (dataset.rewards != 0))
        if len(lost):
            raise UnsupportedError(
                f"ILQL learns rewards of the agent's actions, but {len(lost):,} rows of {dataset.name!r} have one "
                f"where is_action is False, the first in row {lost[0]:,}; add each to the reward of the agent's last "
                "action before it"
            )

    def training_sampler(self, recorded: Sampler, dataset: MDPDataset) -> Sampler:
        """Returns the sampler as it is; warns if few of the agent's tokens have a target of Q.

        Raises:
            UnsupportedError: If none has.
        """
        columns = state_columns(dataset)
        is_over = np.repeat(dataset.terminals[dataset.episode_ends - 1], dataset.episode_lengths())
        why = "a token of the agent must have a next one in its dialogue, or the dialogue must end"
        known = is_over | (columns[STATE_STEPS] > 0)
        check_targets("ILQL", dataset, known, why, rows=columns[IS_ACTION])
        return super().training_sampler(recorded, dataset)

    def value_rows(self, dataset: MDPDataset) -> tuple[Array, Array]:
        """Returns V, and the mean of both Q of the data's action, in all rows, float32 [N] each.

        They mean something where the agent acts, which the extra column `is_action` says.
        """
        impl = cast("ILQLImpl", self.impl)
        found: list[tuple[Array, Array]] = []
        with torch.no_grad():
            for batch in self.episode_batches(dataset):
                values, outputs = (column[batch.valid].cpu().numpy() for column in impl.row_values(batch))
                found.append((values, outputs))
        columns = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        return columns[0], columns[1]
