"""The settings of an online run, each declared once, beside those that it shares with runs on a dataset."""

# Annotations are objects here: without torch, `finetune --help` reads them. Those in quotes are for type checkers.
import math
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from offlinekit.errors import did_you_mean
from offlinekit.fields import Check, Count, Fraction, Positive, Steps
from offlinekit.ground.schedules import as_values, check_values
from offlinekit.training.setup.settings import Setting, SharedSettings, plain_names

if TYPE_CHECKING:
    from offlinekit.ground.schedules import Schedule
    from offlinekit.interfaces import PolicyLike

Exploration = Literal["policy", "greedy"]
GuideRule = Literal["linear", "return", "random"]
NUMBERS = "number, pair of numbers or function"
RESETS = ("moments", "critics", "temperature")
"""What an online run may begin with anew."""


class OnlineSettings(SharedSettings, total=False):
    """How an online run goes: the keywords of `fit_online` beside the environment, `n_steps` and the dataset.

    Intervals count environment steps. Rows, evaluations and checkpoints come at the first end of an episode after
    their interval, when no environment is within one.
    """

    mixing: Annotated[
        "str | float | tuple[float, float]",
        "Recorded rows in minibatches: 'append' draws them and new ones alike, a share such as 0.5 ('symmetric') has "
        "exactly round(share * B) of them in each, a pair goes linearly from one share to another, 'none' draws new "
        "rows alone, 'balanced' draws recorded rows more often the more they look like new ones.",
        Setting("append", named=True),
    ]
    first_share: Annotated[
        Fraction,
        "With mixing='balanced', the share of the first 1,000 new rows in minibatches.",
        Setting(0.5),
    ]
    updates_per_step: Annotated[Positive, "Updates for each environment step, also below 1.", Setting(1.0)]
    update_every: Annotated[
        Count,
        "Environment steps between two blocks of updates, those of the last ones at the end.",
        Setting(1),
    ]
    warmup_steps: Annotated[Steps, "Environment steps at the start without an update.", Setting(0)]
    random_steps: Annotated[Steps, "Environment steps at the start with random actions.", Setting(0)]
    exploration: Annotated[
        Exploration, "What acts: actions drawn from the policy, or its greedy ones.", Setting("policy")
    ]
    noise: Annotated[
        "Schedule",
        "Standard deviation of Gaussian noise added to actions, in units of half their range; a pair, (0.3, 0.1), goes "
        "linearly from one to another over the run, and a function takes the share of it that is done.",
        Check(partial(check_values, "noise", math.inf), NUMBERS, as_values),
        Setting(0.0, named=True),
    ]
    epsilon: Annotated[
        "Schedule",
        "Probability of a random action in each step; also a pair or a function, as `noise`.",
        Check(partial(check_values, "epsilon", 1.0), NUMBERS, as_values),
        Setting(0.0, named=True),
    ]
    guide: Annotated["PolicyLike | None", "Policy that acts first in each episode, or None.", Setting(None)]
    guide_steps: Annotated[
        Steps, "Steps of an episode in which the guide acts, at the start; fewer by `guide_rule`.", Setting(0)
    ]
    guide_rule: Annotated[
        GuideRule,
        "How the guide's steps become fewer: 'linear' over the run, 'return' by a tenth at each row whose returns of "
        "episodes are about as good as the best so far, or 'random' ones up to `guide_steps` in each episode.",
        Setting("linear"),
    ]
    reset: Annotated[
        "str | tuple[str, ...]",
        "What begins anew: any of 'moments', 'critics', 'temperature', as a tuple or with commas between them. "
        "Schedules of learning rates always do.",
        Setting("", named=True),
    ]
    buffer_size: Annotated[
        Count, "The most new rows to learn from; the oldest make room.", Setting(1_000_000)
    ]
    n_envs: Annotated[
        Count, "Environments side by side; more than one need a function that makes one as `env`.", Setting(1)
    ]
    episode_steps: Annotated[
        Count | None,
        "Steps after which an episode is cut, as by a time-out; None leaves it to the environment.",
        Setting(None),
    ]


OWN = tuple(name for name in plain_names(OnlineSettings) if name not in SharedSettings.__annotations__)
"""Settings of an online run that no other has, as config.json has them."""
BEGAN_WITH = "began_with"
"""Entry of the config of an online run: updates and hash of the policy that it began with; null for a new one."""


def share_of(mixing: object) -> tuple[float, float] | None:
    """Returns the shares of recorded rows at the start and the end of a run; None for rows drawn alike.

    Args:
        mixing: As `OnlineSettings` has it; also the text of a number, or of two with a comma between them.

    Raises:
        ValueError: For something else, or a share outside [0, 1].
    """
    named = {"append": None, "symmetric": (0.5, 0.5), "none": (0.0, 0.0), "balanced": None}
    if isinstance(mixing, str) and mixing in named:
        return named[mixing]
    given: Any = mixing.split(",") if isinstance(mixing, str) else mixing
    try:
        shares = [float(part) for part in (given if isinstance(given, (tuple, list)) else [given])]
    except (TypeError, ValueError):
        shares = []
    if len(shares) not in (1, 2) or not all(0 <= share <= 1 for share in shares):
        hint = did_you_mean(str(mixing), named)
        raise ValueError(
            f"mixing must be 'append', 'symmetric', 'balanced', 'none', a share in [0, 1] or a pair of shares, got "
            f"{mixing!r}{hint}"
        )
    return shares[0], shares[-1]


def resets_of(reset: object) -> tuple[str, ...]:
    """Returns the names of what begins anew.

    Raises:
        ValueError: For an unknown one.
    """
    names = reset.split(",") if isinstance(reset, str) else list(reset)  # type: ignore[call-overload]  # A tuple.
    chosen = tuple(name.strip() for name in names if name.strip())
    for name in chosen:
        if name not in RESETS:
            raise ValueError(
                f"reset must name some of {list(RESETS)}, got {name!r}{did_you_mean(name, RESETS)}"
            )
    return chosen
