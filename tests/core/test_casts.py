"""Casts are compared at every door that takes observations, actions or data: what would change a value is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import offlinekit
from offlinekit.algos import BC, DiscreteCQL, MLPEncoder
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.deploy import NumpyPolicy
from offlinekit.errors import DatasetWarning, UnsupportedError
from offlinekit.metrics import evaluate

N, SHAPE = 12, (1, 4, 4)
SMALL: dict[str, Any] = {"batch_size": 4, "seed": 0, "device": "cpu", "encoder": MLPEncoder((4,))}
QUIET: dict[str, Any] = {"out": None, "progress": False}
ENDS = np.arange(N) % 4 == 3


class Shows(gymnasium.Env[Any, Any]):
    """Shows one array for three steps, and may declare it as something else."""

    action_space = spaces.Discrete(3)

    def __init__(self, shown: Any, space: Any = None) -> None:
        self.shown = np.asanyarray(shown)
        self.observation_space = space or spaces.Box(0, 255, self.shown.shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.left = 3
        return self.shown, {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return self.shown, 0.0, self.left == 0, False, {}


def images(kind: Any = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype(kind)


def data(observations: Any, actions: Any = None) -> MDPDataset:
    return MDPDataset(observations, np.arange(N) % 3 if actions is None else actions, np.ones(N), ENDS)


@pytest.fixture(scope="module")
def learned() -> Any:
    return DiscreteCQL(**SMALL).fit(data(images()), 1, **QUIET)


@pytest.fixture(scope="module")
def exported(learned: Any, tmp_path_factory: pytest.TempPathFactory) -> NumpyPolicy:
    path = tmp_path_factory.mktemp("exported") / "policy.safetensors"
    learned.export(path, format="numpy")
    return NumpyPolicy.load(path)


CHANGED: dict[str, np.ndarray] = {
    "scaled to [0, 1]": np.full((1, *SHAPE), 0.25),
    "scaled, in single precision": np.full((1, *SHAPE), 0.25, np.float32),
    "above 255": np.full((1, *SHAPE), 256),
    "far above": np.full((1, *SHAPE), 511, np.uint16),
    "below 0": np.full((1, *SHAPE), -1),
    "centred": np.full((1, *SHAPE), -0.5),
    "on or off": np.ones((1, *SHAPE), np.bool_),
    "NaN": np.full((1, *SHAPE), np.nan),
    "text": np.full((1, *SHAPE), "1"),
    "complex": np.full((1, *SHAPE), 1j),
    "objects": np.full((1, *SHAPE), None),
    "masked": np.ma.masked_array(np.zeros((1, *SHAPE), np.uint8), mask=True),
}
DOORS: dict[str, Callable[[Any, Any, np.ndarray], Any]] = {
    "predict": lambda algo, _, seen: algo.predict(seen),
    "predict, of one": lambda algo, _, seen: algo.predict(seen[0]),
    "predict_value": lambda algo, _, seen: algo.predict_value(seen, np.zeros(1, int)),
    "predict_value, greedy": lambda algo, _, seen: algo.predict_value(seen),
    "sample_action": lambda algo, _, seen: algo.sample_action(seen),
    "as_stateful": lambda algo, _, seen: algo.as_stateful().predict(seen[0], 0.0),
    "a drawn policy": lambda algo, _, seen: SampledPolicy(algo).predict(seen),
    "an exported policy": lambda _, exported, seen: exported.predict(seen),
    "evaluate": lambda algo, _, seen: evaluate(algo, Shows(seen[0]), 1),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", CHANGED)
def test_bytes_take_nothing_that_a_byte_cannot_hold(
    kind: str, door: str, learned: Any, exported: Any
) -> None:
    seen = CHANGED[kind]
    with pytest.raises((ValueError, TypeError), match=r"observations?|must (hold|be)"):
        DOORS[door](learned, exported, seen)


@pytest.mark.parametrize("door", DOORS)
def test_bytes_take_whole_numbers_of_other_kinds(door: str, learned: Any, exported: Any) -> None:
    for kind in (np.int64, np.float64, np.uint16):
        DOORS[door](learned, exported, images(kind)[:1])


@pytest.mark.parametrize("actions", [[0.7], [7], [-1], [np.nan], ["1"], [1j], [None], [2**40], [2**63]])
def test_values_of_actions_that_are_none(actions: Any, learned: Any) -> None:
    with pytest.raises(ValueError, match=r"actions must (hold|be whole) numbers"):
        learned.predict_value(images()[:1], np.array(actions))


def test_values_of_actions_in_other_kinds(learned: Any) -> None:
    expected = learned.predict_value(images()[:1], np.array([1]))
    for given in ([1.0], np.uint8([1]), [True]):
        assert learned.predict_value(images()[:1], np.array(given)) == expected


def test_networks_of_bytes_learn_from_no_floats_and_the_other_way_round(learned: Any, tmp_path: Path) -> None:
    again = offlinekit.load(learned.save(tmp_path / "a.okt"))
    floats = data(images() / 255.0)
    with pytest.raises(UnsupportedError, match=r"built for observations of .*uint8.* make a new DiscreteCQL"):
        again.fit(floats, 1, **QUIET)
    with pytest.raises(UnsupportedError, match=r"built for observations of .*float32"):
        DiscreteCQL(**SMALL).fit(floats, 1, **QUIET).fit(data(images()), 1, **QUIET)


def test_images_of_bytes_for_a_policy_of_floats_are_warned_of() -> None:
    """A remedy is said, and works."""
    floats = DiscreteCQL(**SMALL).fit(data(images() / 255.0), 1, **QUIET)
    env: Any = Shows(images()[0])
    with pytest.warns(
        DatasetWarning, match="shows images of uint8, those of the policy and its data are float"
    ) as said:
        evaluate(floats, env, 1)
    with pytest.warns(DatasetWarning, match="shows images of uint8"):
        DiscreteCQL(**SMALL).fit(data(images() / 255.0), 1, eval_env=env, eval_episodes=1, **QUIET)
    call = str(said[0].message).rpartition("wrap it: ")[2]
    wrapped = eval(call, {"gymnasium": gymnasium, "env": env, "numpy": np})
    evaluate(floats, wrapped, 1)


def test_keys_that_are_numbers_are_those_of_the_data(tmp_path: Path) -> None:
    tree = {0: np.zeros((N, 2)), 10: np.ones((N, 1)), "a": np.ones((N, 1))}
    algo = DiscreteCQL(**SMALL).fit(data(tree), 1, **QUIET)
    expected = algo.predict({str(key): leaf for key, leaf in tree.items()})
    np.testing.assert_array_equal(algo.predict(tree), expected)
    np.testing.assert_array_equal(offlinekit.load(algo.save(tmp_path / "a.okt")).predict(tree), expected)
    with pytest.raises(ValueError, match=re.escape("keys ['0', '10', 'a'], got keys ['0', '10']")):
        algo.predict({0: tree[0], 10: tree[10]})
    with pytest.raises(ValueError, match="must be a dict with keys"):
        algo.predict({0: tree[0], "0": tree[0], 10: tree[10], "a": tree["a"]})


DOUBTFUL: dict[str, tuple[dict[str, Any], str]] = {
    "counts from 1": (
        {"actions": np.arange(N) % 3 + 1.0},
        r"from 1 to 3 of dtype float.*x.astype\(int\) - 1",
    ),
    "one-hot rows": ({"actions": np.eye(3)[np.arange(N) % 3]}, r"rows of 3 floats.*x.argmax\(axis=1\)"),
    "images of int16": ({"observations": images(np.int16)}, r"images of dtype int16.*x.astype\(np.uint8\)"),
    "images of int64 in a leaf": (
        {"observations": {"a": images(np.int64)}},
        r"observations\['a'\] are images of dtype int64",
    ),
    "seconds since 1970": (
        {"observations": 1_700_000_000 + np.arange(2 * N).reshape(N, 2)},
        "of which float32 loses up to",
    ),
    "flags as vectors": ({"observations": np.eye(N, dtype=np.uint8)}, "which networks divide by 255"),
    "NaN in an extra": (
        {"extras": {"lab": np.where(np.arange(N) == 5, np.nan, 1.0)}},
        r"extras\['lab'\] holds nan",
    ),
    "an infinity in an extra of episodes": (
        {"episode_extras": {"age": [1, np.inf, 2]}},
        r"\['age'\] holds inf",
    ),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_is_cast_in_doubt_is_said(case: str) -> None:
    changed, message = DOUBTFUL[case]
    columns = {
        "observations": np.zeros((N, 2)),
        "actions": np.arange(N) % 3,
        "rewards": np.ones(N),
        "terminals": ENDS,
    }
    with pytest.warns(DatasetWarning, match=message):
        MDPDataset(**{**columns, **changed})


def test_continuous_actions_that_look_like_none_of_these_pass() -> None:
    for actions in (
        np.arange(N) % 3 - 1.0,
        np.eye(3)[np.arange(N) % 3] / 2,
        np.full((N, 2), 0.5),
        np.zeros((N, 2)),
    ):
        BC(**SMALL).check(data(np.zeros((N, 2)), actions))


def test_numbers_beyond_all_whole_ones_are_no_actions() -> None:
    with pytest.raises(
        ValueError, match="numbered from 0 if they are discrete, got 9,223,372,036,854,775,808"
    ):
        data(np.zeros((N, 2)), np.full(N, 2**63, np.uint64))
