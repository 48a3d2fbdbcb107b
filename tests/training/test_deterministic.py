"""`deterministic=True`: torch refuses kernels whose bits vary, during updates and at no other time."""

from __future__ import annotations

import json

import pytest
import torch

from offlinekit.algos import BC, Population
from offlinekit.algos.torch.bc_impl import BCImpl
from offlinekit.errors import TrainingError
from offlinekit.testing import small_dataset
from offlinekit.training.engines.updates import Eager

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "device": "cpu"}
QUIET = {"out": None, "progress": False}


def enabled():
    return torch.are_deterministic_algorithms_enabled()


class Spy(BCImpl):
    seen: list[bool]

    def compute_actor_loss(self, batch):
        type(self).seen.append(enabled())
        return super().compute_actor_loss(batch)


class Varying(BCImpl):
    """Its loss writes by `put_`, of which torch has no kernel that always gives the same bits."""

    def compute_actor_loss(self, batch):
        place = torch.zeros(2).put_(torch.zeros(1, dtype=torch.int64), torch.ones(1))
        return super().compute_actor_loss(batch) * place[0]


class Failing(BCImpl):
    def compute_actor_loss(self, batch):
        return super().compute_actor_loss(batch) * float("nan")


def fit(impl=BCImpl, n_steps=12, **settings):
    algo = BC(**TINY, seed=3, impl_class=impl)
    return algo.fit(small_dataset("continuous"), n_steps, **{**QUIET, **settings})


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize("wanted", [False, True])
def test_it_is_in_force_during_updates_alone(engine, wanted):
    Spy.seen = []
    judged = []
    fit(
        Spy,
        engine=engine,
        deterministic=wanted,
        evaluators={"look": lambda *_: judged.append(enabled()) or 0},
    )
    assert set(Spy.seen) == {wanted}
    assert judged == [False, False]  # Tried before the first update, and called after the last.
    assert not enabled()


@pytest.mark.parametrize("wanted", [False, True])
def test_in_a_population(wanted, monkeypatch):
    seen, take = [], Eager.take
    monkeypatch.setattr(Eager, "take", lambda updates, n: seen.append(enabled()) or take(updates, n))
    members = Population([BC(**TINY, seed=seed) for seed in range(2)])
    members.fit(small_dataset("continuous"), 4, deterministic=wanted, **QUIET)
    assert members.stacks == [[0, 1]]
    assert set(seen) == {wanted}
    assert not enabled()


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_kernel_whose_bits_vary_is_refused(engine):
    fit(Varying, engine=engine)
    with pytest.raises(RuntimeError, match="put_ does not have a deterministic implementation"):
        fit(Varying, engine=engine, deterministic=True)
    assert not enabled()


def test_the_users_own_setting_comes_back_even_after_a_failure():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with pytest.raises(TrainingError):
            fit(Failing, deterministic=True)
        assert enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_bits_stay_and_the_config_says_so(tmp_path):
    plain, strict = fit(), fit(deterministic=True, out=tmp_path)
    for one, other in zip(plain.impl.parameters(), strict.impl.parameters(), strict=True):
        assert torch.equal(one, other)
    assert json.loads((strict.run_dir / "config.json").read_text())["deterministic"] is True
