"""Rules by which a step ends the MDP, for models that plan: known functions of what happened, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from offlinekit.errors import did_you_mean
from offlinekit.naming import register

if TYPE_CHECKING:
    from torch import Tensor

Termination: TypeAlias = "Callable[[Tensor, Tensor, Tensor], Tensor]"
"""(observations [..., D], actions, next observations [..., D]) -> bool [...]; all in the units of the data."""

F = TypeVar("F", bound="Termination")

LEARNED = "learned"
"""Name that stands for no rule: the model learns the probability of an end."""

RULES: dict[str, Termination] = {}


def register_termination(name: str, *, overwrite: bool = False) -> Callable[[F], F]:
    """Names a rule, so that `Dynamics(termination=name)` and its files find it.

    Args:
        name: Such as "my-robot".
        overwrite: Whether to take the name from another module.

    Raises:
        ValueError: If the name belongs to another module, or stands for learned ends.
    """
    if name == LEARNED:
        raise ValueError(f"{name!r} stands for ends that the model learns; choose another name")

    def enter(rule: F) -> F:
        register(RULES, name, rule, overwrite)
        return rule

    return enter


def check_termination(name: object) -> None:
    """Checks that a name is that of a rule, or "learned".

    Raises:
        TypeError: For something that is no name.
        ValueError: For a name that no rule has.
    """
    if callable(name):
        raise TypeError(
            "termination must be a name, which files can hold; name the function by "
            "register_termination('my-robot')(function) of offlinekit.training.model_based.terminations, and give "
            "termination='my-robot'"
        )
    if not isinstance(name, str):
        raise TypeError(f"termination must be the name of a rule, or 'learned', got {name!r}")
    if name != LEARNED and name not in RULES:
        hint = did_you_mean(name, [LEARNED, *RULES]) or f"; there are: {', '.join([LEARNED, *sorted(RULES)])}"
        raise ValueError(
            f"no termination rule has the name {name!r}{hint}; name one of your own by register_termination"
        )


def never(observations: Tensor, actions: Tensor, after: Tensor) -> Tensor:
    """Returns False everywhere: only time limits end an episode."""
    return after[..., 0] > inf


def beyond_100(observations: Tensor, actions: Tensor, after: Tensor) -> Tensor:
    """Returns where a number is 100 or more in size, or none: a guard against models that diverge."""
    return ~(after.abs() < 100).all(-1)


def hopper(observations: Tensor, actions: Tensor, after: Tensor, first: int = 0) -> Tensor:
    """Returns where a hopper is not healthy, as gymnasium has it; D4RL's observations begin with height and angle.

    Args:
        observations: Before the step.
        actions: Of the step.
        after: The observations after it.
        first: Place of the height.
    """
    height, angle, rest = after[..., first], after[..., first + 1], after[..., first + 1 :]
    healthy = after.isfinite().all(-1) & (rest.abs() < 100).all(-1) & (height > 0.7) & (angle.abs() < 0.2)
    return ~healthy


def walker2d(observations: Tensor, actions: Tensor, after: Tensor, first: int = 0) -> Tensor:
    """Returns where a walker is not within heights (0.8, 2) and angles (-1, 1), or another number beyond 100.

    The environment itself has no such bound; published rules of models do, since rows that diverge teach nothing.

    Args:
        observations: Before the step.
        actions: Of the step.
        after: The observations after it.
        first: Place of the height.
    """
    height, angle, rest = after[..., first], after[..., first + 1], after[..., first + 2 :]
    return ~((rest.abs() < 100).all(-1) & (height > 0.8) & (height < 2.0) & (angle.abs() < 1.0))


def ant(observations: Tensor, actions: Tensor, after: Tensor) -> Tensor:
    """Returns where an ant is not finite or not within heights [0.2, 1]."""
    height = after[..., 0]
    return ~(after.isfinite().all(-1) & (height >= 0.2) & (height <= 1.0))


def humanoid(observations: Tensor, actions: Tensor, after: Tensor) -> Tensor:
    """Returns where a humanoid is not within heights [1, 2]."""
    height = after[..., 0]
    return ~((height >= 1.0) & (height <= 2.0))


def pen(observations: Tensor, actions: Tensor, after: Tensor) -> Tensor:
    """Returns where the pen of Adroit has dropped below 0.075."""
    height = after[..., 26]
    return height < 0.075


def reached(
    observations: Tensor, actions: Tensor, after: Tensor, *, x: float, y: float, radius: float = 0.25
) -> Tensor:
    """Returns where the first two numbers are nearer than `radius` to a goal."""
    squares = (after[..., :2] - after.new_tensor([x, y])).square().sum(-1)
    return squares < radius**2


GOALS = {"umaze": (0.75, 8.75), "medium": (20.75, 20.75), "large": (32.75, 24.75), "ultra": (52.75, 36.75)}
"""Mean goals of AntMaze; the environment jitters them and has a radius of 0.5."""

RULES |= dict.fromkeys(("never", "halfcheetah", "pendulum", "door", "hammer", "relocate"), never)
RULES |= {"beyond-100": beyond_100, "ant": ant, "humanoid": humanoid, "pen": pen}
RULES |= {"hopper": hopper, "walker2d": walker2d}
RULES |= {"neorl-hopper": partial(hopper, first=1), "neorl-walker2d": partial(walker2d, first=1)}
RULES |= {f"antmaze-{size}": partial(reached, x=x, y=y) for size, (x, y) in GOALS.items()}
