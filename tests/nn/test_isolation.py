"""What the process has set, and what other threads draw, changes no network."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest
import torch
from defaults import float64
from torch import nn

import offlinekit
from offlinekit.algos import BC, SAC, DecisionTransformer, MLPEncoder, Population, TD3PlusBC
from offlinekit.nn.isolation import initialised
from offlinekit.testing import small_dataset

QUIET = {"out": None, "progress": False}
SMALL = {"seed": 3, "batch_size": 8, "device": "cpu"}


SETTINGS = {
    "nothing": contextlib.nullcontext,
    "float64": float64,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


def bits(algo):
    return b"".join(np.asarray(value).tobytes() for value in algo.impl.state_dict().values())


class Drawing(nn.Module):
    """Begins with every kind of draw, and with floats whose dtype torch chooses."""

    def __init__(self, space):
        super().__init__()
        assert space.shape == (4,)
        drawn = [torch.rand(2), torch.randn(2), torch.normal(0.0, 1.0, (2,)), torch.empty(2).exponential_()]
        drawn += [torch.rand_like(drawn[0]), torch.bernoulli(torch.full((2,), 0.5)), torch.arange(0.0, 2.0)]
        drawn += [
            torch.randint(9, (2,)).float(),
            torch.randint(3, 9, (2,)).float(),
            torch.randperm(2).float(),
        ]
        self.first = nn.Parameter(torch.stack(drawn))
        self.scale = nn.Parameter(torch.tensor(0.1))

    def forward(self, observations):
        return observations.flatten(1)[:, :2] @ self.first.T * self.scale


def trained(make, kind="continuous"):
    data = small_dataset(kind)
    algo = make().fit(data, 3, **QUIET)
    acted = b"" if algo.is_stateful else algo.predict(data.observations[:4]).tobytes()
    return algo, bits(algo) + acted


@pytest.mark.filterwarnings(
    "ignore:a policy file holds the name of its encoder alone"
)  # It is given to load.
@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "nothing"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: SAC(**SMALL),
        lambda: DecisionTransformer(**SMALL, context=3, width=8, n_heads=1, n_layers=1),
        lambda: BC(**SMALL, encoder=Drawing),
    ],
    ids=["SAC", "DecisionTransformer", "encoder of a user"],
)
def test_building_training_acting_and_loading_are_the_same_whatever_the_process_has_set(name, make, tmp_path):
    plain, expected = trained(make)
    with SETTINGS[name]():
        algo, found = trained(make)
        assert found == expected
        algo.save(tmp_path / "a.okt")
        factory = {"encoder": Drawing} if isinstance(algo, BC) else {}
        loaded = offlinekit.load(tmp_path / "a.okt", device="cpu", **factory).fit(
            small_dataset("continuous"), 2, **QUIET
        )
    assert bits(loaded) == bits(plain.fit(small_dataset("continuous"), 2, **QUIET))


@pytest.mark.parametrize("name", ["float64", "no_grad", "inference_mode"])
def test_populations_are_the_same_whatever_the_process_has_set(name):
    def members():
        small = {"encoder": MLPEncoder((8,)), "batch_size": 8, "device": "cpu"}
        population = Population([TD3PlusBC(seed=i, **small) for i in range(2)])
        return population.fit(small_dataset("continuous"), 3, **QUIET)

    expected = members()
    with SETTINGS[name]():
        found = members()
    assert found.stacks == [[0, 1]]
    assert [bits(algo) for algo in found] == [bits(algo) for algo in expected]


def test_draws_leave_the_generator_of_the_process_alone_and_follow_the_seed():
    before = torch.get_rng_state()
    space = small_dataset("continuous").observation_space
    with initialised(1):
        first = Drawing(space)
    with initialised(1):
        again = Drawing(space)
    with initialised(2):
        other = Drawing(space)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.first, again.first)
    assert not torch.equal(first.first, other.first)
    # The numbers are those of a process seeded alike.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        expected = Drawing(space)
    assert torch.equal(first.first, expected.first)


def test_fits_in_threads_beside_one_that_draws_equal_the_fits_alone():
    def fit(number):
        settings = {"precision": "bfloat16", "deterministic": True} if number % 2 else {}
        return bits(
            SAC(**{**SMALL, "seed": number}).fit(small_dataset("continuous"), 20, **QUIET, **settings)
        )

    alone = [fit(number) for number in range(4)]
    found, over = {}, threading.Event()

    def disturb():
        while not over.is_set():
            torch.rand(1)
            torch.manual_seed(0)

    threads = [threading.Thread(target=lambda i=i: found.update({i: fit(i)})) for i in range(4)]
    disturbing = threading.Thread(target=disturb)
    for thread in (disturbing, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    disturbing.join()
    assert [found[number] for number in range(4)] == alone
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.are_deterministic_algorithms_enabled()
