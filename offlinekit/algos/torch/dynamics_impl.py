"""An ensemble of probabilistic models of one step: the loss, the rule by which members stop, and draws of steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor, nn

from offlinekit.core.impl import Impl
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.interfaces import Sampler
from offlinekit.nn import losses
from offlinekit.nn.encoders import MLPEncoder, ResidualEncoder, resolve_encoder
from offlinekit.nn.networks import MLP, StackedLinear
from offlinekit.nn.random import Random, copy_module
from offlinekit.nn.rows import Rows
from offlinekit.sampling.batch import Batch
from offlinekit.sampling.loss_weights import learned_rows
from offlinekit.sampling.scalers import Affine
from offlinekit.training.model_based.epochs import EpochSampler
from offlinekit.training.model_based.terminations import LEARNED, RULES
from offlinekit.training.objectives import Loss, Objective
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.algos.dynamics import DiscreteDynamics, Dynamics

LOG_STDS = (-5.0, 1.0)
"""Bounds of the log deviations where they are not learned."""
LOG_VARIANCES = (-10.0, 0.5)
"""Where learned bounds of the log variances start."""
HIDDEN_DECAYS, HEAD_DECAY = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5), 1e-4
"""Decays of the layers; hidden ones beyond the fourth have that of the fourth."""
NEWER = ("input_shift", "input_scale", "best", "best_errors", "epochs_waited")
"""Parts that files of fixed bounds and unscaled inputs may lack, since they may be older."""


class Outcomes(NamedTuple):
    """Predictions of K members for a step, all scaled; the last of D + 1 numbers is the reward.

    Attributes:
        means: [K, B, D + 1], of the change of the observation and the reward.
        log_stds: [K, B, D + 1].
        logits: [K, B], of the MDP's end; zeros where a rule decides.
    """

    means: Tensor
    log_stds: Tensor
    logits: Tensor


class Imagined(NamedTuple):
    """Drawn steps of B rows, scaled.

    Attributes:
        next_observations: [B, D].
        rewards: [B].
        ends: bool [B].
        outcomes: Of the members that were to come along, [K, B, ...]; None for none.
        counted: Which of these were made for a row, bool [K, B]; None for all.
    """

    next_observations: Tensor
    rewards: Tensor
    ends: Tensor
    outcomes: Outcomes | None
    counted: Tensor | None = None


class DynamicsImpl(Impl):
    """sum_k mean[(mu - y)^2 e^-lv + lv] + decay + c (sum max - sum min); arXiv:1805.12114, eq. (1) and appendix A.1.

    y is the change of the observation and the reward. A batch holds K * B rows, B of member 0 first, then those of
    member 1. Members are sorted by their error on held-out rows once a run ends, so that the first ones are the elites.
    """

    config: Dynamics
    needs: ClassVar[tuple[str, ...]] = (*Impl.needs, "next_known")
    has_value: ClassVar[bool] = False
    is_discrete: ClassVar[bool] = False
    stackable: ClassVar[bool] = False  # Each stops by errors of its own.
    least_improvement: ClassVar[float] = 0.01  # Share by which a member's error falls if it is better.
    lowest: Tensor
    highest: Tensor
    input_shift: Tensor
    input_scale: Tensor
    best_errors: Tensor
    epochs_waited: Tensor

    def build(self) -> None:
        """Makes the members, a copy of each at its best, and the range of what the data show, scaled, [D + 1].

        Raises:
            UnsupportedError: For observations that are no vectors, and encoders of anything else.
        """
        space, encoder = self.observation_space, resolve_encoder(self.config.encoder, self.observation_space)
        if not isinstance(space, spaces.Box) or len(space.shape) != 1:
            raise UnsupportedError(f"dynamics are learned of vector observations, got {space}")
        if type(encoder) not in (MLPEncoder, ResidualEncoder):
            raise UnsupportedError(
                f"dynamics are layers over a vector, encoder='mlp' or 'residual', got {self.config.encoder!r}"
            )
        size, acted = space.shape[0], self.n_actions if self.is_discrete else self.action_size
        self.learns_ends = self.config.termination == LEARNED
        outputs = 2 * (size + 1) + self.learns_ends
        self.mlp = self.make_members(encoder, size + acted, outputs)
        self.best = copy_module(self.mlp).requires_grad_(False)
        if self.config.learned_bounds:
            self.min_log_var, self.max_log_var = (
                nn.Parameter(torch.full((size + 1,), bound)) for bound in LOG_VARIANCES
            )
        self.register_buffer("lowest", torch.full((size + 1,), -torch.inf))
        self.register_buffer("highest", torch.full((size + 1,), torch.inf))
        self.register_buffer("input_shift", torch.zeros(size + acted))
        self.register_buffer("input_scale", torch.ones(size + acted))
        self.register_buffer("best_errors", torch.full((self.config.n_members,), torch.inf))
        self.register_buffer("epochs_waited", torch.tensor(0))

    def make_members(self, encoder: MLPEncoder, inputs: int, outputs: int) -> MLP:
        """Makes the members, as one stack of networks."""
        return MLP(encoder, inputs, outputs, self.random, self.config.n_members)

    def build_objectives(self) -> list[Objective]:
        """Returns the members' loss."""
        return [
            self.objective("model", self.compute_model_loss, self.learned_parts, self.config.learning_rate)
        ]

    @property
    def learned_parts(self) -> list[nn.Module | nn.Parameter]:
        """What the loss changes: the members, and the bounds if they are learned."""
        bounds = [self.min_log_var, self.max_log_var] if self.config.learned_bounds else []
        return [self.mlp, *bounds]

    def learn_data(self, dataset: MDPDataset, sampler: Sampler) -> None:
        """Records the range of observations and rewards and, before the first update, the moments of the inputs."""
        rows = learned_rows(dataset)
        scaling, observations, rewards = self.config.scaling, first_leaf(rows.observations), rows.rewards
        ranges = scaling.observations(np.stack([observations.min(0), observations.max(0)]))
        earned = np.stack([rewards.min(), rewards.max()])
        earned = earned if scaling.reward is None else scaling.reward.transform(earned)
        sorted_ranges = torch.from_numpy(np.concatenate([ranges, earned[:, None]], 1)).sort(0).values
        self.lowest.copy_(sorted_ranges[0])
        self.highest.copy_(sorted_ranges[1])
        if self.config.scales_inputs and self.grad_step == 0 and isinstance(sampler, EpochSampler):
            inputs = self._inputs(sampler.source.gather(sampler.train_rows)).double()
            stds = inputs.std(0, correction=0)
            self.input_shift.copy_(inputs.mean(0))
            self.input_scale.copy_(torch.where(stds < 1e-12, 1.0, stds))

    def outcomes(
        self, observations: Tensor, actions: Tensor, per_member: bool = False, members: int | None = None
    ) -> Outcomes:
        """Returns what members say of steps.

        Args:
            observations: [B, D], or [K, B, D] if each member has steps of its own.
            actions: [B, A] or [B], likewise.
            per_member: Whether both lead with the axis of members.
            members: How many of the members, the first ones; None for all.
        """
        return self.predicted(self.mlp(self.scaled(observations, actions), per_member, members))

    def scaled(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Returns what networks see of observations [..., D] and actions [..., A] or [...]."""
        if self.is_discrete:
            numbers = torch.arange(self.n_actions, device=actions.device)
            actions = (actions.unsqueeze(-1) == numbers).float()
        return (torch.cat([observations, actions], -1) - self.input_shift) / self.input_scale

    def predicted(self, outputs: Tensor) -> Outcomes:
        """Returns what outputs of networks, [K, B, ...], mean."""
        logits = outputs[..., -1] if self.learns_ends else torch.zeros_like(outputs[..., -1])
        means, raw = (outputs[..., :-1] if self.learns_ends else outputs).chunk(2, -1)
        if self.config.learned_bounds:
            return Outcomes(
                means, 0.5 * losses.softly_bounded(raw, self.min_log_var, self.max_log_var), logits
            )
        return Outcomes(means, losses.softly_bounded(raw, *LOG_STDS), logits)

    def _inputs(self, batch: Batch) -> Tensor:
        """Returns observations and actions, [B, D + A]; zeros for discrete actions, which are not scaled."""
        size = self.input_shift.shape[0] - batch.observations.shape[-1]  # type: ignore[union-attr]  # Vectors.
        acted = batch.actions.new_zeros(len(batch.actions), size) if self.is_discrete else batch.actions
        return torch.cat([batch.observations, acted], -1)  # type: ignore[list-item]

    def changes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns y [..., D + 1] of a batch, and which of it was recorded, 1 or 0, [..., D + 1]."""
        change = batch.next_observations - batch.observations  # type: ignore[operator]  # Vectors.
        known = batch.next_known.unsqueeze(-1).expand_as(change)
        rewards = batch.rewards.unsqueeze(-1)
        return torch.cat([change, rewards], -1), torch.cat([known, torch.ones_like(rewards)], -1)

    def compute_model_loss(self, batch: Batch) -> Loss:
        """Returns K times the loss of each row, [K * B], so that their mean is the sum over members; and bounds, decay.

        If what follows an end was not recorded, only reward and end are learned.
        """
        k = self.config.n_members
        parts = (batch.observations, batch.actions, *self.changes(batch), batch.discounts)
        observations, actions, *recorded = (_by_member(part, k) for part in parts)  # type: ignore[arg-type]  # Vectors.
        outcomes = self.outcomes(observations, actions, per_member=True)
        changes, known, _ = recorded
        errors = (known * (outcomes.means - changes).square())[..., :-1].mean(-1)
        return Rows(k * self.fits(outcomes, *recorded).flatten(), extra=self.regularisation()), {
            "observation_error": errors.detach().flatten()
        }

    def fits(self, outcomes: Outcomes, changes: Tensor, known: Tensor, discounts: Tensor) -> Tensor:
        """Returns how badly members fit B rows: mean[(mu - y)^2 e^-lv + lv], plus the end's cross-entropy, [K, B].

        Args:
            outcomes: What K members predicted.
            changes: y, [B, D + 1], or [K, B, D + 1] of rows of each member.
            known: 1 for what was recorded of it, else 0; likewise.
            discounts: [B] or [K, B], 0 at an end.
        """
        errors = losses.gaussian_fit(
            outcomes.means, 2.0 * outcomes.log_stds, changes.expand_as(outcomes.means)
        )
        loss = (known * errors).mean(-1)
        if self.learns_ends:
            ends = (discounts == 0).float().expand_as(loss)
            loss = loss + F.binary_cross_entropy_with_logits(outcomes.logits, ends, reduction="none")
        return loss

    def log_density(self, outcomes: Outcomes, changes: Tensor) -> Tensor:
        """Returns the log-density of changes and rewards [B, D + 1] under the equal mixture of the elites, [B]."""
        e = self.n_elites
        means, log_stds = outcomes.means[:e], outcomes.log_stds[:e]
        each = losses.normal_log_prob(changes.expand_as(means), means, log_stds)
        return each.logsumexp(0) - math.log(e)

    def regularisation(self) -> Tensor:
        """Returns the decay of the layers' weights and the pull on the bounds, []."""
        layers = [layer for layer in self.mlp.modules() if isinstance(layer, StackedLinear)]
        decays = [HIDDEN_DECAYS[min(i, 3)] for i in range(len(layers) - 1)] + [HEAD_DECAY]
        squares = [decay * layer.weight.square().sum() for decay, layer in zip(decays, layers, strict=True)]
        decay = 0.5 * self.config.layer_decay * torch.stack(squares).sum()
        if not self.config.learned_bounds:
            return decay
        return decay + self.config.bound_weight * (self.max_log_var.sum() - self.min_log_var.sum())

    # The rule by which members stop.

    @torch.no_grad()
    def holdout_errors(self, batch: Batch) -> Tensor:
        """Returns the mean squared error of each member's means, [K], on rows that all members have in common.

        The probability of an end, if it is learned, adds its own.
        """
        changes, known = self.changes(batch)
        outcomes = self.outcomes(batch.observations, batch.actions)  # type: ignore[arg-type]  # Vectors.
        errors = (known * (outcomes.means - changes).square()).mean((-1, -2))
        if not self.learns_ends:
            return errors
        ends = (batch.discounts == 0).float()
        return errors + (outcomes.logits.sigmoid() - ends).square().mean(-1)

    @torch.no_grad()
    def keep_best(self, errors: Tensor, newest: bool = False) -> None:
        """Ends an epoch: keeps members that are better by `least_improvement`, and counts epochs since the last.

        Args:
            errors: Of each member, [K].
            newest: Whether to keep all members as they are now, better or not.
        """
        better = losses.has_improved(self.best_errors, errors, self.least_improvement) | newest
        for kept, now in zip(self.best.parameters(), self.mlp.parameters(), strict=True):
            kept.copy_(torch.where(better.view(-1, *[1] * (now.ndim - 1)), now, kept))
        self.best_errors.copy_(torch.where(better, errors, self.best_errors))
        self.epochs_waited.copy_(torch.where(better.any(), 0, self.epochs_waited + 1))

    @torch.no_grad()
    def take_best(self) -> None:
        """Ends training: each member is again as it was at its best, the best member first; optimizers begin anew."""
        if not bool(self.best_errors.isfinite().all()):
            return
        order = self.best_errors.argsort()
        for kept, now in zip(self.best.parameters(), self.mlp.parameters(), strict=True):
            kept.copy_(kept[order])
            now.copy_(kept)
        self.best_errors.copy_(self.best_errors[order])
        self.objectives = self.build_objectives()

    # Steps.

    @torch.no_grad()
    def imagine(self, observations: Tensor, actions: Tensor, random: Random, members: int = 0) -> Imagined:
        """Draws what follows B rows, as `draw` does, without gradient."""
        return self.draw(observations, actions, random, members)

    def draw(self, observations: Tensor, actions: Tensor, random: Random, members: int = 0) -> Imagined:
        """Draws what follows B rows, each by an elite that is drawn too; observations and rewards have gradients.

        Args:
            observations: [B, D], scaled.
            actions: [B, A] or [B].
            random: Draws.
            members: How many members' predictions of all rows come along. With 0 each row is predicted once: the
                elites share the rows evenly.
        """
        n, outcomes = len(observations), None
        if members:
            outcomes = self.outcomes(observations, actions, members=max(members, self.n_elites))
            chosen = (random.uniform(n) * self.n_elites).long().clamp(max=self.n_elites - 1)
            every = torch.arange(n, device=chosen.device)
            means, log_stds, logits = (part[chosen, every] for part in outcomes)
            outcomes = Outcomes(*(part[:members] for part in outcomes))
        else:
            means, log_stds, logits = self._shared(observations, actions, random)
        return self.followed(observations, actions, Outcomes(means, log_stds, logits), random, outcomes)

    def followed(
        self, observations: Tensor, actions: Tensor, by: Outcomes, random: Random, outcomes: Outcomes | None
    ) -> Imagined:
        """Draws what follows B rows by a prediction of each.

        Args:
            observations: [B, D], scaled.
            actions: [B, A] or [B].
            by: Predictions, [B, ...].
            random: Draws.
            outcomes: What comes along.
        """
        drawn = by.means + by.log_stds.exp() * random.normal(*by.means.shape)
        after = observations + drawn[:, :-1]
        if self.learns_ends:
            ends = random.uniform(len(after)) < by.logits.sigmoid()
        else:
            scaling = self.config.scaling
            before, then = (unscaled(part, scaling.observation) for part in (observations, after))
            ends = RULES[self.config.termination](before, unscaled(actions, scaling.action), then)
        return Imagined(after, drawn[:, -1], ends, outcomes)

    def _shared(self, observations: Tensor, actions: Tensor, random: Random) -> Outcomes:
        """Returns the outcomes [B, ...] of rows that are dealt out to the elites at random, as evenly as can be."""
        n, e = len(observations), self.n_elites
        order = random.uniform(n).argsort()
        size = -(-n // e)  # Of each elite; some rows are predicted twice if that leaves places.
        dealt = order.repeat(-(-e * size // n))[: e * size].view(e, size)
        outcomes = self.outcomes(observations[dealt], actions[dealt], per_member=True, members=e)
        places = torch.empty_like(order)
        places[order] = torch.arange(n, device=order.device)
        return Outcomes(*(part.flatten(0, 1)[:n][places] for part in outcomes))

    @property
    def n_elites(self) -> int:
        """How many of the members, the first ones, steps are drawn from."""
        return min(self.config.n_elites or self.config.n_members, int(self.config.n_members))

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `state_tensors` returned; a file of fixed bounds and unscaled inputs may be older than
        some parts.

        Raises:
            RuntimeError: If names or shapes of the networks differ, such as of a file without its input scaler.
        """
        if not (self.config.learned_bounds or self.config.scales_inputs):
            own = {f"networks.{name}": value for name, value in self.state_dict().items()}
            missing = {n: v for n, v in own.items() if n.split(".")[1] in NEWER and n not in tensors}
            tensors = {**missing, **tensors}
        super().load_state_tensors(tensors)


def unscaled(values: Tensor, scaler: object) -> Tensor:
    """Returns values [..., D] in the units of the data; those without numbers to scale by as they are."""
    if not isinstance(scaler, Affine):
        return values
    scale, shift = (values.new_tensor(np.asarray(part)) for part in (scaler.scale, scaler.shift))
    return values * scale + shift


def _by_member(part: Tensor, members: int) -> Tensor:
    """Returns [K * B, ...] as [K, B, ...]."""
    return part.view(members, -1, *part.shape[1:])


class DiscreteDynamicsImpl(DynamicsImpl):
    """The same, of discrete actions: one input each."""

    config: DiscreteDynamics
    is_discrete: ClassVar[bool] = True
