"""Hyperparameters: types, ranges and checks of the fields of fronts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from offlinekit.configured import check_names, describe
from offlinekit.core.devices import check_device
from offlinekit.envs.past.sight import sight_of
from offlinekit.fields import (
    Check,
    Count,
    Finite,
    Fraction,
    Interval,
    NonNegative,
    Positive,
    Probability,
    Rate,
    Steps,
)
from offlinekit.fields import Described as Hyperparameter
from offlinekit.ground.schedules import LearningRateSchedule, check_schedule, schedule_name
from offlinekit.nn.encoders import Encoder, as_encoder, check_encoder, encoder_to_json, resolve_encoder
from offlinekit.sampling.scalers import Scaler, ScalerLike, resolve_scaler

if TYPE_CHECKING:
    from gymnasium import spaces

    from offlinekit.core.algo import Algo
    from offlinekit.core.impl import Impl

__all__ = [
    "ActionScaler",
    "Count",
    "Device",
    "EncoderLike",
    "Finite",
    "Fraction",
    "FramePad",
    "History",
    "Hyperparameter",
    "Interval",
    "LogStd",
    "NonNegative",
    "ObservationScaler",
    "OneRow",
    "OptimizerName",
    "Positive",
    "Probability",
    "QKind",
    "Rate",
    "RewardScaler",
    "Schedule",
    "Steps",
    "TDLoss",
    "Temperature",
    "check_names",
    "describe",
]


def check_one_row(value: object) -> None:
    """Checks that observations are single rows.

    Raises:
        ValueError: For a history.
    """
    if value != 1:
        raise ValueError(
            "history_length must be 1 for an algorithm that reads windows or text, or learns in a model of the "
            f"dynamics, got {value!r}; a value method such as IQL takes a history"
        )


Temperature = Annotated[float, Interval("(0, inf]")]
Schedule = Annotated[LearningRateSchedule, Check(check_schedule, "constant | cosine | linear | a function")]
FramePad = Literal["zero", "repeat"]
History = Count
OneRow = Annotated[int, Check(check_one_row, "1")]
QKind = Literal["mean", "qr"]
TDLoss = Literal["huber", "mse"]
OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop"]
LogStd = Annotated[float, Interval("(-inf, 2)")]
Device = Annotated[str, Check(check_device, "device", str)]  # A torch.device is kept by its name.
EncoderLike = Annotated[Encoder, Check(check_encoder, "encoder", as_encoder)]
ObservationScaler = Annotated[ScalerLike, Check(partial(resolve_scaler, kind="observation"), "scaler")]
ActionScaler = Annotated[ScalerLike, Check(partial(resolve_scaler, kind="action"), "scaler")]
RewardScaler = Annotated[ScalerLike, Check(partial(resolve_scaler, kind="reward"), "scaler")]

SCALERS = ("observation_scaler", "action_scaler", "reward_scaler")
NETWORKS = ("seed", "device", "impl_class", "frame_stack", "history_length", *SCALERS)
"""Hyperparameters that decide on networks and their inputs outside of `Impl.build`."""
BATCHES = ("batch_size", "gamma", "n_step", "frame_pad")
"""Hyperparameters that samplers read when a run starts."""


def plain_config(algo: Algo) -> dict[str, Any]:
    """Returns the hyperparameters of an algorithm as plain data."""
    values = {field.name: getattr(algo, field.name) for field in dataclasses.fields(algo)}
    for name in ("impl_class", "device", *algo.not_in_files):
        del values[name]
    return as_plain(values)


def as_plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns hyperparameters by name as plain data."""
    plain = dict(values)
    for name, value in values.items():
        if name.endswith("encoder") and value is not None:
            plain[name] = encoder_to_json(value)
        elif isinstance(value, Scaler):
            plain[name] = value.to_json()
        elif name.endswith("lr_schedule") and callable(value):
            plain[name] = schedule_name(value)
    return plain


def views_of(algo: Algo, space: spaces.Space[Any]) -> dict[str, Any]:
    """Returns how far back an algorithm sees, and by how much its encoder has images shifted, as samplers take it."""
    shift = getattr(resolve_encoder(algo.encoder, space), "random_shift", 0)
    return {**sight_of(algo)._asdict(), "image_shift": shift}


def refuse_others(name: str, algo: Algo, known: Iterable[type[Algo]]) -> None:
    """Raises AttributeError for a hyperparameter that other algorithms have and that would do nothing in this one."""
    owners = sorted(front.__name__ for front in known if name in {f.name for f in dataclasses.fields(front)})
    if owners:
        cls = type(algo).__name__
        raise AttributeError(
            f"{cls} has no hyperparameter {name!r}, which {', '.join(owners[:3])}{' and others' * (len(owners) > 3)} "
            f"{'has' if len(owners) == 1 else 'have'}; leave it out, or declare it in a subclass of {cls}"
        )


def apply_to_networks(algo: Algo, impl: Impl, name: str, before: object) -> None:
    """Applies a hyperparameter that was set after the networks were made.

    Args:
        algo: With its new value.
        impl: Its networks.
        name: Of the hyperparameter.
        before: Its earlier value.

    Raises:
        ValueError: For one that networks or batches were made with.
    """
    if algo.in_run == "population" or (algo.in_run and name in (*BATCHES, *algo.sampler_options)):
        raise ValueError(f"{name} stays as it is while a {algo.in_run} trains; set it between two fits")
    try:
        if name in NETWORKS or name in impl.built_from:
            raise ValueError(f"its networks were made with {name}={before!r}")
        impl.take_up(name)
    except ValueError as error:
        cls = type(algo).__name__
        raise ValueError(
            f"{name} of a {cls} with networks stays as it is, since {error}; set it before fit, or make a new "
            f"{cls}({name}={getattr(algo, name)!r})"
        ) from error
