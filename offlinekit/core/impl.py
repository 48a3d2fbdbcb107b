"""Base of every implementation: building networks, one update, saving and acting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from gymnasium import spaces
from torch import Tensor, nn

from offlinekit.core import candidates
from offlinekit.core.noted_config import NotedConfig
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.envs.legal_actions import has_legal_actions
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import JointDiscrete, part_sizes
from offlinekit.ground.schedules import LearningRateSchedule
from offlinekit.interfaces import Sampler
from offlinekit.naming import register
from offlinekit.nn.encoders import Encoder, resolve_encoder
from offlinekit.nn.isolation import initialised
from offlinekit.nn.networks import Network
from offlinekit.nn.policies import ActionParts, PerAction
from offlinekit.nn.random import Random, copy_module, derive
from offlinekit.nn.rows import RowLoss, mean_of_rows, row_weights
from offlinekit.sampling.batch import Batch, Metrics, TensorTree
from offlinekit.training.objectives import Loss, Objective, Target
from offlinekit.training.optimizers import make_optimizer

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.sampling.batch import Minibatch


def check_impl_class(value: object) -> None:
    """Checks that a value is a class of implementations, or None for the algorithm's own.

    Raises:
        TypeError: For anything else.
    """
    if value is None or (isinstance(value, type) and issubclass(value, Impl)):
        return
    own = getattr(value, "impl_class", None)
    hint = (
        f"; the implementation of {value.__name__} is {own.__name__}"
        if isinstance(value, type) and own
        else ""
    )
    raise TypeError(f"impl_class must be a subclass of Impl, got {value!r}{hint}")


class Impl(nn.Module):
    """Networks and losses of one algorithm; subclass it, or one of its subclasses, for a new algorithm.

    Subclasses make their networks in `build`, declare what is minimised in `build_objectives` and write the
    losses, which are pure: they take a batch and return rows [B] or [K, B], `Rows` or a scalar, alone or with
    metrics, and draw their random numbers from `self.random`. The objective takes the mean over rows.

    Args:
        config: The front; its fields are the hyperparameters.
        observation_space: Of the dataset.
        action_space: Of the dataset; the networks see continuous actions scaled to [-1, 1].
        device: Where the networks live.
    """

    known: ClassVar[dict[str, type[Impl]]] = {}
    has_value: ClassVar[bool] = True
    is_stateful: ClassVar[bool] = False  # Whether actions depend on earlier steps of the episode.
    needs: ClassVar[tuple[str, ...]] = ("next_observations",)
    """Columns that a row must have to be drawn, and that a batch has beside its standard fields; see `Batch`."""
    stackable: ClassVar[bool] = True  # Whether members of a population may be one program.
    unread: ClassVar[tuple[str, ...]] = ()
    """Hyperparameters that neither networks nor losses read, in which members of one program may differ."""

    def __init_subclass__(cls, overwrite: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        register(Impl.known, cls.__name__, cls, overwrite)

    def __init__(
        self,
        config: Algo,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device,
    ) -> None:
        super().__init__()
        noted = NotedConfig(config)
        self.config: Any = noted
        self.observation_space, self.action_space, self.device = observation_space, action_space, device
        self.random = Random(derive(config.seed or 0, "noise"), device)
        self.grad_step = 0
        self.horizon = 0  # The grad_step at which schedules end; 0 while there is no run.
        self.schedule_start = 0  # The one at which they begin, of the run under way.
        self.is_online = False  # Whether the run acts in an environment as well.
        self.targets: list[Target] = []
        with initialised(derive(config.seed or 0, "networks")):
            self.build()
        followed = {name for target in self.targets for name in target.names.values()}
        self.built_from = frozenset(noted.read - followed - candidates.resizable(self))
        noted.replace_in(self)
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
        """Returns actions drawn from the policy; the greedy ones if it is deterministic."""
        return self.predict_best_action(observations)

    def predict_value(self, observations: TensorTree, actions: Tensor | None) -> Tensor:
        """Returns the value [B] of actions, or of the greedy actions if they are None."""
        raise UnsupportedError(
            f"{type(self.config).__name__} learns no value function; evaluate its policy with evaluate()"
        )

    def begin_episode(self, target_return: float | None) -> Any:
        """Returns what is remembered of an episode without steps: plain tensors, a chunk of actions, or None.

        Args:
            target_return: What is to be reached, in units of the data; None leaves it to the hyperparameters.

        Raises:
            UnsupportedError: For a target if there is no use for one.
        """
        if target_return is not None:
            raise UnsupportedError(
                f"{type(self.config).__name__} takes no return to reach; leave out target_return"
            )

    def take_steps(
        self, observations: TensorTree, rewards: Tensor, memories: Sequence[Any], sample: bool
    ) -> tuple[Tensor, Sequence[Any]]:
        """Takes one step in each of B episodes under way; changes no memory that is given.

        Args:
            observations: [B, ...], scaled.
            rewards: [B], scaled, of the actions before; to be ignored in a first step.
            memories: One an episode, as `begin_episode` or the last call gave them.
            sample: Whether actions are drawn from the policy, in place of the greedy ones.

        Returns:
            Actions [B, A] in [-1, 1] or [B] int64, and the memories that follow.
        """
        return (self.sample_action if sample else self.predict_best_action)(observations), memories

    def learn_data(self, dataset: MDPDataset, sampler: Sampler) -> None:
        """Learns of the whole dataset what losses need of it; called before each run, does nothing here.

        Args:
            dataset: What the run learns from, without episodes of loss weight 0; `rows` of batches number them too.
            sampler: What draws its batches.
        """

    @property
    def learns_whole_dataset(self) -> bool:
        """Whether losses depend on the whole dataset, beyond their batch."""
        return type(self).learn_data is not Impl.learn_data

    def enter_phase(self, online: bool) -> None:
        """Prepares for a run on data alone, or for one that acts too; what is minimised may differ by `is_online`."""
        if online != self.is_online:
            self.is_online = online
            self.redeclare()

    def begin_online(self) -> None:
        """Changes what an online run is to begin with, before `enter_phase`; a run that goes on has that already."""

    @property
    def needed(self) -> tuple[str, ...]:
        """Columns of `needs` that losses read in the present phase."""
        return self.needs

    def compute_target(self, batch: Batch) -> Tensor:
        """Returns the critics' target without gradient, [B] or [N, B]; [K, ...] if each has its own."""
        raise UnsupportedError(f"{type(self).__name__} must define compute_target()")

    def compute_critic_loss(self, batch: Batch, q_tpn: Tensor) -> Loss:
        """Returns the loss of the critics against the target `q_tpn`."""
        raise UnsupportedError(f"{type(self).__name__} must define compute_critic_loss()")

    # Building blocks.

    def critic_loss(self, batch: Batch) -> Loss:
        """Returns the critics' loss against the target of the same batch, which carries no gradient.

        Raises:
            TypeError: For a target that is no tensor.
        """
        with torch.no_grad():
            q_tpn = self.compute_target(batch)
        if not isinstance(q_tpn, Tensor):
            raise TypeError(
                f"compute_target of {type(self).__name__} must return a tensor, [B], or [N, B] for quantiles, got "
                f"{q_tpn!r}"
            )
        return self.compute_critic_loss(batch, q_tpn)

    def batch_mean(self, values: RowLoss, batch: Minibatch) -> Tensor:
        """Returns the mean over rows that a loss normalises by, weighted as losses are: [B] -> [], [K, B] -> [K]."""
        return mean_of_rows(values, row_weights(batch))

    @property
    def action_size(self) -> int:
        """Dimensions of a continuous action."""
        return math.prod(self.action_space.shape or (1,))

    @property
    def n_actions(self) -> int:
        """Number of discrete actions."""
        return int(self.action_space.n)  # type: ignore[attr-defined]  # The front checked that it is discrete.

    @property
    def parts(self) -> ActionParts:
        """The parts of a discrete action whose outputs networks have side by side; a whole action is one part."""
        return ActionParts(part_sizes(self.action_space))  # type: ignore[arg-type]  # As for `n_actions`.

    def make_network(
        self,
        outputs: int,
        *,
        action_size: int = 0,
        members: int | None = None,
        encoder: Encoder | None = None,
    ) -> Network:
        """Makes a network of the configured encoder with a linear head.

        Raises:
            UnsupportedError: For an output for each action, if there are so many that their parts have outputs.
        """
        space = self.action_space
        if isinstance(space, JointDiscrete) and space.is_factored and outputs >= self.n_actions:
            raise UnsupportedError(
                f"{type(self).__name__} has an output for each action, and {space} has {self.n_actions:,}; make "
                "networks of sum(self.parts.sizes) outputs, and combine these by self.parts"
            )
        chosen = resolve_encoder(encoder or self.config.encoder, self.observation_space)
        space = self.observation_space
        return Network(chosen, space, outputs, self.random, action_size=action_size, members=members)

    def make_logits(self) -> nn.Module:
        """Makes a network of one output an action, or choice of a part, [B, A]; of illegal ones they are at a floor."""
        network = self.make_network(sum(self.parts.sizes))
        return PerAction(network) if has_legal_actions(self.observation_space) else network

    def make_target(
        self, online: nn.Module, tau: float | str = "tau", every: int | str = 1, first: int = 1
    ) -> Any:
        """Makes a frozen copy of a network that follows it after every `every` updates, from the `first` on.

        Args:
            online: The network.
            tau: Share of it that enters the copy; a number, or the hyperparameter that holds it.
            every: Updates between two steps of the copy; likewise.
            first: The first update with a step.
        """
        given: dict[str, Any] = {"tau": tau, "every": every}
        names = {own: value for own, value in given.items() if isinstance(value, str)}
        numbers = {o: getattr(self.config, v) if o in names else v for o, v in given.items()}
        copied = copy_module(online).requires_grad_(False)
        self.targets.append(Target(online, copied, **numbers, first=first, names=names))
        return copied

    def objective(
        self,
        name: str,
        loss: Callable[[Any], Loss],
        owners: Sequence[nn.Module | nn.Parameter],
        learning_rate: float,
        *,
        schedule: LearningRateSchedule | None = None,
        warmup_steps: int = 0,
        every: int = 1,
        first: int = 1,
        last: int | None = None,
        clip_grad_norm: float | None = None,
        weight_decay: float | None = None,
    ) -> Objective:
        """Declares a loss over the parameters of its owners, with the configured optimizer.

        Args:
            name: The metric becomes "<name>_loss".
            loss: Takes a batch, returns rows or a scalar, or (rows, metrics).
            owners: Modules or parameters that this loss alone may change; frozen ones stay as they are, and
                a parameter that stands alone, such as a temperature, does not decay.
            learning_rate: At the start of the schedule.
            schedule: As `lr_schedule`; None takes the front's `lr_schedule`.
            warmup_steps: Updates over which the learning rate grows linearly to its full size.
            every: The loss is minimised at every `every`-th update.
            first: The first update in which it is, counted from 1.
            last: The last one; None for no end.
            clip_grad_norm: Largest norm of the gradient; None takes the front's.
            weight_decay: Decoupled, with adamw; None takes the front's optimizer and its decay.
        """
        config = self.config
        modules = nn.ModuleList(owner for owner in owners if isinstance(owner, nn.Module))
        lone = [owner for owner in owners if isinstance(owner, nn.Parameter)]
        decaying = [parameter for parameter in modules.parameters() if parameter.requires_grad]
        groups = [(decaying, config.weight_decay if weight_decay is None else weight_decay), (lone, 0.0)]
        kind = config.optimizer if weight_decay is None else "adamw"
        optimizer = make_optimizer(kind, groups, learning_rate)
        return Objective(
            name,
            loss,
            [*decaying, *lone],
            optimizer,
            learning_rate,
            schedule or config.lr_schedule,
            every,
            first,
            last,
            clip_grad_norm if clip_grad_norm is not None else config.clip_grad_norm,
            warmup_steps,
        )

    # For other programs.

    @property
    def exported_space(self) -> spaces.Space[Any] | None:
        """Observations of the exported policy; None for one that cannot be exported, as it remembers its episode."""
        return None if self.is_stateful else self.observation_space

    def exported_actions(self, observations: TensorTree) -> Tensor:
        """Returns the greedy actions of observations as the exported policy sees them."""
        return self.predict_best_action(observations)

    # What is set later.

    def take_up(self, name: str) -> None:
        """Applies a hyperparameter that was set after `build` to targets, objectives and candidates.

        Raises:
            ValueError: If it decides what is minimised, by which optimizer, or which parameters a loss changes.
        """
        declared = self.build_objectives()
        kinds = [
            [(declaration.name, declaration.optimizer.name) for declaration in each]
            for each in (self.objectives, declared)
        ]
        if kinds[0] != kinds[1]:
            raise ValueError(f"{name} decides what is minimised, and by which optimizer")
        for objective, declaration in zip(self.objectives, declared, strict=True):
            if not objective.has_owners_of(declaration):
                raise ValueError(f"{name} decides which parameters the {objective.name} loss changes")
        self.redeclare(declared)
        for target in self.targets:
            target.take_up(self.config)
        candidates.resize(self)

    def redeclare(self, declared: Sequence[Objective] | None = None) -> None:
        """Gives objectives the losses, rates, times and limits of declarations; optimizers keep their state."""
        for objective, declaration in zip(self.objectives, declared or self.build_objectives(), strict=True):
            objective.take_up(declaration)

    # The update.

    def train(self, mode: bool = True) -> Impl:
        """Switches dropout on or off; targets never drop out."""
        super().train(mode)
        for target in self.targets:
            target.target.eval()
        return self

    def update(self, batch: Any) -> Metrics:
        """Minimises each objective that is due on one batch, then moves the targets."""
        self.begin_update()
        return self.apply_update(batch)

    def begin_update(self) -> None:
        """Counts the update and sets the learning rates of the objectives that are due in it."""
        self.grad_step += 1
        done = self.run_done
        for objective in self.objectives:
            if objective.is_due(self.grad_step):
                objective.schedule_rate(done, self.grad_step)

    @property
    def run_done(self) -> float:
        """Share of the run's updates before the present one, from 0 on; 0 without a run."""
        length = self.horizon - self.schedule_start
        return (self.grad_step - 1 - self.schedule_start) / length if self.horizon else 0.0

    def apply_update(self, batch: Minibatch) -> Metrics:
        """Runs the part of an update that is on the device; it reads no number there."""
        metrics: Metrics = {}
        for objective in self.objectives:
            if objective.is_due(self.grad_step):
                metrics.update(objective.minimize(batch))
        for target in self.targets:
            if target.is_due(self.grad_step):
                target.follow()
        return metrics

    # State, as flat tensors.

    def state_tensors(self) -> dict[str, Tensor]:
        """Returns all that training needs to go on exactly: networks, optimizers, random numbers."""
        tensors = {f"networks.{name}": value for name, value in self.state_dict().items()}
        for objective in self.objectives:
            tensors.update(objective.state_tensors())
        tensors["random.impl"] = self.random.state()
        return tensors

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `state_tensors` returned.

        Raises:
            RuntimeError: If names or shapes of the networks differ.
        """
        prefix = "networks."
        networks = {name[len(prefix) :]: v for name, v in tensors.items() if name.startswith(prefix)}
        candidates.make_room(self, networks)
        self.load_state_dict(networks)
        candidates.resize(self)
        for objective in self.objectives:
            objective.load_state_tensors(tensors)
        self.random.set_state(tensors["random.impl"])
