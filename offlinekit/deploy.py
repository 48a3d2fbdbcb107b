"""Acts with an exported policy by numpy alone: this one file and the exported one are all a robot needs.

A policy of a table with a schema needs the folder `tables` beside this file as well.

    policy = NumpyPolicy.load("policy.safetensors")
    actions = policy.predict(observations)

`algo.export("policy.safetensors")` writes the file. It holds tensors and a list of named operations, no code:
what is not in `OPERATIONS` below is refused.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FORMAT = 1
KEY = "offlinekit.deploy"
LONGEST_HEADER = 1 << 24
"""Bytes of a file's description; that of a policy has some thousand."""
MOST_BYTES, BYTES_PER_BYTE = 1 << 28, 64
"""Bytes that one action may take, and those beyond that for each of the tensors."""
MOST_NUMBERS, MOST_BORDER = 1 << 26, 64
"""Most numbers in an array that a file may have filled, and pixels that a convolution adds to each side."""
PER_UNIT = 4096
"""Numbers of the table of the error function from 0 to 1."""
FORGED = "it takes more memory to act than its tensors account for; it was forged"
LEGAL_ACTIONS = "legal_actions"
"""Key of the leaf of observations that says which actions are legal, uint8 [..., A]."""
NO_LEGAL_ACTIONS = (
    "this policy has learned from data without legal actions, so it cannot keep to them; leave legal_actions out, or "
    "learn from MDPDataset(..., legal_actions=...)"
)
NEEDS_LEGAL_ACTIONS = (
    "this policy has learned from data with legal actions, and needs those of these observations: give "
    "legal_actions=[B, A], 1 where an action is legal; in an environment, "
    "offlinekit.envs.legal_actions.LegalActions(env)"
)
NO_ACTION = (
    "no action that is a number comes out at row {}: float32 overflows at observations so large, or the networks have "
    "diverged; check the units of the observations, and the training if all rows give this"
)
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "|u1", "BOOL": "|b1"}


class PolicyFileError(ValueError):
    """A file that is damaged, or is no exported numpy policy."""


class NumpyPolicy:
    """A greedy policy with its scalers: observations in, actions out, in the units of the data.

    Args:
        description: What `export` wrote: "observations", "operations", "output", "algorithm" and more.
        tensors: The numbers that the operations name, in their order.

    Raises:
        PolicyFileError: For an operation that this version does not have.
    """

    def __init__(self, description: dict[str, Any], tensors: Sequence[Array]) -> None:
        self.description, self._tensors = description, list(tensors)
        self._program = [_call(name, arguments) for name, arguments in description["operations"]]
        self._output, self._space = int(description["output"]), description["observations"]
        self._n_frames = int(description.get("frames", 1))
        self._n_rows = max(int(description.get("history", 1)), self._n_frames)
        legal = dict(self._space.get("items", [])).get(LEGAL_ACTIONS, {})
        self._choices = description.get("choices", legal["shape"]) if legal.get("dtype") == "uint8" else None
        self._left: int | None = None  # Bytes that results may still take, while a file is tried.

    @classmethod
    def load(cls, path: str | Path) -> NumpyPolicy:
        """Reads a policy that `algo.export(path, format="numpy")` wrote.

        Raises:
            FileNotFoundError: If there is no file.
            PolicyFileError: For a file that is damaged, of a later format, or no exported numpy policy.
        """
        description, tensors = read(Path(path))
        try:
            policy = cls(description, [tensors[str(i)] for i in range(len(tensors))])
            policy._left = MOST_BYTES + BYTES_PER_BYTE * sum(tensor.nbytes for tensor in tensors.values())
            policy._act([leaf[None] for leaf in _zeros(description["observations"])])
            policy._left = None
        except PolicyFileError:
            raise
        except Exception as error:  # Whatever a wrong program makes numpy raise.
            raise PolicyFileError(f"{path} describes no policy ({error!r}); export it again") from error
        return policy

    @functools.cached_property
    def schema(self) -> Any:
        """The schema of the table that the policy learned from, by `tables/` beside this file; None without one."""
        data = self.description.get("schema")
        folder = f"{__package__}.tables" if __package__ else "tables"
        return data and importlib.import_module(f"{folder}.table_schema").TableSchema.from_json(data)

    def predict(self, observations: object, *, legal_actions: object = None, labels: bool = False) -> Array:
        """Returns the greedy actions.

        Args:
            observations: [B, ...] or one observation; a dict or tuple of such if the policy saw one; rows of a table
                (a DataFrame, a list of dicts, a dict) if it has learned from one by a schema.
            legal_actions: [B, A] or [A] of 0 and 1, where the data had them.
            labels: Whether actions come as the labels of that schema.

        Returns:
            [B, A] of the dtype of the action space, or int64 [B], or labels; without the axis of B for one observation,
            whose label is a text.

        Raises:
            ValueError: For observations of another shape or dtype, or that are not finite in float32; for legal actions
                that lack or that leave none; for rows that do not fit the schema, and labels without one; and if no
                action comes out that is a number.
        """
        return self._act(*self._taken(observations, legal_actions), labels)

    def _taken(
        self, given: Any, legal_actions: object, row: dict[str, Any] | None = None
    ) -> tuple[list[Any], bool]:
        """Returns the leaves [B, ...] of observations, or of single rows, and whether they were of one step."""
        given = self.schema.as_numbers(given) if self.schema else given
        given = with_legal_actions(given, legal_actions, self._choices)
        leaves = list(_match(given, row or self._space, 1 if row else self._n_rows))
        sizes = [None if leaf.ndim == len(shape) else len(leaf) for leaf, shape in leaves]
        if None in sizes and set(sizes) != {None}:
            raise ValueError("observations must be all of one step or all of a batch, got some of each")
        if len(set(sizes)) > 1:
            raise ValueError(f"observations differ in their batch size: {sizes}")
        return [leaf[None] if None in sizes else leaf for leaf, _ in leaves], None in sizes

    def _act(self, values: list[Any], single: bool = False, labels: bool = False) -> Array:
        """Returns the actions on leaves [B, ...], or the one on those of one step."""
        if labels and not self.schema:
            raise ValueError("this policy did not learn from a table with a schema, so it has no labels")
        is_empty = not len(values[0])
        if is_empty:  # The operations cannot take no rows: they take one of zeros, whose action is cut.
            values = [np.zeros((1, *value.shape[1:]), value.dtype) for value in values]
        values = [*values, *self._tensors]
        with np.errstate(over="ignore", invalid="ignore"):  # What they give is checked.
            for call in self._program:
                values.append(call(values))
                if self._left is not None:
                    self._left -= _n_bytes(values[-1])
                    if self._left < 0:
                        raise PolicyFileError(FORGED)
        actions: Array = _finite(values[self._output])
        actions = actions[0] if single else actions[:0] if is_empty else actions
        return self.schema.decode(actions) if labels else actions

    def as_stateful(self) -> Episode:
        """Returns what acts step by step: `actor.reset()`, then `actor.predict(observation)` in each step."""
        return Episode(self)


class Episode:
    """An episode under way: actions on single observations, of which a policy of histories or stacks remembers some.

    Args:
        policy: Of single observations, of histories [K, ...] of them, or of stacks of their images.
    """

    def __init__(self, policy: NumpyPolicy) -> None:
        self._policy, self._seen, self._n_rows = policy, list[list[Array]](), policy._n_rows
        self._shapes = [leaf.shape for leaf in _zeros(policy._space)]
        self._row = _row_of(policy._space, policy._n_rows, policy._n_frames) if policy._n_rows > 1 else None

    def reset(self) -> None:
        """Forgets the episode before."""
        self._seen = []

    def predict(self, observation: object, *, legal_actions: object = None, labels: bool = False) -> Array:
        """Returns the action on the newest observation, as `NumpyPolicy.predict` does; one it refuses is forgotten."""
        try:
            values, single = self._policy._taken(observation, legal_actions, self._row)
        except ValueError:
            if self._policy._n_frames == 1:  # Else whole stacks are taken, as some environments show them.
                raise
            values, single = self._policy._taken(observation, legal_actions)
        if not single:
            raise ValueError(f"a step takes one observation, got a batch of {len(values[0])}")
        seen = [*self._seen, [value[0].copy() for value in values]][-self._n_rows :]
        given = [self._joined(*each)[None] for each in zip(self._shapes, *seen)]  # noqa: B905  # Of one length.
        action = self._policy._act(given, True, labels)
        self._seen = seen
        return action

    def _joined(self, shape: tuple[int, ...], *own: Array) -> Array:
        """Returns what the policy sees of a leaf after its newest ones, those before an episode as in training."""
        if own[-1].shape == shape:
            return own[-1]
        first = np.zeros_like(own[0]) if self._policy.description.get("frame_pad") == "zero" else own[0]
        whole = [*[first] * (self._n_rows - len(own)), *own]
        return np.concatenate(whole) if first.ndim == len(shape) else np.stack(whole)


def with_legal_actions(observations: Any, legal_actions: object, choices: Sequence[int] | None) -> Any:
    """Returns observations with their legal actions as a leaf, uint8 [..., A]: the rule of all that acts.

    Raises:
        ValueError: If they lack, or leave one of the parts of the action, of so many choices, without a legal one;
            if the policy has learned without (`choices` None) and they are given.
    """
    if choices is None and legal_actions is None:
        return observations
    if choices is None:
        raise ValueError(NO_LEGAL_ACTIONS)
    tree = observations if isinstance(observations, Mapping) else {"observations": observations}
    if (given := tree.get(LEGAL_ACTIONS) if legal_actions is None else legal_actions) is None:
        raise ValueError(NEEDS_LEGAL_ACTIONS)
    flags = legal_flags(given, sum(choices))
    for i, part in enumerate(np.split(flags, np.cumsum(choices)[:-1], -1)):
        if len(rows := np.flatnonzero(~part.any(-1))):
            place = f"row {rows[0]}" + (f" in part {i} of the action" if len(choices) > 1 else "")
            raise ValueError(f"legal_actions has no legal action at {place}; leave rows without a choice out")
    return {**tree, LEGAL_ACTIONS: flags}


def legal_flags(given: object, n_actions: int, name: str = LEGAL_ACTIONS) -> Array:
    """Returns legal actions as uint8 [..., A]; raises ValueError for another A and other numbers than 0 and 1."""
    array = np.asarray(given)
    if array.shape[-1:] != (n_actions,):
        shape, got = ["batch", n_actions], list(array.shape)
        raise ValueError(f"{name} must have shape {shape}, an entry for each action, got {got}")
    if np.ma.is_masked(given) or not ((array == 0) | (array == 1)).all():
        raise ValueError(f"{name} must be booleans, or 0 and 1")
    return array.astype(np.uint8)


def _call(name: str, arguments: list[Any]) -> Callable[[list[Any]], Any]:
    """Returns what applies an operation to the values so far; its argument {"value": i} is the i-th of them."""
    if name not in OPERATIONS:
        raise PolicyFileError(
            f"the operation {str(name)[:80]!r} is not one of this version; use a newer offlinekit/deploy.py"
        )
    function, found = OPERATIONS[name], _resolver(arguments)
    return lambda values: function(*found(values))


def _n_bytes(value: object) -> int:
    """Returns the bytes of a result; of one that is a view those that it stands for."""
    if isinstance(value, (list, tuple)):
        return 8 * len(value) + sum(map(_n_bytes, value))
    own = value.bit_length() ** 2 if isinstance(value, int) else 8  # Numbers of sizes are short.
    return value.nbytes if isinstance(value, np.ndarray) else own


def _resolver(argument: object) -> Callable[[list[Any]], Any]:
    """Returns what finds an argument among the values so far."""
    if isinstance(argument, dict):
        return operator.itemgetter(int(argument["value"]))
    if isinstance(argument, list):
        parts = [_resolver(part) for part in argument]
        return lambda values: [get(values) for get in parts]
    return lambda values: argument


def _zeros(space: dict[str, Any]) -> Iterator[Array]:
    """Yields the leaves of one observation of zeros."""
    for _, part in space.get("items", []):
        yield from _zeros(part)
    if space["kind"] == "leaf":
        yield _filled(space["shape"], 0, space["dtype"])


def _row_of(space: dict[str, Any], n_rows: int, n_frames: int) -> dict[str, Any]:
    """Returns the space of a row of histories, or of single images [C, H, W] of stacks."""
    if (shape := space.get("shape")) is None:
        parts = [[k, p if k == LEGAL_ACTIONS else _row_of(p, n_rows, n_frames)] for k, p in space["items"]]
        return {**space, "items": parts}
    single = [shape[0] // n_rows, *shape[1:]] if space["dtype"] == "uint8" and len(shape) == 3 else shape
    return {**space, "shape": shape[1:] if n_frames == 1 else single}


def _match(given: Any, space: dict[str, Any], n_rows: int) -> Iterator[tuple[Array, list[int]]]:
    """Yields each leaf of observations, of the right dtype, and the shape of one."""
    kind, items = space["kind"], space.get("items", [])
    if kind == "dict":
        named = {str(key): part for key, part in given.items()} if isinstance(given, dict) else {}
        keys = sorted(key for key, _ in items)
        if sorted(named) != keys or len(named) != len(given):
            got = f"keys {sorted(named)}" if named else f"{given!r:.100}"
            raise ValueError(f"observations must be a dict with keys {keys}, got {got}")
        for key, part in items:
            yield from _match(named[key], part, n_rows)
    elif kind == "tuple":
        if not isinstance(given, tuple) or len(given) != len(items):
            raise ValueError(f"observations must be a tuple of {len(items)}, got {given!r:.100}")
        for i, part in items:
            yield from _match(given[i], part, n_rows)
    else:
        leaf, shape = _as_seen(np.asanyarray(given), space["dtype"]), list(space["shape"])
        if shape not in (list(leaf.shape), list(leaf.shape[1:])):
            raise shape_error(shape, leaf.shape, n_rows)
        yield leaf, shape


def shape_error(shape: Sequence[int], got: Sequence[int], n_rows: int = 1) -> ValueError:
    """Returns the error for observations of another shape than one has, one being of so many rows or images."""
    one, several, rest = list(shape), ["batch", *shape], ""
    if n_rows > 1:
        kind = "images" if len(one) == 3 else "rows"
        rest = f"; give single {kind} to as_stateful().predict, which remembers the last {n_rows}"
    elif len(one) == 3 <= len(got) and list(got[-2:]) == one[1:] and 0 < got[-3] < one[0]:
        rest = "; export it again to give single images of a stack to as_stateful().predict"
    expected = f"shape {one} for one or {several} for several"
    return ValueError(f"observations must have {expected}, got {list(got)}{rest}")


def _as_seen(given: Array, dtype: str) -> Array:
    """Returns observations in the policy's dtype; raises ValueError for what that would change."""
    if given.dtype.kind not in "fiub" or np.ma.is_masked(given):
        raise ValueError(f"observations must hold numbers, none of them masked, got dtype {given.dtype}")
    with np.errstate(invalid="ignore", over="ignore"):
        leaf = given.astype(dtype, copy=False)
    seen = leaf if leaf.dtype.kind == "f" else given
    if seen.dtype.kind == "f" and not np.isfinite(seen).all():
        place = np.argwhere(~np.isfinite(seen))[0].tolist()
        raise ValueError(
            f"observations must be finite, got {seen[tuple(place)]} at {place}; fill it in as in the data"
        )
    if leaf.dtype.kind == "u" and leaf.dtype != given.dtype:
        changed = given if given.dtype.kind == "b" else leaf != given  # A pixel that is on is no 1.
        if changed.any():
            got = f"{given.dtype} with the value {given[changed][0]}"
            remedy = "images scaled to [0, 1] go back by np.round(x * 255).astype(np.uint8)"
            raise ValueError(f"observations must be {dtype}, as those of the data, got {got}; {remedy}")
    return leaf


# The file.


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Reads the description and the tensors of a safetensors file and checks them against their hash.

    Raises:
        FileNotFoundError: If there is no file.
        PolicyFileError: For a file that is damaged, or that `export` did not write in this format.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no policy file {path}")
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > min(LONGEST_HEADER, path.stat().st_size - 8):
            raise PolicyFileError(f"{path} is no safetensors file, or is truncated; export the policy again")
        text = file.read(size)
    try:
        header = json.loads(text)
        description = json.loads(header.pop("__metadata__", {}).get(KEY, "null"))
    except (ValueError, AttributeError, RecursionError) as error:
        raise PolicyFileError(f"{path} is damaged: its header cannot be read ({error})") from error
    if not isinstance(description, dict):
        remedy = "write one with algo.export(path, format='numpy') or offlinekit export RUN --format numpy"
        raise PolicyFileError(f"{path} is a safetensors file, but no numpy policy; {remedy}")
    if description.get("format") != FORMAT:
        found, remedy = description.get("format"), "use the offlinekit/deploy.py of the version that wrote it"
        raise PolicyFileError(f"{path} has format {found!r}, this version reads {FORMAT}; {remedy}")
    try:
        end = max((int(facts["data_offsets"][1]) for facts in header.values()), default=0)
        with path.open("rb") as file:
            body = memoryview(file.read(8 + size + max(end, 0)))[8 + size :]
        tensors = {name: _tensor(facts, body) for name, facts in header.items()}
        actual = digest(description, tensors)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise PolicyFileError(f"{path} is damaged: {error}") from error
    if description.get("sha256") != actual:
        raise PolicyFileError(f"{path} is damaged: it does not match its hash; restore it from a copy")
    return description, tensors


def digest(description: dict[str, Any], tensors: dict[str, Array]) -> str:
    """Returns the SHA-256 of a description, but for "sha256" itself, and of tensors."""
    facts = {key: value for key, value in description.items() if key != "sha256"}
    sha256 = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        sha256.update(f" {name} {value.dtype.str} {list(tensors[name].shape)} ".encode() + value.tobytes())
    return sha256.hexdigest()


def _tensor(facts: dict[str, Any], body: memoryview) -> Array:
    start, end = (int(offset) for offset in facts["data_offsets"])
    dtype, shape = np.dtype(DTYPES[facts["dtype"]]), [int(length) for length in facts["shape"]]
    if min(shape, default=0) < 0 or not 0 <= start <= end <= len(body):
        raise ValueError(f"a tensor of shape {shape} at bytes {start} to {end} of {len(body)}")
    if math.prod(shape) * dtype.itemsize != end - start:
        raise ValueError(f"a tensor of shape {shape} and {dtype} in {end - start} bytes")
    return np.frombuffer(body[start:end], dtype).reshape(shape)


# The operations, with the meaning and the arguments of the ATen operators of their names.


def _axes(dim: int | list[int]) -> int | tuple[int, ...]:
    return tuple(dim) if isinstance(dim, list) else dim


def _filled(size: list[int], value: float, dtype: str | None, *_: object) -> Array:
    if math.prod(size) > MOST_NUMBERS:
        raise ValueError(f"an array of shape {size} is larger than {MOST_NUMBERS:,} numbers")
    return np.full(size, value, dtype or np.float32)


def _finite(x: Array) -> Array:
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise ValueError(NO_ACTION.format(np.argwhere(~np.isfinite(x))[0][0]))
    return x


def _linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    product: Array = x @ weight.T
    return product if bias is None else product + bias


def _layer_norm(
    x: Array, shape: list[int], weight: Array | None, bias: Array | None, eps: float, *_: object
) -> Array:
    axes = tuple(range(-len(shape), 0))
    centred: Array = x - x.mean(axes, keepdims=True)
    normed = centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + np.float32(eps))
    scaled: Array = normed if weight is None else normed * weight
    return scaled if bias is None else scaled + bias


def _log_softmax(x: Array, dim: int, *_: object) -> Array:
    shifted: Array = x - x.max(dim, keepdims=True)
    logs: Array = shifted - np.log(np.exp(shifted).sum(dim, keepdims=True))
    return logs


def _embedding(weight: Array, index: Array, *_: object) -> Array:
    if np.any(wrong := (index < 0) | (index >= len(weight))):  # Numpy would count some from the end.
        raise ValueError(f"numbers of tokens must be from 0 to {len(weight) - 1}, got {index[wrong][0]}")
    return weight[index]


def _conv2d(
    x: Array, weight: Array, bias: Array | None, stride: list[int], padding: list[int], dilation: Any, n: int
) -> Array:
    if set(dilation) != {1} or n != 1:
        raise ValueError("a convolution with dilation or groups is not one of this version")
    windows = _windows(x, weight.shape[2:], stride, padding, 0.0)
    out: Array = np.tensordot(windows, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    return out if bias is None else out + bias[:, None, None]


def _windows(x: Array, size: Sequence[int], stride: list[int], padding: list[int], value: float) -> Array:
    """Returns the windows [B, C, Y, X, *size] of images within a border of a value."""
    if max(padding) > MOST_BORDER:
        raise ValueError(f"a border of {max(padding)} pixels is wider than {MOST_BORDER}")
    borders = ((0, 0), (0, 0), (padding[0],) * 2, (padding[-1],) * 2)
    x = np.pad(x, borders, constant_values=value) if max(padding) else x
    windows = np.lib.stride_tricks.sliding_window_view(x, size, (2, 3))
    return windows[:, :, :: stride[0], :: stride[1]]


def _gelu(x: Array, approximate: str = "none") -> Array:
    if approximate == "tanh":
        return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + _erf(x * np.float32(math.sqrt(0.5))))


@functools.cache
def _erf_table() -> Array:
    """Returns the error function of 0, 1 / 4096, ... to beyond 4, where it is 1 for float32."""
    return np.array([math.erf(i / PER_UNIT) for i in range(4 * PER_UNIT + 2)], np.float32)


def _erf(x: Array) -> Array:
    """Returns the error function within 1e-7, in straight lines between table entries: 12 times as fast as math.erf."""
    place, table = np.minimum(np.abs(x), np.float32(4.0)) * np.float32(PER_UNIT), _erf_table()
    left = (whole := np.floor(place)).astype(np.int32)
    signed: Array = np.copysign(table[left] + (place - whole) * (table[left + 1] - table[left]), x)
    return signed


def _mish(x: Array) -> Array:
    """Returns x tanh(log(1 + y)) = x y (y + 2) / (y (y + 2) + 2) with y = e^x; from 20 on that is x."""
    product = (y := np.exp(np.minimum(x, 20.0))) * (y + 2.0)
    return x * (product / (product + 2.0))


def _clamp(x: Array, low: float | Array | None = None, high: float | Array | None = None) -> Array:
    raised = x if low is None else np.maximum(x, low)  # Half the time of np.clip.
    return raised if high is None else np.minimum(raised, high)


def _product(x: Any, y: Any) -> Any:
    if isinstance(x, list) or isinstance(y, list):
        raise ValueError("a list is multiplied, which would repeat it")
    return x * y


OPERATIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "add": lambda x, y, alpha=1: x + (y if alpha == 1 else alpha * y),
    "amax": lambda x, dim, keep=False: x.max(_axes(dim) or None, keepdims=keep),
    "amin": lambda x, dim, keep=False: x.min(_axes(dim) or None, keepdims=keep),
    "argmax": lambda x, dim=None, keep=False: (_finite(x.max(dim)), x.argmax(dim, keepdims=keep))[1],
    "baddbmm": lambda b, x, y, beta=1, alpha=1: beta * b + alpha * (x @ y),
    "bitwise_and": np.bitwise_and,
    "bitwise_not": np.bitwise_not,
    "bitwise_or": np.bitwise_or,
    "cast": lambda x, to, *_: (x if not to or "f" in to else _finite(x)).astype(to or x.dtype, copy=False),
    "cat": lambda parts, dim=0: np.concatenate(parts, dim),
    "clamp": _clamp,
    "conv2d": _conv2d,
    "cos": np.cos,
    "cumsum": lambda x, dim, dtype=None: x.cumsum(dim, dtype),
    "div": lambda x, y: x / y,
    "elu": lambda x, a=1.0, scale=1.0, k=1.0: scale * np.where(x > 0, x, a * np.expm1(np.minimum(x, 0) * k)),
    "embedding": _embedding,
    "exp": np.exp,
    "expand": lambda x, size, *_: np.broadcast_to(
        x, [x.shape[i - len(size)] if n < 0 else n for i, n in enumerate(size)]
    ),
    "flatten": lambda x, i=0, j=-1: x.reshape(*x.shape[: i % x.ndim], -1, *x.shape[j % x.ndim + 1 :]),
    "floordiv": operator.floordiv,
    "full": _filled,
    "full_like": lambda x, value, dtype=None, *_: np.full_like(x, value, dtype),
    "gather": lambda x, dim, index, *_: np.take_along_axis(x, index, dim),
    "ge": lambda x, y: x >= y,
    "gelu": _gelu,
    "getitem": lambda parts, index: parts[index],
    "layer_norm": _layer_norm,
    "linear": _linear,
    "log": np.log,
    "log_softmax": _log_softmax,
    "masked_fill": lambda x, mask, value: np.where(mask, x.dtype.type(value), x),
    "matmul": np.matmul,
    "max_pool2d": lambda x, size, stride, border, *_: _windows(x, size, stride, border, -np.inf).max((4, 5)),
    "maximum": np.maximum,
    "mean": lambda x, dim=None, keep=False, *_: x.mean(_axes(dim), keepdims=keep),
    "minimum": np.minimum,
    "mish": _mish,
    "movedim": lambda x, source, to: np.moveaxis(x, _axes(source), _axes(to)),
    "mul": _product,
    "ne": lambda x, y: x != y,
    "neg": np.negative,
    "permute": lambda x, dims: x.transpose(dims),
    "pow": np.power,
    "relu": lambda x: np.maximum(x, 0),
    "reshape": lambda x, shape: x.reshape(shape),
    "round": np.rint,
    "select": lambda x, dim, index: np.take(x, index, dim),
    "sigmoid": lambda x: 0.5 * (1.0 + np.tanh(0.5 * x)),
    "silu": lambda x: 0.5 * x * (1.0 + np.tanh(0.5 * x)),
    "sin": np.sin,
    "size": lambda x, dim: x.shape[dim],
    "slice": lambda x, dim, *ends: x.swapaxes(0, dim)[slice(*ends)].swapaxes(0, dim),
    "softmax": lambda x, dim, *_: np.exp(_log_softmax(x, dim)),
    "softplus": lambda x, beta=1.0, *_: np.logaddexp(beta * x, 0).astype(x.dtype) / beta,
    "split": lambda x, size, dim=0: np.split(
        x, range(size, x.shape[dim], size) if isinstance(size, int) else np.cumsum(size)[:-1], dim
    ),
    "sqrt": np.sqrt,
    "squeeze": lambda x, dim: x.squeeze(tuple(d for d in np.atleast_1d(dim) if x.shape[d] == 1)),
    "stack": lambda parts, dim=0: np.stack(parts, dim),
    "sub": lambda x, y, alpha=1: x - (y if alpha == 1 else alpha * y),
    "sum": lambda x, dim=None, keep=False, *_: x.sum(_axes(dim), keepdims=keep),
    "tanh": np.tanh,
    "transpose": lambda x, one, other: np.swapaxes(x, one, other),
    "unsqueeze": lambda x, dim: np.expand_dims(x, dim),
}
"""Operations that a file may name."""
