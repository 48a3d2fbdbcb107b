"""A factory that returns one and the same module: each network begins with its numbers, in memory of its own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from populations import QUIET, check_members
from torch import nn

from offlinekit.algos import AWAC, BC, IQL, SAC, TD3
from offlinekit.testing import small_dataset

DATA = small_dataset("continuous")


def pretrained():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh())


class Wrapped(nn.Module):
    """A module of its own around a part that all have."""

    def __init__(self, part):
        super().__init__()
        self.part, self.last = part, nn.Linear(8, 6)

    def forward(self, observations):
        return self.last(self.part(observations))


@pytest.fixture(params=["whole", "part"])
def shared(request):
    module = pretrained()
    return module, (lambda space: module) if request.param == "whole" else lambda space: Wrapped(module)


def numbers(module):
    return [value.clone() for value in module.state_dict().values()]


@pytest.mark.parametrize("front", [BC, IQL, TD3, SAC, AWAC])
def test_no_two_networks_share_memory_and_the_users_module_stays(front, shared):
    module, encoder = shared
    before, is_training = numbers(module), module.train().training
    algo = front(seed=0, encoder=encoder, batch_size=8).build(DATA)
    owned = [parameter for objective in algo.impl.objectives for parameter in objective.parameters]
    assert len({parameter.data_ptr() for parameter in owned}) == len(owned)
    weights = [value for name, value in algo.impl.state_dict().items() if name.endswith("0.weight")]
    assert any(value.shape[-2:] == (8, 4) and torch.equal(value, before[0]) for value in weights)
    algo.fit(DATA, 5, **QUIET)
    assert all(torch.equal(one, other) for one, other in zip(before, numbers(module), strict=True))
    assert module.training is is_training


def test_the_same_seed_learns_the_same_twice_in_one_process(shared):
    twice = [BC(seed=0, encoder=shared[1], batch_size=8).fit(DATA, 5, **QUIET) for _ in range(2)]
    assert np.array_equal(*(algo.predict(DATA.observations) for algo in twice))


def test_members_of_a_population_are_those_trained_alone(shared):
    make = lambda **own: TD3(encoder=shared[1], batch_size=8, **own)  # noqa: E731
    check_members(make, [{"seed": 0}, {"seed": 1, "tau": 0.1}], DATA)


def test_copies_and_exports_leave_the_original_as_it_is(shared, tmp_path):
    algo = TD3(seed=0, encoder=shared[1], batch_size=8).fit(DATA, 5, **QUIET)
    before = numbers(algo.impl)
    copy.deepcopy(algo).fit(DATA, 5, **QUIET)
    algo.export(tmp_path / "policy.pt")
    assert all(torch.equal(one, other) for one, other in zip(before, numbers(algo.impl), strict=True))
    assert all(parameter.requires_grad for parameter in algo.impl.policy.parameters())
    algo.fit(DATA, 5, **QUIET)
    after = dict(algo.impl.policy.named_parameters())
    assert not any(
        torch.equal(value, other) for value in before for other in after.values() if value.ndim > 1
    )


class Uncopied(nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("no copies")


def test_what_cannot_be_copied_is_one_networks_and_no_others():
    make = lambda space: Uncopied(4, 6)  # noqa: E731
    assert BC(seed=0, encoder=make, batch_size=8).fit(DATA, 2, **QUIET).grad_step == 2
    module = Uncopied(4, 6)
    BC(seed=0, encoder=lambda space: module, batch_size=8).fit(DATA, 2, **QUIET)
    with pytest.raises(ValueError, match=r"the same Uncopied again, which cannot be copied \(no copies\)"):
        BC(seed=1, encoder=lambda space: module, batch_size=8).fit(DATA, 2, **QUIET)
