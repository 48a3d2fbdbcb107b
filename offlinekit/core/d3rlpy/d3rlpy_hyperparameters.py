"""Hyperparameters of d3rlpy, by their names here."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from offlinekit.errors import UnsupportedError
from offlinekit.nn.encoders import NATURE_FILTERS, CNNEncoder, MLPEncoder

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo

ENCODERS = {
    "encoder_factory": "encoder",
    "actor_encoder_factory": "encoder",
    "critic_encoder_factory": "critic_encoder",
    "imitator_encoder_factory": "vae_encoder",
}
"""Names there and here."""
NAMES = {
    "temp_learning_rate": "temperature_learning_rate",
    "target_smoothing_sigma": "target_noise",
    "target_smoothing_clip": "target_noise_clip",
    "update_actor_interval": "policy_delay",
    "imitator_learning_rate": "vae_learning_rate",
}
OF_CQL = {
    "conservative_weight": "alpha",
    "alpha_threshold": "gap_threshold",
    "n_action_samples": "n_actions",
    "soft_q_backup": "soft_backup",
}
OF_PLAS = {"lam": "min_weight", "beta": "kl_weight", "action_flexibility": "perturbation"}
OWN_NAMES = {
    "awac": {"lam": "temperature", "n_action_samples": "n_actions"},
    "bcq": {**OF_PLAS, "n_action_samples": "n_candidates"},
    "bear": {
        "alpha_threshold": "mmd_threshold",
        "lam": "min_weight",
        "mmd_kernel": "kernel",
        "mmd_sigma": "kernel_width",
        "n_action_samples": "n_candidates",
        "n_mmd_action_samples": "n_matched",
        "n_target_samples": "n_actions",
        "vae_kl_weight": "kl_weight",
    },
    "cal_ql": OF_CQL,
    "cql": OF_CQL,
    "plas": OF_PLAS,
    "plas_with_perturbation": OF_PLAS,
    "prdc": {"alpha": "alpha", "beta": "state_weight"},
    "td3_plus_bc": {"alpha": "alpha"},
    "discrete_cql": {"alpha": "alpha"},
    "rebrac": {"actor_beta": "actor_penalty", "critic_beta": "critic_penalty"},
    "discrete_bcq": {"action_flexibility": "threshold", "beta": "logits_penalty"},
    "iql": {"weight_temp": "beta"},
}
"""Hyperparameters by their names there and here; those of equal names are not listed."""
FIXED = {"decoder_tanh": False, "actor_lr_schedule": None}
"""What is so of each algorithm there: the VAE ends without a tanh, and rates are constant."""
OPTIMIZERS = {"adam": "adam", "adam_w": "adamw"}
"""Kinds there, and the names here."""
TAKEN = (
    *(
        "batch_size",
        "gamma",
        "learning_rate",
        "actor_learning_rate",
        "critic_learning_rate",
        "tau",
        "n_critics",
    ),
    *("target_update_interval", "expectile", "max_weight", "initial_temperature", "alpha_learning_rate"),
    "warmup_steps",
)
"""Hyperparameters of the same name and meaning."""


def hyperparameters(
    kind: str, given: Mapping[str, Any], front: type[Algo], shape: tuple[int, ...]
) -> dict[str, Any]:
    """Returns the hyperparameters that mean the same here, by their names here.

    Raises:
        UnsupportedError: For encoders and Q-functions that are not there.
    """
    known, names = (
        front.hyperparameters(),
        {**{name: name for name in TAKEN}, **NAMES, **OWN_NAMES.get(kind, {})},
    )
    found: dict[str, Any] = {names[n]: value for n, value in given.items() if names.get(n) in known}
    found |= {ENCODERS[n]: _encoder(value, shape) for n, value in given.items() if ENCODERS.get(n) in known}
    found |= {name: value for name, value in FIXED.items() if name in known}
    found |= _optimizer(given)
    if kind == "bcq":
        found["n_actions"] = found["n_candidates"]
    if kind == "iql":
        found["value_learning_rate"] = given.get("critic_learning_rate", 3e-4)
    if kind == "discrete_sac":
        found["tau"] = 1.0
    if OWN_NAMES.get(kind) is OF_CQL:
        found |= _of_cql(given, found)
    for scaler, name in (
        *([("observation_scaler", "standard")] if len(shape) < 3 else []),
        ("action_scaler", "minmax"),
        ("reward_scaler", "standard"),
    ):
        found[scaler] = name if kind_of(given.get(scaler)) != "none" else None
    values = given.get("q_func_factory", {"type": "mean"})
    if kind_of(values) == "qr":
        found |= {"q_function": "qr", "n_quantiles": values["params"]["n_quantiles"]}
    elif kind_of(values) != "mean":
        raise UnsupportedError(
            f"Q-functions of the kind {kind_of(values)} are not there; those of mean and qr are"
        )
    if kind == "bc" and given.get("policy_type", "deterministic") != "deterministic":
        raise UnsupportedError(
            "the stochastic policy of d3rlpy's BC has a deviation for each state, that of BC here none"
        )
    return found


def _optimizer(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns optimizer, decay and clipping where those of all networks are alike and there are such here."""
    kinds = set()
    for name, factory in given.items():
        if name.endswith("optim_factory") and not name.startswith(("temp", "alpha")):
            options = factory["params"]
            kind, schedule = kind_of(factory), kind_of(options.get("lr_scheduler_factory"))
            kinds.add((kind, schedule, options.get("weight_decay"), options.get("clip_grad_norm")))
    if len(kinds) == 1:
        ((kind, schedule, decay, clip),) = kinds
        if kind in OPTIMIZERS and schedule == "none":
            return {
                "optimizer": OPTIMIZERS[kind],
                "weight_decay": decay or 0.0,
                "clip_grad_norm": clip or None,
            }
    if kinds:
        warnings.warn(
            f"the optimizers of the file, {sorted(map(str, kinds))} (kind, schedule, weight decay, clipping), have no "
            "equal here, so adam takes their place; set optimizer, weight_decay, clip_grad_norm and lr_schedule of the "
            "algorithm before it trains on",
            stacklevel=2,
        )
    return {}


def _of_cql(given: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns alpha and targets of CQL, whose loss there is alpha' weight (gap - threshold), alpha' learned or not."""
    own: dict[str, Any] = {"alpha": given.get("conservative_weight", 5.0) * given.get("initial_alpha", 1.0)}
    if not given.get("alpha_learning_rate") or own["alpha"] == 0:
        own |= {"gap_threshold": None, "alpha_learning_rate": 1e-4}
    if given.get("max_q_backup") and not found.get("soft_backup"):
        own |= {"max_backup": True, "max_backup_order": "action"}
    return own


def kind_of(factory: object) -> str:
    """Returns the kind of a factory or scaler; "none" for none."""
    return str(factory["type"]) if isinstance(factory, Mapping) else "none"


def _encoder(factory: Mapping[str, Any], shape: tuple[int, ...]) -> MLPEncoder:
    """Returns the encoder that a factory of vectors or of images makes."""
    options: dict[str, Any] = factory["params"]
    pixels = len(shape) == 3
    odd = [n for n in ("use_batch_norm", "exclude_last_activation", "last_activation") if options.get(n)]
    odd += [n for n in ("dropout_rate",) if pixels and options.get(n)]
    odd += ["activation"] if pixels and options["activation"] != "relu" else []
    if kind_of(factory) not in ("pixel" if pixels else "vector", "default") or odd:
        what = f"{odd[0]}=" if odd else f"the kind {kind_of(factory)!r}"
        raise UnsupportedError(
            f"encoders of {what} are not taken over; those of {'images' if pixels else 'vectors'} without it are"
        )
    if pixels:
        filters = tuple(tuple(row) for row in options.get("filters") or NATURE_FILTERS)
        return CNNEncoder((options.get("feature_size") or 512,), filters=filters)
    activation = {"swish": "silu"}.get(options["activation"], options["activation"])
    return MLPEncoder(
        tuple(options.get("hidden_units") or (256, 256)),
        activation,
        bool(options.get("use_layer_norm")),
        options.get("dropout_rate") or 0.0,
        norm_after=bool(options.get("use_layer_norm")),
    )
