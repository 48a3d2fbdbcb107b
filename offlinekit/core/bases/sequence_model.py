"""Hyperparameters and batches of the fronts that learn from windows of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, cast

import numpy as np
import torch

from offlinekit.core.algo import Algo
from offlinekit.core.hyperparameters import Count, Interval, Positive, Steps
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.nn.random import derive
from offlinekit.sampling.n_step import returns_to_go
from offlinekit.sampling.windows import TrajectorySampler
from offlinekit.types import Array, row_parts

if TYPE_CHECKING:
    from offlinekit.core.bases.sequence_model_impl import SequenceImpl

A = TypeVar("A", bound="SequenceModel")
ROWS_AT_ONCE = 1_024


class SequenceModel(Algo):
    """A causal transformer over windows of steps; it acts by `as_stateful`."""

    context: Annotated[Count, "Steps of a window, the newest included."] = 20
    n_layers: Annotated[Count, "Blocks of the transformer."] = 3
    n_heads: Annotated[Count, "Heads of its attention; a divisor of the width."] = 1
    width: Annotated[Count, "Numbers of a token."] = 128
    dropout: Annotated[float, Interval("[0, 1)"), "Share of tokens' numbers and of attention dropped."] = 0.1
    max_timestep: Annotated[Count, "Distinct timesteps; later ones count as the last."] = 1_000
    return_scale: Annotated[Positive, "What returns to go are divided by."] = 1_000.0
    target_return: Annotated[float | None, "Return to act for, in units of the data; None: best."] = None
    warmup_steps: Annotated[Steps, "First updates, in which the learning rate grows from 0."] = 10_000
    batch_size: Annotated[Count, "Windows in a minibatch."] = 64

    sampler_options: ClassVar[tuple[str, ...]] = ("context",)

    def check_together(self) -> None:
        """Checks that heads divide the width, and that no steps are joined."""
        if self.width % self.n_heads:
            raise ValueError(f"n_heads must divide width={self.width}, got {self.n_heads}")
        if self.n_step != 1:
            raise ValueError(f"n_step must be 1, got {self.n_step}: windows hold single steps")

    @property
    def reads_returns(self) -> bool:
        """Whether returns to go are among the inputs of the model."""
        return True

    @property
    def to_go_gamma(self) -> float:
        """Discount factor of the returns to go."""
        return self.gamma

    def build(self: A, dataset: MDPDataset) -> A:
        """Fits the scalers, makes the networks, and notes the best return, the default of `target_return`.

        Raises:
            ValueError: For scaled rewards if the model takes returns to go.
        """
        if self.reads_returns and self.reward_scaler is not None:
            raise ValueError(
                f"{type(self).__name__} scales returns by return_scale; reward_scaler must be None, "
                f"got {self.reward_scaler!r}"
            )
        super().build(dataset)
        cast("SequenceImpl", self.impl).best_return.fill_(
            float(returns_to_go(dataset, dataset.rewards, self.to_go_gamma)[dataset.episode_starts].max())
        )
        return self

    def make_sampler(
        self, dataset: MDPDataset, *, needs: Sequence[str] = (), **settings: Any
    ) -> TrajectorySampler:
        """Makes what draws windows of the dataset, each beginning with a row drawn uniformly.

        Raises:
            UnsupportedError: For priorities.
        """
        if settings.pop("priorities", None) is not None:
            raise UnsupportedError(
                f"{type(self).__name__} learns from windows, whose losses are those of many rows; rows cannot be "
                "drawn by them, so leave out priorities"
            )
        return TrajectorySampler(
            dataset,
            **{
                "context": self.context,
                "batch_size": self.batch_size,
                "device": self.impl.device,
                "seed": derive(self.seed or 0, "batches"),
                "gamma": self.to_go_gamma,
                "scaling": self.scaling,
                "anchor": "first",
                "frame_stack": self.frame_stack,
                "frame_pad": self.frame_pad,
                "needs": (*self.impl.needed, *needs),
                "owner": type(self.impl).__name__,
                **settings,
            },
        )

    def predict_rows(self, dataset: MDPDataset) -> Array:
        """Returns the greedy actions in all rows, each after what the data did and earned before it.

        Args:
            dataset: In temporal order.

        Returns:
            float32 [N, A] in the units of the data, or int64 [N].
        """
        sampler = self.make_sampler(dataset, anchor="last")
        impl = cast("SequenceImpl", self.impl)
        with torch.no_grad():
            return np.concatenate(
                [
                    self._converter.unscaled(
                        impl.best_actions(sampler.gather(torch.from_numpy(part).to(impl.device)))
                    )
                    for part in row_parts(np.arange(len(dataset)), ROWS_AT_ONCE)
                ]
            )
