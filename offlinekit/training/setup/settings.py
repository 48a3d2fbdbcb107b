"""The settings of a run, each declared once: default, type and range, meaning, and whether results depend on it.

From here come the keywords of `fit`, `fitter` and populations, the options of `train` and `sweep`, the fields of
plans, what config.json keeps and compares, and the table in docs/training.md. A new setting is one entry below.
"""

# Annotations are objects here: without torch, `train --help` reads them. Those in quotes are for type checkers alone.
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypedDict,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from offlinekit.fields import Check, Count, Interval, Positive, checked
from offlinekit.ground.hints import hint
from offlinekit.training.setup import setting_checks as checks

if TYPE_CHECKING:
    from offlinekit.interfaces import EnvSource, Evaluator
    from offlinekit.sampling.loss_weights import LossWeights
    from offlinekit.sampling.priorities import Priorities
    from offlinekit.training.early_stopping import EarlyStopping
    from offlinekit.training.loggers import Callback
    from offlinekit.training.process_group import ProcessGroup
    from offlinekit.training.trackers import LoggerFactory

EngineName = Literal["auto", "eager", "compile", "graph"]
Precision = Literal["float32", "bfloat16"]
AlarmAction = Literal["warn", "stop", "off"]
Name = Annotated[str, Check(checks.check_name, "name")]

S = TypeVar("S")

N_STEPS = 100_000
"""Updates of a run that does not say how many."""


@dataclass(frozen=True)
class Setting:
    """Facts of a keyword of a run beside its type.

    Attributes:
        default: If it is not given.
        cosmetic: Whether the run's results are the same whatever it is; `resume="auto"` compares the others.
        named: Whether a name may stand for it, which can be typed and written to a file.
    """

    default: Any
    cosmetic: bool = False
    named: bool = False


class SharedSettings(TypedDict, total=False):
    """Settings of any run, offline or online."""

    eval_env: Annotated[
        "EnvSource | None",
        "Environment to evaluate in every `eval_interval`, a function that makes one, a name, or None.",
        Setting(None),
    ]
    evaluators: Annotated[
        "Mapping[str, Evaluator | str] | Sequence[str] | None",
        "Name to a function (algo, dataset) -> float, or -> several by name, called as often; or names of "
        "`offlinekit.metrics`, such as ['td_error', 'soft_opc:return_threshold=200'].",
        Check(checks.check_evaluators, "evaluators", checks.named_evaluators),
        Setting(None),
    ]
    eval_interval: Annotated[
        Count,
        "Updates between evaluations (environment steps online); the last is always evaluated.",
        Setting(5_000),
    ]
    eval_episodes: Annotated[Count, "Episodes of an evaluation in the environment.", Setting(10)]
    log_interval: Annotated[
        Count,
        "Updates between rows of the history (environment steps online); a row holds the means since the last.",
        Setting(1_000),
    ]
    checkpoint_interval: Annotated[
        Count | None,
        "Updates between checkpoints (environment steps online); by default as many as between evaluations.",
        Setting(None, cosmetic=True),
    ]
    keep_checkpoints: Annotated[Count, "How many of the newest checkpoints stay.", Setting(2, cosmetic=True)]
    max_seconds: Annotated[
        Positive | None,
        "Seconds from the start after which it stops, with a checkpoint to go on from.",
        Setting(None, cosmetic=True),
    ]
    out: Annotated[
        "str | Path | None",
        "Folder in which the run makes its own, or None to write nothing.",
        Setting("runs", cosmetic=True),
    ]
    resume: Annotated[
        "str | Path | Sequence[str | Path | None] | None",
        "Run folder to go on with, from its newest checkpoint (of a population: one a member); 'auto' takes the "
        "newest unfinished run of the same config in `out`, and begins a new one if there is none.",
        Setting(None, cosmetic=True),
    ]
    weights: Annotated[
        "LossWeights | None",
        "Loss weights of rows, at least 0: the name of one of the dataset's extras, 'recency:by=day,half_life=30', an "
        "array [N], or a function of the dataset; scaled to mean 1, and rows of weight 0 are not drawn. Each row that "
        "is played online has weight 1.",
        Setting(None, named=True),
    ]
    priorities: Annotated[
        "str | Priorities | None",
        "Objective by whose losses rows are drawn, such as 'critic', or Priorities('critic', alpha, beta).",
        Setting(None, named=True),
    ]
    early_stopping: Annotated[
        "EarlyStopping | None",
        "When to stop before `n_steps`.",
        Check(checks.check_stopping, "EarlyStopping"),
        Setting(None),
    ]
    progress: Annotated[
        bool,
        "Whether it shows how far it is: a line that is rewritten on a terminal or in a notebook, elsewhere one a row.",
        Setting(True, cosmetic=True),
    ]
    callbacks: Annotated[
        "Sequence[Callback]",
        "Functions (algo, row), called at each row of the history; False ends the run there. Or objects with any of "
        "`on_row(algo, row)`, `on_checkpoint(algo, path)` and `on_end(algo)`.",
        Check(checks.check_callbacks, "callbacks"),
        Setting((), cosmetic=True),
    ]
    run_name: Annotated[
        Name | None,
        "What the run folder is called, before the time; by default algorithm and dataset.",
        Setting(None, cosmetic=True, named=True),
    ]
    tags: Annotated[
        "Sequence[str]",
        "Words kept in config.json and shown by Weights & Biases and MLflow.",
        Check(checks.check_tags, "texts"),
        Setting((), cosmetic=True),
    ]
    tensorboard: Annotated[
        bool, "Log to TensorBoard as well (extra `tensorboard`).", Setting(False, cosmetic=True)
    ]
    loggers: Annotated[
        "Sequence[str | LoggerFactory]",
        "Of other tools: 'tensorboard', 'wandb', 'mlflow' (extras of these names), or factories "
        "(run folder, config) -> Logger.",
        Setting((), cosmetic=True),
    ]
    engine: Annotated[
        EngineName,
        "How updates are taken: graph repeats recorded kernels, eager runs losses as written, compile compiles "
        "them; auto is graph. What cannot be recorded stays eager, and the log says why.",
        Setting("auto"),
    ]
    precision: Annotated[
        Precision,
        "Of matrix products: float32 or, if the machine is faster with it, bfloat16.",
        Setting("float32"),
    ]
    deterministic: Annotated[
        bool, "Only kernels that give the same bits each time, during updates.", Setting(False)
    ]
    preemptible: Annotated[
        bool,
        "Whether SIGTERM and SIGUSR1 save a checkpoint after the update under way and raise Preempted.",
        Setting(False, cosmetic=True),
    ]
    info: Annotated[
        "Mapping[str, Any] | None",
        "Plain data to keep in the run's config.json, such as how the dataset was made.",
        Setting(None, cosmetic=True),
    ]


class RunSettings(SharedSettings, total=False):
    """Settings of a run: the keywords of `fit` beside the dataset and `n_steps`."""

    n_envs: Annotated[
        Count | None,
        "Environments of an evaluation side by side, if there can be several; by default up to 10.",
        Setting(None, cosmetic=True),
    ]
    max_steps: Annotated[
        Count | None,
        "Steps after which an evaluation's episode is cut; by default the environment's own limit, or 27,000.",
        Setting(None),
    ]
    value_alarm: Annotated[
        AlarmAction, "What to do once values leave what the rewards of the data allow.", Setting("warn")
    ]
    team: Annotated[
        "ProcessGroup | None",
        "The processes that torchrun started, each of which calls this with its shard of the data.",
        Setting(None),
    ]


def settings_of(record: type[Any]) -> dict[str, Setting]:
    """Returns the settings of a record by name."""
    hints = record.__annotations__
    return {
        n: next(part for part in hint.__metadata__ if isinstance(part, Setting)) for n, hint in hints.items()
    }


SETTINGS: Mapping[str, Setting] = settings_of(RunSettings)


def plain_kind(hint: object) -> tuple[Any, Interval | None] | None:
    """Returns the type of a field that can be typed and written to a file, and its range.

    Args:
        hint: The annotation of the field; a None beside the type is left out.

    Returns:
        int, float, bool or a Literal, with the range of a number; str if a name may stand for it; None for
        anything else.
    """
    if any(isinstance(part, Setting) and part.named for part in getattr(hint, "__metadata__", ())):
        return str, None
    interval = next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, Interval)), None)
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(kind) in (Union, types.UnionType):
        inner, *others = (part for part in get_args(kind) if part is not type(None))
        return None if others else plain_kind(inner)
    return (kind, interval) if kind in (int, float, bool) or get_origin(kind) is Literal else None


EARLIER = "earlier"
"""Entry of a config that lists what settings were before a run went on with others."""


def plain_names(record: type[Any]) -> tuple[str, ...]:
    """Returns the names of the settings of a record that are numbers, flags, choices and names."""
    return tuple(name for name, hint in record.__annotations__.items() if plain_kind(hint))


PLAIN = plain_names(RunSettings)
"""Settings that are numbers, flags, choices and names."""


def complete(given: Mapping[str, Any]) -> RunSettings:
    """Returns all settings of a run of `fit`; see `completed`."""
    return completed(given, RunSettings, "fit")


def completed(given: Mapping[str, Any], record: type[S], whose: str) -> S:
    """Returns all settings of a run: those given, checked, and the defaults of the others.

    Args:
        given: Some of them.
        record: Where they are declared.
        whose: The call that takes them.

    Raises:
        TypeError: For an unknown name, or a value of another type.
        ValueError: For a value out of its range.
    """
    check_names(given, record, whose)
    hints = record.__annotations__
    whole = {name: given.get(name, setting.default) for name, setting in settings_of(record).items()}
    return cast("S", {name: checked(name, value, hints[name]) for name, value in whole.items()})


def check_names(names: Iterable[str], record: type[Any] = RunSettings, whose: str = "fit") -> None:
    """Checks that names are settings of a run.

    Raises:
        TypeError: For an unknown one; suggests the nearest.
    """
    known = settings_of(record)
    for name in names:
        if name not in known:
            meant = hint("keyword", name, ["n_steps", *known]) or f"; it has: {', '.join(known)}"
            raise TypeError(f"{whose} has no keyword {name!r}{meant}")


def plain(given: Mapping[str, Any], record: type[Any] = RunSettings) -> dict[str, Any]:
    """Returns what config.json keeps of settings: numbers, flags, choices, names, and those of loggers."""
    settings, names = settings_of(record), (*plain_names(record), "loggers", "tags")
    known = {name: given.get(name, settings[name].default) for name in names}
    for name in known:
        if settings[name].named and not isinstance(known[name], (str, float)):
            known[name] = None
    loggers = [logger for logger in known["loggers"] if isinstance(logger, str)]
    return {**known, "loggers": loggers, "tags": list(known["tags"])}


def evaluators_of(settings: SharedSettings) -> "Mapping[str, Evaluator]":
    """Returns the evaluators of complete settings by name; none of them is a text any more."""
    return cast("Mapping[str, Evaluator]", settings["evaluators"] or {})


def result_names(record: type[Any] = RunSettings) -> tuple[str, ...]:
    """Returns the plain settings of a record that results depend on."""
    settings = settings_of(record)
    return tuple(name for name in plain_names(record) if not settings[name].cosmetic)


def comparable(config: Mapping[str, Any], record: type[Any] = RunSettings) -> dict[str, Any]:
    """Returns the entries of a run's config that its results depend on.

    A setting that the config lacks, since it is younger than the run, has its default.
    """
    settings = settings_of(record)
    defaults = {name: settings[name].default for name in plain_names(record)}
    cosmetic = (name for name, setting in settings.items() if setting.cosmetic)
    # A run goes on from its checkpoint, whatever policy is there now; the other entries name the environment.
    apart = (*cosmetic, EARLIER, "began_with", "env_spaces")
    return {name: value for name, value in {**defaults, **config}.items() if name not in apart}
