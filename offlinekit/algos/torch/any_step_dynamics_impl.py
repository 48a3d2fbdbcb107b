"""A recurrent model of what follows from a state some steps back and the actions since, and steps drawn from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from offlinekit.algos.torch.dynamics_impl import DynamicsImpl, Imagined, Outcomes
from offlinekit.errors import UnsupportedError
from offlinekit.nn.encoders import ACTIVATIONS, MLPEncoder
from offlinekit.nn.networks import MLP, Residual, StackedGRU, StackedLayerNorm, StackedLinear
from offlinekit.nn.random import Dropout, Random
from offlinekit.nn.rows import Rows
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.algos.any_step_dynamics import AnyStepDynamics


class AnyStepDynamicsImpl(DynamicsImpl):
    """sum_k mean[(mu - y)^2 e^-lv + lv] over lengths k = 1 .. m; arXiv:2405.17031.

    y is s_t+1 - s_t+1-k and the reward of step t, given s_t+1-k and the actions since. A batch holds windows of m
    rows, whose first state all predictions of the window begin with; rows behind the end of an episode do not count.
    """

    config: AnyStepDynamics
    needs: ClassVar[tuple[str, ...]] = (*DynamicsImpl.needs, "rows")
    least_improvement: ClassVar[float] = 0.0
    mlp: AnyStepNetwork

    def make_members(self, encoder: MLPEncoder, inputs: int, outputs: int) -> AnyStepNetwork:
        """Makes the members, as one stack of networks.

        Raises:
            UnsupportedError: For layers that are no residual blocks of one size.
        """
        config, sizes = self.config, encoder.hidden_sizes
        plain = MLPEncoder(sizes, encoder.activation, encoder.layer_norm, encoder.dropout)
        if encoder != plain or len(set(sizes)) != 1:
            raise UnsupportedError(
                "layers of any-step dynamics are residual blocks of one size, which the recurrent units have too, such "
                f"as encoder=MLPEncoder((200,) * 4, 'silu', layer_norm=True, dropout=0.1), got {encoder}"
            )
        n_layers = config.n_recurrent_layers
        return AnyStepNetwork(encoder, inputs, outputs, self.random, config.n_members, n_layers)

    def compute_model_loss(self, batch: Batch) -> Loss:
        """Returns K times the loss of each prediction, [K * B * m], and bounds; those that do not count weigh 0."""
        k = self.config.n_members
        outcomes, changes, known, discounts, counted = self.of_windows(batch, k)
        errors = (known * (outcomes.means - changes).square())[..., :-1].mean(-1)
        fits = self.fits(outcomes, changes, known, discounts)
        rows = Rows(k * fits.flatten(), counted.flatten(), self.regularisation())
        return rows, {"observation_error": Rows(errors.detach().flatten(), counted.flatten())}

    def of_windows(self, batch: Batch, members: int = 1) -> tuple[Outcomes, Tensor, Tensor, Tensor, Tensor]:
        """Returns the predictions of windows, y and which of it is known, discounts, and which count, 1 or 0.

        Args:
            batch: Windows of m rows, one after another.
            members: How many of the members have windows of their own; 1 for windows that all have in common.
        """
        m = self.config.max_steps_back

        def windows(part: Tensor) -> Tensor:
            return part.view(members, -1, m, *part.shape[1:])

        states, following = (
            windows(first_leaf(part)) for part in (batch.observations, batch.next_observations)
        )
        first, rewards, numbers = (
            states[:, :, :1].expand_as(states),
            windows(batch.rewards),
            windows(batch.rows),
        )
        inputs = self.scaled(first, windows(batch.actions))
        inputs = inputs.expand(self.config.n_members, *inputs.shape[1:])
        outcomes = self.predicted(self.mlp.unrolled(inputs))
        changes = torch.cat([following - first, rewards.unsqueeze(-1)], -1)
        recorded = windows(batch.next_known).unsqueeze(-1).expand_as(states)
        known = torch.cat([recorded, torch.ones_like(changes[..., -1:])], -1)
        counted = (numbers - numbers[..., :1] == torch.arange(m, device=numbers.device)).float()
        return outcomes, changes, known, windows(batch.discounts), counted

    @torch.no_grad()
    def holdout_errors(self, batch: Batch) -> Tensor:
        """Returns the mean squared error of each member's means over lengths and rows, [K].

        The probability of an end, if it is learned, adds its own.
        """
        outcomes, changes, known, discounts, counted = self.of_windows(batch)
        errors = (known * (outcomes.means - changes).square()).mean(-1)
        if self.learns_ends:
            errors = errors + (outcomes.logits.sigmoid() - (discounts == 0).float()).square()
        return (counted * errors).sum((-1, -2)) / counted.sum()


class AnyStepNetwork(MLP):
    """K recurrent networks of a state and the actions since, behind which residual blocks and a linear head stand.

    A block is LayerNorm(x + dropout(activation(W x + b))), without the norm if the encoder has none.
    """

    def __init__(
        self, encoder: MLPEncoder, inputs: int, outputs: int, random: Random, members: int, n_layers: int
    ) -> None:
        nn.Module.__init__(self)
        self.members, size = members, encoder.hidden_sizes[0]
        self.gru = StackedGRU(members, inputs, size, n_layers)
        layers: list[nn.Module] = []
        for _ in encoder.hidden_sizes:
            dropout = [Dropout(encoder.dropout, random)] if encoder.dropout else []
            block = [StackedLinear(members, size, size), ACTIVATIONS[encoder.activation](), *dropout]
            layers.append(Residual(nn.Sequential(*block), nn.Identity()))
            layers += [StackedLayerNorm(members, size)] if encoder.layer_norm else []
        self.layers = nn.Sequential(*layers, StackedLinear(members, size, outputs))

    def forward(self, inputs: Tensor, per_member: bool = False, members: int | None = None) -> Tensor:
        """Returns the predictions of length 1, as an `MLP` does.

        Args:
            inputs: [..., inputs], or [K, ..., inputs] if each member has inputs of its own.
            per_member: Whether inputs lead with the axis of members.
            members: How many of the members to apply, in place of all K.
        """
        members = members or self.members or 1
        inputs = inputs[:members] if per_member else inputs.expand(members, *inputs.shape)
        outputs: Tensor = self.unrolled(inputs.reshape(members, -1, 1, inputs.shape[-1]))
        return outputs.reshape(*inputs.shape[:-1], outputs.shape[-1])

    def unrolled(self, inputs: Tensor) -> Tensor:
        """Returns the predictions after each step of windows: [K, B, m, inputs] -> [K, B, m, outputs]."""
        states = self.gru.begin(inputs[:, :, 0])
        features = []
        for step in inputs.unbind(2):
            states = self.gru(step, states)
            features.append(states[-1])
        seen = torch.stack(features, 2)
        outputs: Tensor = self.layers(seen.flatten(1, 2))
        return outputs.view(*seen.shape[:-1], -1)


class Histories:
    """The last steps of B rows under way, from each of which a prediction begins: m of them, the newest first.

    Args:
        model: What predicts; its elites do.
        observations: Those that the rows begin at, scaled, [B, D].
        random: Draws.
    """

    def __init__(self, model: AnyStepDynamicsImpl, observations: Tensor, random: Random) -> None:
        self.model, self.random, self.longest = model, random, int(model.config.max_steps_back)
        lead = observations.new_zeros(model.n_elites, self.longest, len(observations), 0)
        self.begun_at = observations.expand(self.longest, *observations.shape)
        self.states = model.mlp.gru.begin(lead)  # [L, E, m, B, H]
        self.n_known = torch.zeros(len(observations), dtype=torch.int64, device=observations.device)

    def take(self, observations: Tensor, actions: Tensor) -> None:
        """Takes in a step of each row, [B, D] and [B, A], with which a new prediction begins."""
        self.begun_at = torch.cat([observations[None], self.begun_at[:-1]])
        begun = torch.zeros_like(self.states[:, :, :1])
        before = torch.cat([begun, self.states[:, :, :-1]], 2)
        inputs = self.model.scaled(self.begun_at, actions.expand(self.longest, *actions.shape)).flatten(0, 1)
        inputs = inputs.expand(self.model.n_elites, *inputs.shape)
        self.states = self.model.mlp.gru(inputs, before.flatten(2, 3)).view_as(before)
        self.n_known = (self.n_known + 1).clamp(max=self.longest)

    def outcomes(self, observations: Tensor) -> Outcomes:
        """Returns what predictions say of the step that was taken in last, [E * m, B, ...], as changes since then.

        Args:
            observations: [B, D], where that step began.
        """
        features = self.states[-1]
        outputs: Tensor = self.model.mlp.layers(features.flatten(1, 2))
        means, log_stds, logits = (
            part.view(-1, *features.shape[2:3], *part.shape[2:]) for part in self.model.predicted(outputs)
        )
        moved = (self.begun_at - observations).repeat(self.model.n_elites, 1, 1)
        return Outcomes(torch.cat([means[..., :-1] + moved, means[..., -1:]], -1), log_stds, logits)

    def imagined_step(self, observations: Tensor, actions: Tensor) -> Imagined:
        """Takes in a step and draws what follows, each row by one of its predictions that is drawn too."""
        self.take(observations, actions)
        outcomes, random = self.outcomes(observations), self.random
        n, e = len(observations), self.model.n_elites
        length = (random.uniform(n) * self.n_known).long().clamp(max=self.longest - 1)
        elite = (random.uniform(n) * e).long().clamp(max=e - 1)
        every = torch.arange(n, device=length.device)
        by = Outcomes(*(part[elite * self.longest + length, every] for part in outcomes))
        lengths = torch.arange(self.longest, device=length.device).unsqueeze(-1)
        counted = (lengths < self.n_known).repeat(e, 1)
        return self.model.followed(observations, actions, by, random, outcomes)._replace(counted=counted)
