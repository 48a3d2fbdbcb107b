"""Advantage-weighted regression: lambda-returns of the whole dataset, a value and weighted cloning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from offlinekit.core.impl import Impl
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.interfaces import Sampler
from offlinekit.nn import losses
from offlinekit.nn.policies import GaussianPolicy, drawn_log_prob
from offlinekit.nn.rows import mean_of_rows, row_weights
from offlinekit.sampling.batch import Batch, Metrics, TensorTree
from offlinekit.sampling.sampler import TransitionSampler
from offlinekit.sampling.transition_table import TransitionTable
from offlinekit.training.objectives import Loss, Objective

if TYPE_CHECKING:
    from offlinekit.algos.awr import AWR

ROWS_AT_ONCE = 1 << 15


class AWRImpl(Impl):
    """V regresses onto returns R, the policy onto actions with weight exp(R - V); arXiv:1910.00177, algorithm 1.

    Order: value, policy. `batch.lambda_returns` are those by the target value, a copy of V that is taken, and
    followed by all returns anew, every `refresh_interval` updates.
    """

    config: AWR
    needs: ClassVar[tuple[str, ...]] = (*Impl.needs, "lambda_returns")
    has_value: ClassVar[bool] = False
    stackable: ClassVar[bool] = False
    shift: Tensor
    scale: Tensor

    def build(self) -> None:
        """Makes the policy, the value and its copy, and what normalises advantages."""
        self.policy = GaussianPolicy(self.make_network(self.action_size), self.random, self.action_size)
        self.value = self.make_network(1)
        self.target_value = self.make_target(self.value, 1.0, "refresh_interval")
        self.register_buffer("shift", torch.zeros(()), persistent=False)
        self.register_buffer("scale", torch.ones(()), persistent=False)
        self.columns: TransitionTable | None = None
        self.period = 0

    def build_objectives(self) -> list[Objective]:
        """Returns the losses of the value and the policy."""
        config = self.config
        value = self.objective("value", self.compute_value_loss, [self.value], config.value_learning_rate)
        actor = self.objective("actor", self.compute_actor_loss, [self.policy], config.actor_learning_rate)
        return [value, actor]

    def learn_data(self, dataset: MDPDataset, sampler: Sampler) -> None:
        """Computes the returns of the rows that the sampler draws.

        Raises:
            UnsupportedError: For a dataset in a file, or rows in no order of time.
        """
        self.columns = sampler.columns if isinstance(sampler, TransitionSampler) else None
        if self.columns is None or not self.columns.ordered:
            raise UnsupportedError(
                "AWR computes the returns of whole episodes, which needs rows in temporal order and in memory; use "
                "MDPDataset.load in place of open, and give no next_observations that differ from the rows that follow"
            )
        self.refresh(self.columns, self.grad_step)

    def update(self, batch: Batch) -> Metrics:
        """Takes one update, and computes all returns anew if the target value has moved."""
        metrics = super().update(batch)
        self.keep_up(self.grad_step)
        return metrics

    def begin_update(self) -> None:
        """Counts the update; before it the returns catch up with updates taken in a CUDA graph."""
        self.keep_up(self.grad_step)
        super().begin_update()

    def keep_up(self, done: int) -> None:
        """Computes all returns anew if the target value has moved since the last time."""
        if self.columns is not None and done // self.config.refresh_interval != self.period:
            self.refresh(self.columns, done)

    @torch.no_grad()
    def refresh(self, columns: TransitionTable, done: int) -> None:
        """Writes the lambda-returns of all rows into their column of the batches.

        Args:
            columns: What the sampler draws from.
            done: Updates taken.
        """
        rows = torch.arange(len(columns.has_next), device=self.device)
        parts = [columns.gather(some) for some in torch.split(rows, ROWS_AT_ONCE)]
        values, following = (
            torch.cat([self.target_value(o).squeeze(-1) for o in observations])
            for observations in (
                [part.observations for part in parts],
                [part.next_observations for part in parts],
            )
        )
        returns = columns.set_lambda_returns(values, following, self.config.td_lambda)
        drawn = torch.from_numpy(columns.has_next).to(self.device)
        self._normalise(returns - values, drawn, [row_weights(part) for part in parts])
        self.period = done // self.config.refresh_interval

    def _normalise(self, advantages: Tensor, drawn: Tensor, weights: Sequence[Tensor | None]) -> None:
        """Records mean and deviation of the advantages [N] over the rows that are drawn, by their loss weights."""
        given = None if weights[0] is None else torch.cat([part for part in weights if part is not None])
        if given is not None:
            drawn = drawn & (given > 0)
            given = given[drawn]
        advantages = advantages[drawn]
        self.shift.copy_(mean_of_rows(advantages, given))
        self.scale.copy_(mean_of_rows((advantages - self.shift).square(), given).sqrt() + 1e-5)

    def compute_value_loss(self, batch: Batch) -> Loss:
        """Returns the squared error of V(s) towards the lambda-return, row by row."""
        values = self.value(batch.observations).squeeze(-1)
        return (values - batch.lambda_returns).square(), {"value": values.detach()}

    @torch.no_grad()
    def weights(self, batch: Batch) -> Tensor:
        """Returns min(exp(normalised (R - V(s)) / temperature), max_weight), [B], without gradient."""
        advantages = batch.lambda_returns - self.value(batch.observations).squeeze(-1)
        normalised = (advantages - self.shift) / self.scale
        return losses.exponential_weights(normalised, 1.0 / self.config.temperature, self.config.max_weight)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns minus the weight times log pi(a|s) of each row."""
        weights = self.weights(batch)
        loss = -weights * self.policy.log_prob(batch.observations, batch.actions)
        return loss, {"weight": weights}

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the policy's mode [B, A]."""
        return self.policy.mode(observations)

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B, A] drawn from the policy."""
        return self.policy.sample(observations)[0]

    def sampled_log_prob(self, observations: TensorTree, actions: Tensor, log_scale: Tensor) -> Tensor:
        """Returns the log-probabilities [B] of actions as `sample_action` draws them; see `drawn_log_prob`."""
        return drawn_log_prob(self.policy, observations, actions, log_scale)
