"""Prioritised replay by hand: probabilities, their correction, and what a run makes of losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from offlinekit.algos import DecisionTransformer, Population, TD3PlusBC
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.sampling.loss_weights import weighted
from offlinekit.sampling.priorities import LEAST, Priorities, PrioritySampler
from offlinekit.sampling.scalers import Scaling
from offlinekit.testing import small_dataset

TINY: dict[str, Any] = {
    "encoder": {"type": "mlp", "hidden_sizes": [8]},
    "batch_size": 8,
    "seed": 0,
    "device": "cpu",
}
QUIET: dict[str, Any] = {"out": None, "progress": False}


def steps(n: int = 4, **extras: Any) -> MDPDataset:
    """Makes one-step episodes of rewards 0, 1, 2, ..."""
    ones = np.ones((n, 1), np.float32)
    return MDPDataset(ones, ones, np.arange(n), np.ones(n, bool), extras=extras)


def sampler(data: MDPDataset, batch_size: int = 4, **given: float) -> PrioritySampler:
    return PrioritySampler(
        data,
        priorities=Priorities(**given),
        batch_size=batch_size,
        gamma=0.9,
        n_step=1,
        device=torch.device("cpu"),
        seed=0,
        scaling=Scaling(),
    )


def close(actual: torch.Tensor, expected: Any) -> None:
    torch.testing.assert_close(
        actual.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-5
    )


def test_priorities_are_powers_of_the_error():
    # Losses (0, 1, 16): errors (0, 1, 4), to the power of 1/2 (0, 1, 2).
    close(Priorities(alpha=0.5).of(torch.tensor([0.0, 1.0, 16.0])), [LEAST**0.5, 1.0, 2.0])
    close(Priorities(alpha=0.0).of(torch.tensor([0.0, 1.0, 16.0])), [1.0, 1.0, 1.0])


def test_corrections_are_powers_of_the_probability():
    # p = (1, 4) of a total of 8 over 4 rows: N P = (1/2, 2); to the power of -1: (2, 1/2), over the largest (1, 1/4).
    numbers, total = torch.tensor([1.0, 4.0]).double(), torch.tensor(8.0).double()
    close(Priorities(beta=1.0).corrections(numbers, total, 4), [1.0, 0.25])
    close(Priorities(beta=0.5).corrections(numbers, total, 4), [1.0, 0.5])
    close(Priorities(beta=0.0).corrections(numbers, total, 4), [1.0, 1.0])


def test_draws_follow_the_priorities_and_weights_undo_them():
    drawing = sampler(steps(), batch_size=8, alpha=1.0, beta=1.0)
    assert sorted(drawing.sample().rewards.tolist()) == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
    ]  # Equal at first, two a share.
    drawing.drawn = torch.tensor([0, 1, 2, 3])
    drawing.update(torch.tensor([1.0, 1.0, 4.0, 16.0]))
    # Errors (1, 1, 2, 4) of 8: of 8 draws, one from each eighth, rows 0 to 3 get 1, 1, 2 and 4.
    batch = drawing.sample()
    assert sorted(batch.rewards.tolist()) == [0, 1, 2, 2, 3, 3, 3, 3]
    # N P = (1/2, 1/2, 1, 2): weights (2, 2, 1, 1/2) over 2.
    wanted = {0: 1.0, 1: 1.0, 2: 0.5, 3: 0.25}
    close(batch.weights, [wanted[int(r)] for r in batch.rewards])
    # So weighted, the sum of what is drawn is that of equal draws: 1 + 1 + 2 * 0.5 + 4 * 0.25, one a row.


def test_a_row_that_was_drawn_twice_has_the_larger_priority():
    drawing = sampler(steps(), alpha=1.0)
    drawing.drawn = torch.tensor([2, 2])
    drawing.update(torch.tensor([9.0, 4.0]))
    close(drawing.tree.numbers, [1.0, 1.0, 3.0, 1.0])


def test_loss_weights_meet_the_correction():
    weights = np.array([1.0, 3.0, 0.0, 2.0])
    drawing = sampler(weighted(steps(), weights), batch_size=3, alpha=1.0, beta=1.0)
    batch = drawing.sample()
    # Row 2 cannot be drawn; equal priorities leave the loss weights, over their mean 2.
    wanted = {0: 0.5, 1: 1.5, 3: 1.0}
    close(batch.weights, [wanted[int(r)] for r in batch.rewards])
    assert drawing.n_usable == 3


def test_state_goes_on_exactly():
    first, second = sampler(steps(100)), sampler(steps(100))
    for _ in range(3):
        first.update(first.sample().rewards)
    second.set_state(first.state())
    for _ in range(3):
        ours, theirs = first.sample(), second.sample()
        assert torch.equal(ours.rewards, theirs.rewards)
        assert torch.equal(ours.weights, theirs.weights)
        first.update(ours.rewards)
        second.update(theirs.rewards)
    with pytest.warns(UserWarning, match="drawn anew"):
        second.set_state(torch.zeros(3, dtype=torch.uint8))


@pytest.mark.parametrize(("name", "value"), [("alpha", -0.1), ("alpha", 1.1), ("beta", 2.0)])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be in \[0, 1\]"):
        Priorities(**{name: value})


def state(algo: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in algo.impl.state_tensors().items()}


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_run_draws_by_the_losses_of_its_critics():
    data = small_dataset("continuous")
    algo = TD3PlusBC(**TINY).fit(data, 30, priorities="critic", **QUIET)
    assert not equal(state(algo), state(TD3PlusBC(**TINY).fit(data, 30, **QUIET)))
    numbers = algo.sampler.tree.numbers
    assert len(numbers.unique()) > 50  # Rows were drawn, and have priorities of their own.
    # Those of the last minibatch follow from the losses against the target of before the last step, near those of now.
    assert equal(state(algo), state(TD3PlusBC(**TINY).fit(data, 30, priorities=Priorities(), **QUIET)))


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_priorities_of_power_0_are_uniform_and_need_no_correction(beta):
    data = small_dataset("continuous")
    algo = TD3PlusBC(**TINY).fit(data, 5, priorities=Priorities("critic", 0.0, beta), **QUIET)
    assert torch.equal(algo.sampler.tree.numbers, torch.ones(120).double())
    assert torch.equal(algo.sampler.sample().weights, torch.ones(8))


def test_recorded_updates_draw_as_those_as_written():
    data = small_dataset("continuous")
    ours, theirs = (
        TD3PlusBC(**TINY).fit(data, 25, priorities="critic", engine=engine, **QUIET)
        for engine in ("eager", "graph")
    )
    assert equal(state(ours), state(theirs))
    assert torch.equal(ours.sampler.tree.numbers, theirs.sampler.tree.numbers)


def test_a_run_goes_on_exactly(tmp_path):
    data = small_dataset("continuous")
    whole = TD3PlusBC(**TINY).fit(data, 20, priorities="critic", **QUIET)
    part = TD3PlusBC(**TINY)
    how = {"out": tmp_path, "progress": False, "eval_interval": 10, "priorities": "critic"}
    for step, _ in part.fitter(data, 20, **how):
        if step == 10:
            continue
    (folder,) = tmp_path.iterdir()
    for path in (folder / "checkpoints").glob("*20*"):
        path.unlink()
    resumed = TD3PlusBC(**TINY).fit(data, 20, resume=folder, **{**how, "out": None})
    assert equal(state(whole), state(resumed))
    assert torch.equal(whole.sampler.tree.numbers, resumed.sampler.tree.numbers)


def test_members_of_a_population_draw_each_by_its_own():
    data = small_dataset("continuous")
    members = [TD3PlusBC(**{**TINY, "seed": seed}) for seed in (0, 1)]
    population = Population(members).fit(data, 12, priorities="critic", **QUIET)
    assert population.stacks == [[0], [1]]
    assert equal(state(population[0]), state(TD3PlusBC(**TINY).fit(data, 12, priorities="critic", **QUIET)))


def test_what_cannot_be_drawn_by_is_refused():
    data = small_dataset("continuous")
    with pytest.raises(
        ValueError, match=r"names no objective of TD3PlusBCImpl, .*'critic', 'actor'; did you mean"
    ):
        TD3PlusBC(**TINY).fit(data, 1, priorities="critics", **QUIET)
    with pytest.raises(TypeError, match="name of an objective"):
        TD3PlusBC(**TINY).fit(data, 1, priorities=0.6, **QUIET)
    with pytest.raises(UnsupportedError, match="learns from windows"):
        DecisionTransformer(seed=0).fit(data, 1, priorities="actor", **QUIET)


def test_after_a_prioritised_run_metrics_are_numbers_as_before():
    algo = TD3PlusBC(**TINY).fit(small_dataset("continuous"), 2, **QUIET, priorities="critic")
    plain = TD3PlusBC(**TINY).fit(small_dataset("continuous"), 2, **QUIET)
    batch = algo.sample_batch(small_dataset("continuous"))
    for objective, other in zip(algo.impl.objectives, plain.impl.objectives, strict=True):
        metrics = objective.reduced(batch)[1]
        assert metrics.keys() == other.reduced(batch)[1].keys()
        assert all(value.ndim == 0 for value in metrics.values())


def test_an_update_by_hand_after_the_run_moves_no_priority():
    data = small_dataset("continuous")
    algo = TD3PlusBC(**TINY).fit(data, 2, **QUIET, priorities="critic")
    before = algo.sampler.tree.numbers.clone()
    algo.impl.update(algo.sample_batch(data))
    assert torch.equal(algo.sampler.tree.numbers, before)
    algo.fit(data, 1, **QUIET, priorities="critic")
    assert not torch.equal(algo.sampler.tree.numbers, before)


def test_priorities_in_a_second_fit_are_the_reason_for_other_draws():
    algo = TD3PlusBC(**TINY).fit(small_dataset("continuous"), 2, **QUIET)
    with pytest.warns(
        UserWarning, match="where the last fit of the algorithm stood: they are drawn in another way"
    ):
        algo.fit(small_dataset("continuous"), 2, priorities="critic", **QUIET)
    with pytest.warns(
        UserWarning, match="where the last fit of the algorithm stood: they are drawn in another way"
    ):
        algo.fit(small_dataset("continuous"), 2, **QUIET)
