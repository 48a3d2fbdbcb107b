"""LEQ: low expectiles of lambda-returns that the policy earns in the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from offlinekit.core.bases.actor_critic import ActorCriticImpl
from offlinekit.core.bases.model_based import ModelBasedImpl
from offlinekit.nn import losses
from offlinekit.nn.policies import DeterministicPolicy
from offlinekit.nn.rows import bootstrapped
from offlinekit.sampling.batch import Batch
from offlinekit.training.objectives import Loss, Objective
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    from offlinekit.algos.leq import LEQ


class Imagination(NamedTuple):
    """H steps of the policy in the model from each of S states.

    Attributes:
        states: [H + 1, S, D].
        actions: [H + 1, S, A].
        alive: [H + 1, S], 1 up to the end of the MDP, 0 behind it.
        values: [H + 1, S], the lowest over critics.
        returns: [H + 1, S], lambda-returns from each step on.
        shares: [H + 1, S], d returns[0] / d returns[i].
    """

    states: Tensor
    actions: Tensor
    alive: Tensor
    values: Tensor
    returns: Tensor
    shares: Tensor


class LEQImpl(ModelBasedImpl, ActorCriticImpl):
    """L_Q = (1 - w) L_TD / 2 + w E[discount^t expectile loss of returns] + anchor; arXiv:2407.00699."""

    config: LEQ
    policy: DeterministicPolicy
    needs: ClassVar[tuple[str, ...]] = (*ActorCriticImpl.needs, "imagined")

    def build_policy(self) -> DeterministicPolicy:
        """Makes the deterministic policy."""
        return DeterministicPolicy(self.make_network(self.action_size))

    def build_objectives(self) -> list[Objective]:
        """Returns the actor's loss, then the critics'."""
        return [self.actor_objective(), self.critic_objective()]

    def rollout_actions(self, observations: Tensor) -> Tensor:
        """Returns the policy's actions with noise before squashing, [B, A]."""
        raw = self.policy.network(observations)
        return torch.tanh(raw + self.config.rollout_noise * self.random.normal(*raw.shape))

    def starts(self, batch: Batch) -> int:
        """Returns the place of the first row that imagination begins at: the first that the model made, or 0."""
        n_recorded = round(self.config.real_share * len(batch.rewards))
        return 0 if n_recorded == len(batch.rewards) else n_recorded

    def imagine(self, starts: Tensor, nudges: Tensor | None = None) -> Imagination:
        """Lets the policy act in the model.

        Args:
            starts: [S, D].
            nudges: [H + 1, S, A], added to its actions; None for none.
        """
        states, actions, rewards = [starts], [self.policy(starts)], []
        alive = [torch.ones_like(starts[:, 0])]
        for i in range(self.config.horizon):
            if nudges is not None:
                actions[i] = actions[i] + nudges[i]
            step = self.model.draw(states[i], actions[i], self.random)
            alive.append(alive[i] * (~step.ends).float())
            rewards.append(step.rewards)
            going = alive[i + 1].unsqueeze(-1) > 0  # What has ended stays, so that it cannot diverge.
            states.append(torch.where(going, step.next_observations, states[i].detach()))
            actions.append(self.policy(states[i + 1]))
        if nudges is not None:
            actions[-1] = actions[-1] + nudges[-1]
        seen, acted, living = torch.stack(states), torch.stack(actions), torch.stack(alive)
        values = self.q.values(seen.flatten(0, 1), acted.flatten(0, 1)).amin(0).view_as(living)
        config = self.config
        returns, shares = lambda_returns(values, torch.stack(rewards), living, config.gamma, config.td_lambda)
        return Imagination(seen, acted, living, values, returns, shares)

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns r + gamma min_k Q_k(s', pi(s')), of the critics themselves."""
        after = batch.next_observations
        target: Tensor = batch.rewards + batch.discounts * self.q.values(after, self.policy(after)).amin(0)
        return target

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the losses of recorded rows and, at rows that imagination begins at, those of its steps."""
        first, w, anchor = self.starts(batch), self.config.imagined_weight, self.config.anchor_weight
        n = len(batch.rewards)
        values = self.q.values(batch.observations, batch.actions)  # [K, B]
        with torch.no_grad():
            kept = self.target_q.values(batch.observations, batch.actions)
            made = self.imagine(first_leaf(batch.observations)[first:])
            seen, acted = made.states[:-1].flatten(0, 1), made.actions[:-1].flatten(0, 1)
            kept_ahead = self.target_q.values(seen, acted)
            steps = torch.arange(self.config.horizon, device=kept.device, dtype=kept.dtype).unsqueeze(-1)
            weights = made.alive[:-1] * self.config.gamma**steps  # [H, S]
        recorded = 0.5 * (q_tpn - values).square() + anchor * (kept - values).square()
        ahead = self.q.values(seen, acted)  # [K, H * S]
        errors = losses.expectile_loss(made.returns[:-1].flatten() - ahead, self.config.expectile)
        imagined = (errors + anchor * (kept_ahead - ahead).square()).view(len(values), *weights.shape)
        of_starts = (weights * imagined).mean(1)  # [K, S]
        n_recorded = first or n
        parts = [(1.0 - w) * n / n_recorded * recorded[:, :n_recorded], w * n / (n - first) * of_starts]
        rows = torch.cat(parts, -1) if first else parts[0] + parts[1]
        metrics = {"value": values.detach(), "imagined_value": made.values[0].mean()}
        return bootstrapped(rows, batch.masks), metrics

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns -sum_t w_t dG_t/da_t pi(s_t); w_t is the expectile if the return G_t is above the value, else 1 - it.

        The derivative by each action alone follows from that of the first return by all of them, whose dependence on a
        later return is known: `shares`.
        """
        first, tau = self.starts(batch), self.config.expectile
        begun: Tensor = first_leaf(batch.observations)[first:]
        size = (self.config.horizon + 1, len(begun), self.action_size)
        with torch.enable_grad():
            nudges = begun.new_zeros(size).requires_grad_()
            made = self.imagine(begun, nudges)
            (slopes,) = torch.autograd.grad(made.returns[0].sum(), nudges)
        with torch.no_grad():
            above = (made.returns > made.values).to(made.values.dtype)
            sided = tau * above + (1.0 - tau) * (1.0 - above)
            sided[-1] = 0.5  # There the return is the value.
            weights = made.alive * sided / made.shares.clamp(min=1e-30)
        actions = self.policy(made.states.detach().flatten(0, 1)).view(size)
        rows = -((weights.unsqueeze(-1) * slopes) * actions).sum((0, -1))
        n = len(batch.rewards)
        rows = torch.cat([rows.new_zeros(first), rows * (n / (n - first))])
        return rows, {"imagined_return": made.returns[0].detach().mean()}


def lambda_returns(
    values: Float[Tensor, "T S"],
    rewards: Float[Tensor, "U S"],
    alive: Float[Tensor, "T S"],
    gamma: float,
    td_lambda: float,
) -> tuple[Float[Tensor, "T S"], Float[Tensor, "T S"]]:
    """Returns G_t = sum_n lambda^n G_t:n / sum_n lambda^n over all lengths n that are left, and dG_0 / dG_t.

    G_t:n is the return of n steps and the value behind them, G_t:0 the value itself; behind an end nothing counts.
    Source: Park and Lee 2024, arXiv:2407.00699.

    Args:
        values: Of T = H + 1 states.
        rewards: Of the H steps between them.
        alive: 1 where the MDP has not ended, 0 behind its end.
        gamma: Discount of a step.
        td_lambda: lambda, in [0, 1].
    """
    weight, returns, links = 1.0, [values[-1]], []
    for t in reversed(range(len(rewards))):
        share = td_lambda * weight / (1.0 + td_lambda * weight)
        later = rewards[t] + alive[t + 1] * gamma * returns[-1]
        returns.append((1.0 - share) * values[t] + share * later)
        links.append(share * gamma * alive[t + 1])
        weight = 1.0 + td_lambda * weight
    shares = torch.stack([torch.ones_like(values[0]), *reversed(links)]).cumprod(0)
    return torch.stack(returns[::-1]), shares
