"""Hyperparameters: types, ranges and checks of the fields of fronts."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from offlinekit.configured import check_names, describe
from offlinekit.core.devices import check_device
from offlinekit.fields import (
    Check,
    Count,
    Fraction,
    Interval,
    NonNegative,
    Positive,
    Probability,
    Rate,
    Steps,
)
from offlinekit.fields import Described as Hyperparameter
from offlinekit.nn.encoders import Encoder, check_encoder
from offlinekit.sampling.scalers import ScalerLike, resolve_scaler

__all__ = [
    "ActionScaler",
    "Count",
    "Device",
    "EncoderLike",
    "Fraction",
    "FramePad",
    "Hyperparameter",
    "Interval",
    "LogStd",
    "NonNegative",
    "ObservationScaler",
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

Temperature = Annotated[float, Interval("(0, inf]")]
Schedule = Literal["constant", "cosine"]
FramePad = Literal["zero", "repeat"]
QKind = Literal["mean", "qr"]
TDLoss = Literal["huber", "mse"]
OptimizerName = Literal["adam", "adamw", "sgd", "rmsprop"]
LogStd = Annotated[float, Interval("(-inf, 2)")]
Device = Annotated[str, Check(check_device, "device", str)]  # A torch.device is kept by its name.
EncoderLike = Annotated[Encoder, Check(check_encoder, "encoder")]
ObservationScaler = Annotated[ScalerLike, Check(partial(resolve_scaler, kind="observation"), "scaler")]
ActionScaler = Annotated[ScalerLike, Check(partial(resolve_scaler, kind="action"), "scaler")]
RewardScaler = Annotated[ScalerLike, Check(partial(resolve_scaler, kind="reward"), "scaler")]
