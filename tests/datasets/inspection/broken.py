"""Broken columns by name, each with the field that is wrong: every field with all that can be wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

N, E = 8, 2
Case = tuple[dict[str, Any], str]


def sound(**options: Any) -> dict[str, Any]:
    """Two episodes of four rows: by a terminal, and by a timeout."""
    random = np.random.default_rng(0)
    return {
        "observations": random.normal(size=(N, 3)).astype(np.float32),
        "actions": random.uniform(-1, 1, (N, 2)).astype(np.float32),
        "rewards": random.normal(size=N),
        "terminals": np.arange(N) == 3,
        "timeouts": np.arange(N) == 7,
        "action_space": spaces.Box(-1, 1, (2,)),
        **options,
    }


def spoiled(column: Any, row: Any, value: Any) -> Any:
    column = np.array(column, np.float64)
    column[row] = value
    return column


def cases() -> Iterator[tuple[str, Case]]:
    """Yields name, columns and the wrong field."""
    for name in ("rewards", "behavior_log_probs"):
        yield from numbers(name)
    for name in ("terminals", "timeouts", "episode_terminals", "final_known"):
        yield from flags(name)
    for name in ("observations", "next_observations", "final_observations"):
        yield from trees(name)
    for name, rows in (("extras", N), ("episode_extras", E)):
        yield from further(name, rows)
    yield from actions()
    yield from facts()


def numbers(name: str) -> Iterator[tuple[str, Case]]:
    good = np.zeros(N)
    wrong = {
        "length": good[:5],
        "shape": np.zeros((N, 2)),
        "text": good.astype(str),
        "complex": good.astype(complex),
        "objects": np.array([None] * N),
        "a single number": np.float32(0),
        "ragged": [[0.0], [0.0, 1.0]],
        "NaN": spoiled(good, 3, np.nan),
        "infinity": spoiled(good, 7, -np.inf),
        "too large": spoiled(good, 0, -1e300),
    }
    for kind, column in wrong.items():
        field = (
            "observations" if (name, kind) == ("rewards", "length") else name
        )  # Rewards say the number of rows.
        yield f"{name}: {kind}", (sound(**{name: column}), field)


def flags(name: str) -> Iterator[tuple[str, Case]]:
    finals = {"final_observations": np.ones((E, 3))} if name == "final_known" else {}
    good = np.ones(E) if finals else np.isin(np.arange(N), [3, 7])
    wrong = {
        "length": good[:1],
        "shape": np.stack([good, good], axis=1),
        "half": good / 2,
        "NaN": spoiled(good, 0, np.nan),
        "counts": good * 2,
        "text": good.astype(str),
        "objects": np.array([None] * len(good)),
    }
    for kind, column in wrong.items():
        yield f"{name}: {kind}", (sound(**{name: column}, **finals), name)


def trees(name: str) -> Iterator[tuple[str, Case]]:
    good = np.ones((E if name.startswith("final") else N, 3), np.float32)
    wrong = {
        "length": good[:1],
        "no feature axis": good[:, 0],
        "no features": good[:, :0],
        "objects": np.array([[None] * 3] * len(good)),
        "text": good.astype(str),
        "ragged": [[1.0], [1.0, 2.0]],
        "an empty dict": {},
        "an empty tuple": (),
        "NaN": spoiled(good, (1, 2), np.nan),
        "infinity": spoiled(good, (0, 0), np.inf),
        "too large": spoiled(good, (1, 1), 1e39),
    }
    if name != "observations":
        wrong |= {
            "another width": good[:, :2],
            "pixels": good.astype(np.uint8),
            "another structure": {"a": good},
            "one branch too many": (good, good),
        }
    for kind, tree in wrong.items():
        yield f"{name}: {kind}", (sound(**{name: tree}), name)
    broken = spoiled(good, (1, 0), np.nan)
    beside = (
        {} if name == "observations" else {"observations": {"a": (np.ones((N, 3)),), "b": np.ones((N, 1))}}
    )
    for kind, leaf, field in (("leaf NaN", broken, "['a'][0]"), ("leaf length", good[:1], "['a'][0]")):
        tree = {"a": (leaf,), "b": good[:, :1]}
        yield f"{name}: {kind}", (sound(**{**beside, name: tree}), f"{name}{field}")
    twice = {1: good, "1": good}
    yield f"{name}: keys that read alike", (sound(**{name: twice}), name)


def further(name: str, rows: int) -> Iterator[tuple[str, Case]]:
    wrong: dict[str, tuple[Any, str]] = {
        "length": ({"a": np.zeros(rows + 1)}, "['a']"),
        "objects": ({"a": np.array([None] * rows)}, "['a']"),
        "text": ({"a": np.array(["x"] * rows)}, "['a']"),
        "a single number": ({"a": 1}, "['a']"),
        "nothing in a row": ({"a": np.zeros((rows, 0))}, "['a']"),
        "no dict": (np.zeros(rows), ""),
    }
    for kind, (columns, field) in wrong.items():
        yield f"{name}: {kind}", (sound(**{name: columns}), f"{name}{field}")


def actions() -> Iterator[tuple[str, Case]]:
    box, good = spaces.Box(-1, 1, (2,)), sound()["actions"]
    numbered = np.arange(N) % 2
    wrong: dict[str, tuple[Any, Any]] = {
        "length": (good[:5], box),
        "images": (np.zeros((N, 2, 2)), None),
        "nothing in a row": (good[:, :0], None),
        "objects": (np.array([None] * N), None),
        "another width": (good[:, :1], box),
        "NaN": (spoiled(good, (2, 0), np.nan), box),
        "too large": (spoiled(good, (2, 0), 1e300), None),
        "outside the box": (spoiled(good, (5, 1), 1.5), box),
        "outside a box of two ranges": (
            spoiled(good, (5, 1), 1.5),
            spaces.Box(-np.array([1, 1]), np.array([9, 1])),
        ),
        "several discrete": (np.zeros((N, 2), int), None),
        "negative": (numbered - 1, None),
        "too many": (numbered + 1, spaces.Discrete(2)),
        "fractions": (numbered / 2, spaces.Discrete(2)),
        "NaN among numbers": (spoiled(numbered, 4, np.nan), spaces.Discrete(2)),
        "identities": (numbered + 2**40, None),
    }
    for kind, (column, space) in wrong.items():
        yield f"actions: {kind}", (sound(actions=column, action_space=space), "actions")
    for space in (spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1)]), spaces.Dict(), spaces.Text(3), "Box"):
        yield f"action_space: {space}", (sound(actions=numbered, action_space=space), "action_space")
    for kind, log_probs in (("above 0", np.full(N, 0.5)), ("one above 0", spoiled(np.zeros(N), 6, 1e-3))):
        columns = sound(actions=numbered, action_space=None, behavior_log_probs=log_probs)
        yield f"behavior_log_probs: {kind}", (columns, "behavior_log_probs")


def facts() -> Iterator[tuple[str, Case]]:
    for name in ("observations", "actions", "rewards", "terminals"):
        yield f"{name}: missing", (sound(**{name: None}), name)
    empty = {name: column[:0] for name, column in sound().items() if name != "action_space"}
    yield "no rows", (empty, "rewards")
    ends = np.isin(np.arange(N), [2, 7])
    yield (
        "terminals: where episode_terminals is not",
        (sound(timeouts=None, episode_terminals=ends), "terminals"),
    )
    yield (
        "timeouts: where episode_terminals is not",
        (
            sound(terminals=np.zeros(N), timeouts=np.arange(N) == 4, episode_terminals=ends),
            "timeouts",
        ),
    )
    yield "final_known: alone", (sound(final_known=[0, 1]), "final_known")
    both = {"next_observations": np.ones((N, 3)), "final_observations": np.ones((E, 3))}
    yield "final_observations: beside next ones", (sound(**both), "final_observations")
    for space in (
        spaces.Box(-1, 1, (4,)),
        spaces.Dict({"a": spaces.Box(-1, 1, (3,))}),
        spaces.Box(0, 255, (3,), np.uint8),
    ):
        yield f"observation_space: {space}", (sound(observation_space=space), "observations")
    yield "observation_space: Discrete", (sound(observation_space=spaces.Discrete(3)), "observation_space")
    for kind, metadata in {
        "no JSON": {"a": object()},
        "an array": {"a": np.zeros(2)},
        "no dict": ["a"],
        "equal scores": {"reference_min_score": 1.0, "reference_max_score": 1.0},
        "NaN scores": {"reference_min_score": 1.0, "reference_max_score": np.nan},
        "scores in words": {"reference_min_score": "low", "reference_max_score": "high"},
    }.items():
        yield f"metadata: {kind}", (sound(metadata=metadata), "metadata")
    for size in (0, -1, 1.5):
        yield f"mask_size: {size}", (sound(create_mask=True, mask_size=size), "mask_size")


BROKEN = dict(cases())
