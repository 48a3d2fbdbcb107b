"""What every implementation shares: networks, objectives, targets, one update, saving and acting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from gymnasium import spaces
from torch import Tensor, nn

from offlinekit.algos.torch import functional
from offlinekit.algos.torch.encoders import Encoder, resolve_encoder
from offlinekit.algos.torch.networks import Network, QFunction
from offlinekit.algos.torch.random import Random, copy_module, seeded
from offlinekit.errors import UnsupportedError
from offlinekit.types import Batch, Metrics, TensorTree

Loss: TypeAlias = "Tensor | tuple[Tensor, Metrics]"

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}


@dataclass
class Objective:
    """One loss, the parameters that it alone may change, and how they are changed."""

    name: str
    loss: Callable[[Batch], Loss]
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    learning_rate: float
    schedule: str = "constant"
    every: int = 1
    clip_grad_norm: float | None = None

    def minimize(self, batch: Batch) -> Metrics:
        """Takes one optimizer step on the owned parameters and returns the metrics."""
        loss = self.loss(batch)
        value, metrics = loss if isinstance(loss, tuple) else (loss, {})
        gradients = torch.autograd.grad(value, self.parameters, allow_unused=True)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.clip_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_grad_norm)
        self.optimizer.step()
        return {f"{self.name}_loss": value.detach(), **metrics}

    def schedule_rate(self, progress: float) -> None:
        """Sets the learning rate for the share of the run that is done, in [0, 1]."""
        if self.schedule == "cosine":
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))


@dataclass
class Target:
    """A frozen copy of a network that follows it: target += tau * (online - target); buffers are copied."""

    online: nn.Module
    target: nn.Module
    tau: float
    every: int = 1

    @torch.no_grad()
    def follow(self) -> None:
        """Moves the target one step towards the online network; tau = 1 copies it."""
        targets: list[Tensor] = list(self.target.parameters())
        online: list[Tensor] = list(self.online.parameters())
        if self.tau == 1.0:
            torch._foreach_copy_(targets, online)
        else:
            torch._foreach_lerp_(targets, online, self.tau)
        for target, buffer in zip(self.target.buffers(), self.online.buffers(), strict=True):
            target.copy_(buffer)


class Impl(nn.Module):
    """Networks and losses of one algorithm; subclass it, or one of its subclasses, for a new algorithm.

    Subclasses make their networks in `build`, declare what is minimised in `build_objectives` and write the
    losses, which are pure: they take a batch and return a loss, or a loss and metrics, and draw their random
    numbers from `self.random`.

    Args:
        config: The front; its fields are the hyperparameters.
        observation_space: Of the dataset.
        action_space: Of the dataset; the networks see continuous actions scaled to [-1, 1].
        device: Where the networks live.
    """

    known: ClassVar[dict[str, type[Impl]]] = {}
    has_value: ClassVar[bool] = True
    needs_next: ClassVar[bool] = True  # Whether rows without a next observation must be left out.

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Impl.known[cls.__name__] = cls

    def __init__(
        self,
        config: Any,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.config = config
        self.observation_space, self.action_space, self.device = observation_space, action_space, device
        self.random = Random(config.seed, device)
        self.grad_step = 0
        self.horizon = 0  # The grad_step at which schedules end; 0 while there is no run.
        self.targets: list[Target] = []
        with seeded(config.seed):
            self.build()
        self.to(device)
        self.objectives = self.build_objectives()
        self.eval()

    # For subclasses to write.

    def build(self) -> None:
        """Makes the networks as attributes."""
        raise UnsupportedError(f"{type(self).__name__} must define build()")

    def build_objectives(self) -> list[Objective]:
        """Returns what one update minimises, in order."""
        raise UnsupportedError(f"{type(self).__name__} must define build_objectives()")

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the greedy actions: [B, A] in [-1, 1], or [B] int64."""
        raise UnsupportedError(f"{type(self).__name__} must define predict_best_action()")

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions drawn from the policy; the greedy ones where it is deterministic."""
        return self.predict_best_action(observations)

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns the value [B] of actions, or of the greedy actions where they are None."""
        raise UnsupportedError(
            f"{type(self.config).__name__} learns no value function; judge its policy with evaluate()"
        )

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the target of the critics, [B] or [N, B]; called without gradient."""
        raise UnsupportedError(f"{type(self).__name__} must define compute_target()")

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the loss of the critics against the target `q_tpn`."""
        raise UnsupportedError(f"{type(self).__name__} must define compute_critic_loss()")

    # Building blocks.

    def critic_loss(self, batch: Batch) -> Loss:
        """Returns the critics' loss against the target of the same batch, which carries no gradient."""
        with torch.no_grad():
            q_tpn = self.compute_target(batch)
        return self.compute_critic_loss(batch, q_tpn)

    @property
    def action_size(self) -> int:
        """Dimensions of a continuous action."""
        return math.prod(self.action_space.shape or (1,))

    @property
    def n_actions(self) -> int:
        """Number of discrete actions."""
        return int(self.action_space.n)  # type: ignore[attr-defined]  # The front checked that it is discrete.

    def make_network(
        self,
        outputs: int,
        *,
        action_size: int = 0,
        members: int | None = None,
        encoder: Encoder | None = None,
    ) -> Network:
        """Makes a network of the configured encoder with a linear head."""
        chosen = resolve_encoder(encoder or self.config.encoder, self.observation_space)
        space = self.observation_space
        return Network(chosen, space, outputs, self.random, action_size=action_size, members=members)

    def make_target(self, online: nn.Module, tau: float, every: int = 1) -> Any:
        """Makes a frozen copy of a network that follows it after every `every` updates."""
        target = copy_module(online).requires_grad_(False)
        self.targets.append(Target(online, target, tau, every))
        return target

    def objective(
        self,
        name: str,
        loss: Callable[[Batch], Loss],
        owners: Sequence[nn.Module | nn.Parameter],
        learning_rate: float,
        *,
        schedule: str | None = None,
        every: int = 1,
        clip_grad_norm: float | None = None,
    ) -> Objective:
        """Declares a loss over the parameters of its owners, with the configured optimizer.

        Args:
            name: The metric becomes "<name>_loss".
            loss: Takes a batch, returns a loss or (loss, metrics).
            owners: Modules or parameters that this loss alone may change; frozen ones stay as they are, and
                a parameter that stands alone, such as a temperature, does not decay.
            learning_rate: At the start of the schedule.
            schedule: "constant" or "cosine"; None takes the front's `lr_schedule`.
            every: The loss is minimised at every `every`-th update.
            clip_grad_norm: Largest norm of the gradient; None takes the front's.
        """
        config = self.config
        modules = nn.ModuleList(owner for owner in owners if isinstance(owner, nn.Module))
        lone = [owner for owner in owners if isinstance(owner, nn.Parameter)]
        decaying = [parameter for parameter in modules.parameters() if parameter.requires_grad]
        groups: list[dict[str, Any]] = [{"params": decaying}, {"params": lone, "weight_decay": 0.0}]
        options: dict[str, Any] = {"lr": learning_rate, "weight_decay": config.weight_decay}
        if config.optimizer in ("adam", "adamw", "sgd"):
            options["fused"] = True
        optimizer = OPTIMIZERS[config.optimizer]([group for group in groups if group["params"]], **options)
        return Objective(
            name,
            loss,
            [*decaying, *lone],
            optimizer,
            learning_rate,
            schedule or config.lr_schedule,
            every,
            clip_grad_norm if clip_grad_norm is not None else config.clip_grad_norm,
        )

    # The update.

    def train(self, mode: bool = True) -> Impl:
        """Switches dropout on or off; targets never drop out."""
        super().train(mode)
        for target in self.targets:
            target.target.eval()
        return self

    def update(self, batch: Batch) -> Metrics:
        """Minimises each objective that is due on one batch, then moves the targets."""
        self.grad_step += 1
        metrics: Metrics = {}
        for objective in self.objectives:
            if self.grad_step % objective.every == 0:
                objective.schedule_rate((self.grad_step - 1) / self.horizon if self.horizon else 0.0)
                metrics.update(objective.minimize(batch))
        for target in self.targets:
            if self.grad_step % target.every == 0:
                target.follow()
        return metrics

    # State, as flat tensors.

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns all that training needs to go on exactly: networks, optimizers, random numbers."""
        tensors = {f"networks.{name}": value for name, value in self.state_dict().items()}
        for objective in self.objectives:
            for index, slots in objective.optimizer.state_dict()["state"].items():
                for slot, value in slots.items():
                    tensors[f"optimizers.{objective.name}.{index}.{slot}"] = torch.as_tensor(value)
        tensors["random.impl"] = self.random.state()
        return tensors

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Takes up what `state_tensors` returned.

        Raises:
            RuntimeError: Where names or shapes of the networks differ.
        """
        prefix = "networks."
        networks = {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(prefix)}
        self.load_state_dict(networks)
        for objective in self.objectives:
            _load_optimizer(objective, tensors)
        self.random.set_state(tensors["random.impl"])


class QLearningImpl(Impl):
    """Discrete actions: critics `q`, their target, a temporal-difference loss."""

    def build(self) -> None:
        """Makes the critics and their target."""
        self.q = self.make_q()
        self.target_q = self.make_target(self.q, self.config.tau, self.config.target_update_interval)

    def make_q(self) -> QFunction:
        """Makes the critics that the front asks for."""
        config = self.config
        return QFunction(
            resolve_encoder(config.encoder, self.observation_space),
            self.observation_space,
            self.random,
            config.n_critics,
            n_actions=self.n_actions,
            n_quantiles=config.n_quantiles if config.q_function == "qr" else None,
            huber=config.td_loss == "huber",
        )

    def build_objectives(self) -> list[Objective]:
        """Returns the critics' loss against the target of the batch."""
        return [self.objective("critic", self.critic_loss, [self.q], self.config.learning_rate)]

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns rewards + discounts * Q_target(s', greedy action), [B] or [N, B]; lowest over members."""
        outputs = self.target_q(batch.next_observations)
        actions = self.next_actions(batch.next_observations)
        return batch.rewards + batch.discounts * self.q.lowest(functional.select_actions(outputs, actions))

    def next_actions(self, observations: TensorTree) -> Tensor:
        """Returns the actions [B] whose value the target takes."""
        return self.greedy(self.target_q.values(observations))

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss of the data's actions."""
        outputs = functional.select_actions(self.q(batch.observations), batch.actions)
        return self.q.loss(outputs, q_tpn, batch.masks)

    def greedy(self, values: Tensor) -> Tensor:
        """Returns the action [B] of the highest value, of the mean over members, from values [K, B, A]."""
        return values.mean(0).argmax(-1)

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the greedy actions [B]."""
        return self.greedy(self.q.values(observations))

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns the mean over members of Q(s, a) [B]; of the greedy action where actions are None."""
        values = self.q.values(observations)
        chosen = self.predict_best_action(observations) if actions is None else actions
        return functional.select_actions(values, chosen).mean(0)


class ActorCriticImpl(Impl):
    """Continuous actions: critics `q` with a target, a `policy`, and a loss for each."""

    target_policy_too: ClassVar[bool] = False

    def build(self) -> None:
        """Makes critics, policy and targets."""
        config, every = self.config, getattr(self.config, "policy_delay", 1)
        self.q = self.make_q()
        self.policy = self.build_policy()
        self.target_q = self.make_target(self.q, config.tau, every)
        if self.target_policy_too:
            self.target_policy = self.make_target(self.policy, config.tau, every)

    def build_policy(self) -> Any:
        """Makes the policy."""
        raise UnsupportedError(f"{type(self).__name__} must define build_policy()")

    def make_q(self) -> QFunction:
        """Makes the critics that the front asks for."""
        config = self.config
        return QFunction(
            resolve_encoder(config.critic_encoder or config.encoder, self.observation_space),
            self.observation_space,
            self.random,
            config.n_critics,
            action_size=self.action_size,
            n_quantiles=config.n_quantiles if config.q_function == "qr" else None,
        )

    def build_objectives(self) -> list[Objective]:
        """Returns the critics' loss, then the actor's."""
        return [self.critic_objective(), self.actor_objective()]

    def critic_objective(self) -> Objective:
        """Declares the critics' loss against the target of the batch."""
        return self.objective("critic", self.critic_loss, [self.q], self.config.critic_learning_rate)

    def actor_objective(self) -> Objective:
        """Declares the actor's loss, delayed where the front says so."""
        config = self.config
        return self.objective(
            "actor",
            self.compute_actor_loss,
            [self.policy],
            config.actor_learning_rate,
            schedule=config.actor_lr_schedule,
            every=getattr(config, "policy_delay", 1),
        )

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the temporal-difference loss of the data's actions against the target `q_tpn`."""
        return self.q.loss(self.q(batch.observations, batch.actions), q_tpn, batch.masks)

    def compute_actor_loss(self, batch: Batch) -> Loss:
        """Returns the loss of the policy."""
        raise UnsupportedError(f"{type(self).__name__} must define compute_actor_loss()")

    def predict_best_action(self, observations: TensorTree) -> Tensor:
        """Returns the policy's mode [B, A]."""
        actions: Tensor = self.policy.mode(observations)
        return actions

    def sample_action(self, observations: TensorTree) -> Tensor:
        """Returns actions [B, A] drawn from the policy."""
        actions: Tensor = self.policy.sample(observations)[0]
        return actions

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns the mean over members of Q(s, a) [B]; of the policy's mode where actions are None."""
        chosen = self.predict_best_action(observations) if actions is None else actions
        return self.q.values(observations, chosen).mean(0)


def _load_optimizer(objective: Objective, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    prefix = f"optimizers.{objective.name}."
    for name, value in tensors.items():
        if name.startswith(prefix):
            index, slot = name[len(prefix) :].split(".")
            state.setdefault(int(index), {})[slot] = value.clone()
    groups = objective.optimizer.state_dict()["param_groups"]
    objective.optimizer.load_state_dict({"state": state, "param_groups": groups})
