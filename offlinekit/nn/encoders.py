"""Encoders from observations to features: named, saved as JSON, or a module of the user's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from functools import cache, partial
from math import inf, isfinite
from typing import Any, TypeAlias

from gymnasium import spaces
from torch import nn

from offlinekit.envs.legal_actions import has_legal_actions, space_of_rest
from offlinekit.envs.past.sight import row_space, space_leaves
from offlinekit.errors import did_you_mean
from offlinekit.fields import Count, checked
from offlinekit.ground.hints import answers_guesses, answers_keywords
from offlinekit.naming import register
from offlinekit.nn.random import Random, own_dropout
from offlinekit.nn.trunks import (
    HistoryTrunk,
    RecurrentTrunk,
    Trunk,
    UserTrunk,
    WithoutLegalActions,
    is_image,
)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
}
INITS = ("torch", "glorot_uniform", "truncated_normal")
NATURE_FILTERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))


@answers_keywords
@dataclass(frozen=True)
class MLPEncoder:
    """Fully connected layers over the flattened observation (and the action, in a critic).

    Each hidden layer is linear, then layer norm, activation and dropout, as configured.

    Raises:
        ValueError: For sizes, names and ranges that there are not.
    """

    hidden_sizes: tuple[int, ...] = (256, 256)  # Units of each hidden layer.
    activation: str = "relu"  # One of relu, gelu, silu, mish, tanh, elu.
    layer_norm: bool = False  # Whether each layer's output is normalised before its activation.
    dropout: float = 0.0  # Share of hidden units dropped in training, in [0, 1).
    _: KW_ONLY
    norm_after: bool = False  # Whether layer norm follows the activation instead.
    input_norm: bool = False  # Whether what the first layer sees is normalised.
    init: str = "torch"  # First numbers of layers: torch's, or one of the others of INITS, with biases 0.
    hidden_bias: float | None = None  # First biases of hidden layers; None leaves them to init.
    head_range: float | None = None  # Bound of the last layer's first numbers; None leaves them to init.

    def __post_init__(self) -> None:
        given: object = self.hidden_sizes  # Of a file it may be anything.
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"hidden_sizes must be whole numbers, such as [256, 256], got {given!r}")
        sizes = tuple(checked("each of hidden_sizes", size, Count) for size in given)
        object.__setattr__(self, "hidden_sizes", sizes)
        _check_choice("activation", self.activation, ACTIVATIONS)
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        _check_choice("init", self.init, INITS)
        if self.hidden_bias is not None and not isfinite(self.hidden_bias):
            raise ValueError(f"hidden_bias must be None or finite, got {self.hidden_bias}")
        if self.head_range is not None and not 0.0 < self.head_range < inf:
            raise ValueError(f"head_range must be None or positive and finite, got {self.head_range}")

    def create_trunk(self, space: spaces.Space[Any]) -> nn.Module:
        """Makes the part that sees the observation alone: here it only flattens."""
        return Trunk(space, {})


@answers_keywords
@dataclass(frozen=True)
class ResidualEncoder(MLPEncoder):
    """A linear layer, then blocks that each add to what they see: dropout, layer norm, 4 times wider and back.

    Blocks of one width add to their very inputs; if the width changes, to a linear map of them.
    Source: the policy of Hansen-Estruch et al. 2023, arXiv:2304.10573.
    """

    hidden_sizes: tuple[int, ...] = (256, 256, 256)  # Units that come out of each block.
    activation: str = "mish"  # One of relu, gelu, silu, mish, tanh, elu.
    layer_norm: bool = True  # Whether what each block sees is normalised.
    dropout: float = 0.1  # Share of what each block sees dropped in training, in [0, 1).

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.norm_after:
            raise ValueError(
                "norm_after must be False: residual blocks normalise what they see; use an MLPEncoder"
            )


@answers_keywords
@dataclass(frozen=True)
class CNNEncoder(MLPEncoder):
    """Convolutions over each image of the observation, then fully connected layers.

    Images are uint8 of [C, H, W] or [H, W, C]; parts of a dict or tuple that are no images are flattened.
    Source of the default filters: Mnih et al. 2015, "Human-level control", Nature 518.
    """

    hidden_sizes: tuple[int, ...] = (512,)  # Units of each hidden layer after the convolutions.
    filters: tuple[tuple[int, int, int], ...] = NATURE_FILTERS  # (channels, kernel, stride) of each.
    _: KW_ONLY
    random_shift: int = 0  # Pixels by which training shifts images at random (DrQ); 4 is the paper's.

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shift(self.random_shift)
        object.__setattr__(self, "filters", tuple(tuple(int(x) for x in row) for row in self.filters))

    def create_trunk(self, space: spaces.Space[Any]) -> nn.Module:
        """Makes the convolutions, one stack for each image in the observation space."""
        return Trunk(space, {"filters": self.filters})


@answers_keywords
@dataclass(frozen=True)
class ImpalaEncoder(MLPEncoder):
    """Residual convolutions over each image, then fully connected layers; parts that are no images are flattened.

    Source: the deep network of IMPALA, Espeholt et al. 2018, arXiv:1802.01561, figure 3, with its shapes as defaults;
    `n_blocks=1` is the small one of OGBench.
    """

    hidden_sizes: tuple[int, ...] = (256,)  # Units of each hidden layer after the convolutions.
    channels: tuple[int, ...] = (16, 32, 32)  # Of each section, which halves the sides of what it sees.
    n_blocks: int = 2  # Residual blocks in each section.
    random_shift: int = 0  # Pixels by which training shifts images at random (DrQ); 4 is the paper's.

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shift(self.random_shift)
        object.__setattr__(self, "channels", tuple(int(size) for size in self.channels))
        if not self.channels or min(self.channels) < 1 or self.n_blocks < 0:
            raise ValueError(
                f"channels must be positive and n_blocks at least 0, got {self.channels} and {self.n_blocks}"
            )

    def create_trunk(self, space: spaces.Space[Any]) -> nn.Module:
        """Makes the convolutions, sections of residual blocks for each image in the observation space."""
        return Trunk(space, {"channels": self.channels, "n_blocks": self.n_blocks})


@answers_keywords
@dataclass(frozen=True)
class GRUEncoder(CNNEncoder):
    """A gated recurrent unit over the rows of a history, then fully connected layers; needs `history_length` above 1.

    Each row is flattened, its images seen by the convolutions. The state is zero before the first row of the history.
    No gradient passes through the first `burn_in` rows, which only bring the state to where it would be.
    Sources: Cho et al. 2014, arXiv:1406.1078, as torch.nn.GRU; burn-in of Kapturowski et al. 2019 (R2D2), section 3.
    """

    hidden_sizes: tuple[int, ...] = (256,)  # Units of each hidden layer after the recurrent unit.
    state_size: int = 128  # Numbers of the state.
    burn_in: int = 0  # First rows of a history without gradient, below `history_length`.

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.state_size < 1 or self.burn_in < 0:
            raise ValueError(
                f"state_size must be at least 1 and burn_in at least 0, got {self.state_size} and {self.burn_in}"
            )

    def create_trunk(self, space: spaces.Space[Any]) -> nn.Module:
        """Makes the recurrent unit behind a trunk of single rows.

        Raises:
            ValueError: For observations without a history, or a burn-in that leaves no row.
        """
        row, n_rows = row_space(space), (space_leaves(space)[0].shape or (1,))[0]
        if row is None:
            raise ValueError("a GRUEncoder runs over a history; set history_length above 1, such as 16")
        if self.burn_in >= n_rows:
            raise ValueError(
                f"burn_in must be below history_length={n_rows}, which leaves rows to learn from, got {self.burn_in}"
            )
        return RecurrentTrunk(super().create_trunk(row), n_rows, self.state_size, self.burn_in)


@dataclass(frozen=True)
class ModuleEncoder(MLPEncoder):
    """A module of the user's own: `create(observation_space)` gives an nn.Module, observations -> [B, F].

    In a critic the action joins its features before `hidden_sizes` and the head.
    """

    hidden_sizes: tuple[int, ...] = ()
    create: Callable[[spaces.Space[Any]], nn.Module] = field(default=nn.Identity)
    name: str = "module"

    def create_trunk(self, space: spaces.Space[Any]) -> nn.Module:
        """Makes the user's module and finds the size of its features."""
        try:
            module = self.create(space)
        except TypeError as error:
            raise TypeError(
                f"the encoder factory {self.name!r} failed: {error}; it takes the observation space alone and returns "
                "an nn.Module, observations -> features [B, F]"
            ) from error
        return UserTrunk(module, space)


Encoder: TypeAlias = (
    "str | Sequence[int] | Mapping[str, Any] | MLPEncoder | Callable[[spaces.Space[Any]], nn.Module]"
)
BUILT_IN = {
    "mlp": MLPEncoder,
    "cnn": CNNEncoder,
    "residual": ResidualEncoder,
    "impala": ImpalaEncoder,
    "gru": GRUEncoder,
}
_ENCODERS: dict[str, Callable[..., MLPEncoder]] = {**BUILT_IN}
_FACTORIES: dict[str, Callable[..., nn.Module]] = {}


@answers_guesses
def register_encoder(
    name: str, *, overwrite: bool = False
) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Names a user's module factory, so that policies which use it can be loaded.

    Args:
        name: In files and as `encoder=name`.
        overwrite: Whether to replace the factory of another module.

    Raises:
        ValueError: If the name is that of a built-in encoder, or of another module's factory.
    """

    def decorate(create: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        if name in ("auto", *BUILT_IN):
            raise ValueError(f"the encoder name {name!r} is taken; choose another")
        register(_FACTORIES, name, create, overwrite)
        _ENCODERS[name] = partial(ModuleEncoder, create=create, name=name)
        return create

    return decorate


def resolve_encoder(encoder: Encoder, space: spaces.Space[Any]) -> MLPEncoder:
    """Returns the encoder that a name, hidden sizes, a dict of JSON, a factory or "auto" stands for.

    "auto" takes convolutions if the observation holds an image, else fully connected layers.

    Raises:
        ValueError: For an unknown name.
        TypeError: For a module instead of a factory, or a thing of another type.
    """
    encoder = as_encoder(encoder)
    if isinstance(encoder, nn.Module):
        kind = type(encoder).__name__
        raise TypeError(
            f"encoder got one {kind}, but each network needs its own; give a function that makes it, such as "
            f"encoder=lambda space: {kind}(...)"
        )
    if not isinstance(encoder, (str, MLPEncoder, Mapping)) and not callable(encoder):
        raise TypeError(
            "encoder must be a name, hidden sizes such as [256, 256], an encoder or a factory, observation space -> "
            f"nn.Module, that makes the module anew for each network; got {encoder!r:.100}"
        )
    if isinstance(encoder, MLPEncoder):
        return encoder
    if isinstance(encoder, Mapping):
        options = dict(encoder)
        kind = options.pop("type", "mlp")
        return _named(_kind_for(space) if kind == "auto" else kind, options)
    if callable(encoder):
        return ModuleEncoder(create=encoder, name=_factory_name(encoder))
    return _named(_kind_for(space) if encoder == "auto" else encoder, {})


def _kind_for(space: spaces.Space[Any]) -> str:
    """Returns the encoder that "auto" is for a space."""
    return "cnn" if any(is_image(leaf) for leaf in space_leaves(row_space(space) or space)) else "mlp"


def as_encoder(given: Encoder) -> Encoder:
    """Returns hidden sizes such as [256, 256] as the encoder that they mean, "auto" with these layers; others as is."""
    if isinstance(given, (list, tuple)) and given and all(isinstance(size, int) for size in given):
        return {"type": "auto", "hidden_sizes": list(given)}
    return given


def convolves(encoder: MLPEncoder) -> bool:
    """Returns whether an encoder is of no use without images; one of histories only if its filters were chosen."""
    if isinstance(encoder, GRUEncoder):
        return encoder.filters != NATURE_FILTERS
    return isinstance(encoder, CNNEncoder | ImpalaEncoder)


def embedding_encoder(encoder: Encoder, space: spaces.Space[Any]) -> Encoder:
    """Returns the encoder in front of a linear embedding of observations: for "auto" one without hidden layers."""
    return replace(resolve_encoder(encoder, space), hidden_sizes=()) if encoder == "auto" else encoder


def check_encoder(encoder: Encoder) -> None:
    """Raises ValueError for an encoder that no observation space could give a meaning."""
    if encoder != "auto":
        resolve_encoder(encoder, spaces.Box(-1.0, 1.0, (1,)))


def encoder_to_json(encoder: Encoder) -> str | Mapping[str, Any]:
    """Returns what `resolve_encoder` turns back into the same encoder, as a file of JSON gives it: lists, no tuples."""
    encoder = as_encoder(encoder)
    if isinstance(encoder, MLPEncoder):
        names = {kind: name for name, kind in BUILT_IN.items()}
        kind = names.get(type(encoder), getattr(encoder, "name", type(encoder).__name__))
        options = asdict(encoder)
        options.pop("create", None)
        options.pop("name", None)
        return {"type": kind, **{name: _as_lists(value) for name, value in options.items()}}
    if isinstance(encoder, str):
        return encoder
    if isinstance(encoder, Mapping):
        return {name: _as_lists(value) for name, value in encoder.items()}
    assert callable(encoder)
    return {"type": _factory_name(encoder)}


def _as_lists(value: object) -> object:
    return [_as_lists(part) for part in value] if isinstance(value, tuple) else value


def _check_shift(most: int) -> None:
    if not isinstance(most, int) or most < 0:
        raise ValueError(f"random_shift must be a number of pixels, 0 for none, got {most!r}")


def _check_choice(name: str, chosen: str, choices: Collection[str]) -> None:
    if chosen not in choices:
        hint = did_you_mean(chosen, choices)
        raise ValueError(f"{name} must be one of {sorted(choices)}, got {chosen!r}{hint}")


@cache
def _arguments_of(made: Callable[..., MLPEncoder]) -> list[str]:
    return list(inspect.signature(made).parameters)


def _factory_name(create: Callable[..., Any]) -> str:
    registered = [name for name, factory in _FACTORIES.items() if factory is create]
    name = registered[0] if registered else getattr(create, "__name__", "module")
    return f"{name} (a factory)" if name in ("auto", *BUILT_IN) else name


def is_encoder_name(name: str) -> bool:
    """Returns whether `encoder=name` means an encoder in this process."""
    return name == "auto" or name in _ENCODERS


def _named(name: str, options: dict[str, Any]) -> MLPEncoder:
    if name not in _ENCODERS:
        hint = did_you_mean(name, ["auto", *_ENCODERS])
        known = ", ".join(["auto", *_ENCODERS])
        raise ValueError(
            f"encoder must be one of {known}, a factory or registered by @register_encoder, "
            f"got {name!r}{hint}"
        )
    made = _ENCODERS[name]
    arguments = _arguments_of(made)
    for option in options:
        if option not in arguments:
            hint = did_you_mean(option, arguments) or f"; it takes: {', '.join(arguments)}"
            raise ValueError(f"encoder {name!r} does not take {option!r}{hint}")
    return made(**options)


def make_trunk(encoder: MLPEncoder, space: spaces.Space[Any], random: Random) -> nn.Module:
    """Makes an encoder's trunk; dropout inside it draws from the agent's own generator."""
    rest, row = space_of_rest(space), row_space(space)
    if row is None or isinstance(encoder, GRUEncoder | ModuleEncoder):
        trunk = encoder.create_trunk(rest)
    else:
        trunk = HistoryTrunk(encoder.create_trunk(row), rest)
    own_dropout(trunk, random)
    return WithoutLegalActions(trunk) if has_legal_actions(space) else trunk
