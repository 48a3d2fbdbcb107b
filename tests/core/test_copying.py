"""A copy of an algorithm, whichever way it was made, trains on to the bits of the original, and apart from it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from catalogue_variants import small_variants

from offlinekit.algos import BC, IQL, SAC, Population
from offlinekit.core.algo import Algo
from offlinekit.sampling.batch import batch_class
from offlinekit.testing import small_dataset

WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda algo: pickle.loads(pickle.dumps(algo)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}
QUIET: dict[str, Any] = {"out": None, "progress": False}


def built(algo: Algo) -> Algo:
    return algo.build(small_dataset(algo.action_kind))


def fitted(algo: Algo) -> Algo:
    return algo.fit(small_dataset(algo.action_kind), 3, **QUIET)


def member(algo: Algo) -> Algo:
    other = type(algo)(**{**algo.config, "seed": 1, "device": "cpu"})
    return Population([algo, other]).fit(small_dataset(algo.action_kind), 3, **QUIET).algos[0]


def assert_same(first: Algo, second: Algo) -> None:
    ours, theirs = first.impl.state_tensors(), second.impl.state_tensors()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize(("front", "options"), list(small_variants(["mean"])))
@pytest.mark.parametrize("state", [built, fitted])
def test_copies_train_on_bit_by_bit(front: Any, options: Any, state: Callable[[Algo], Algo]) -> None:
    check_copies(state(front(seed=0, batch_size=4, **options)))


@pytest.mark.parametrize(("front", "options"), list(small_variants(["mean"])))
def test_copies_of_members_train_on_bit_by_bit(front: Any, options: Any) -> None:
    check_copies(member(front(seed=0, batch_size=4, **options)))


def check_copies(original: Algo) -> None:
    copies = [way(original) for way in WAYS.values()]
    data = small_dataset(original.action_kind)
    original.fit(data, 3, **QUIET)
    for twin in copies:
        twin.fit(data, 3, **QUIET)
        assert_same(original, twin)


@pytest.mark.parametrize("way", list(WAYS))
def test_copies_without_networks(way: str) -> None:
    first = BC(seed=0, batch_size=4)
    second = WAYS[way](first)
    for algo in (first, second):
        algo.fit(small_dataset("continuous"), 2, **QUIET)
    assert_same(first, second)


def test_copies_go_apart() -> None:
    original = fitted(SAC(seed=0, batch_size=4))
    before = {name: value.clone() for name, value in original.impl.state_tensors().items()}
    for way in WAYS.values():
        way(original).fit(small_dataset("continuous"), 5, **QUIET)
    after = original.impl.state_tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_copies_record_as_originals_do() -> None:
    """After 12 updates objectives are replayed from a recording, which a copy makes anew."""
    original = IQL(seed=0, batch_size=4).fit(small_dataset("continuous"), 12, **QUIET)
    twin = WAYS["pickle"](original)
    for algo in (original, twin):
        algo.fit(small_dataset("continuous"), 15, **QUIET)
    assert_same(original, twin)


def test_a_copy_of_a_run_under_way() -> None:
    original, data = BC(seed=0, batch_size=4), small_dataset("continuous")
    run = original.fitter(data, 10, log_interval=5, **QUIET)
    next(run)
    twins = [way(original) for way in WAYS.values()]
    for _ in run:
        pass
    for twin in twins:
        twin.batch_size = 4  # No run holds the copy, so that its settings may be set.
        assert_same(original, twin.fit(data, 5, **QUIET))


@pytest.mark.parametrize("way", list(WAYS))
def test_populations(way: str) -> None:
    original, data = Population([IQL(seed=i, batch_size=4) for i in range(3)]), small_dataset("continuous")
    original.fit(data, 5, evaluators={"mine": lambda algo, data: 0.0}, **QUIET)
    twin = WAYS[way](original)
    for population in (original, twin):
        population.fit(data, 5, **QUIET)
    for first, second in zip(original.algos, twin.algos, strict=True):
        assert first is not second
        assert_same(first, second)


def test_impls() -> None:
    """An impl by itself: Adam counts its steps in views of one tensor."""
    original = fitted(BC(seed=0, batch_size=4)).impl
    batch = BC(seed=0, batch_size=4).sample_batch(small_dataset("continuous"))
    for way in ("pickle", "deepcopy"):
        first, second = copy.deepcopy(original), WAYS[way](original)
        for _ in range(3):
            first.update(batch)
            second.update(batch)
        assert torch.equal(first.objectives[0].optimizer.slots[0].counts, torch.full((6,), 6.0))
        assert all(map(torch.equal, first.state_tensors().values(), second.state_tensors().values()))


def test_lambdas_are_refused_by_name() -> None:
    algo = BC(seed=0, encoder=lambda size: torch.nn.Identity())
    with pytest.raises(
        TypeError, match=r"encoder of this BC is <function .*lambda.*cannot pickle: define it"
    ):
        pickle.dumps(algo)
    assert copy.deepcopy(algo).encoder is algo.encoder


def test_batches() -> None:
    batch = BC(seed=0, batch_size=4).sample_batch(small_dataset("continuous"))
    wide = batch.with_columns(rows=torch.arange(4))
    for twin in (WAYS["pickle"](wide), copy.deepcopy(wide)):
        assert type(twin) is type(wide)
        assert torch.equal(twin.rows, torch.arange(4))
    assert batch_class.cache_info().currsize > 0


def test_actors() -> None:
    original, seen = fitted(BC(seed=0, batch_size=4)), small_dataset("continuous").observations
    actor = WAYS["pickle"](original.as_stateful())
    actor.reset()
    np.testing.assert_array_equal(actor.predict(seen[0]), original.predict(seen[0]))


@pytest.mark.parametrize("way", list(WAYS))
def test_copies_have_a_history_of_their_own(way: str) -> None:
    original = fitted(BC(seed=0, batch_size=4))
    twin, rows = WAYS[way](original), [dict(row) for row in original.history]
    assert twin.history == rows
    twin.history[0]["note"] = 1.0
    twin.history.append({"step": 99})
    assert original.history == rows
