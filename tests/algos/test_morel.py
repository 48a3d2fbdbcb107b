"""MOReL: what is unknown, how it ends, and what the data teach of it, by hand."""

from __future__ import annotations

from typing import Any

import torch
from loss_checks import close
from table_networks import TABLE, set_constant

from offlinekit.algos import SACN, MOReL
from offlinekit.algos.torch.morel_impl import disagreement
from offlinekit.testing import small_dataset

ON_CPU: dict[str, Any] = {"encoder": TABLE, "seed": 0, "device": "cpu", "batch_size": 8}
MODEL: dict[str, Any] = {
    "encoder": TABLE,
    "n_members": 3,
    "n_elites": 2,
    "termination": "never",
    "scales_inputs": False,
}


def build(**options: Any) -> Any:
    algo = MOReL(**{"dynamics": MODEL, "threshold_scale": 2.0, "halt_offset": -30.0, **ON_CPU, **options})
    algo.build(small_dataset("continuous"))
    with torch.no_grad():
        algo.impl.model.min_log_var.fill_(-60.0)
    quiet = [-60.0] * 5
    set_constant(
        algo.impl.model,
        [[0.0] * 4 + [1.0, *quiet]] * (algo.impl.model.config.n_members - 1) + [[9.0] * 4 + [1.0, *quiet]],
    )
    with torch.no_grad():  # The second elite adds the first number of the observation to itself.
        algo.impl.model.mlp.layers[-1].weight[1, 0, 0] = 1.0
    return algo


def test_unknown_steps_end_with_their_reward_and_bootstrap_nothing():
    algo = build()
    algo.impl.largest_known.fill_(1.5)
    algo.impl.lowest_reward.fill_(-2.0)
    starts = torch.tensor([[1.0] * 4, [2.9] * 4, [3.1] * 4])
    (rows, alive), (_, later) = algo.impl.rollouts(starts, 2)
    # Elites disagree by the first number; beyond 2 * 1.5 = 3 it is unknown: reward -2 - 30, an end.
    close(rows.rewards, [1.0, 1.0, -32.0], atol=1e-4)
    close(rows.discounts, [0.99, 0.99, 0.0])
    assert alive.tolist() == [True, True, True]  # The halt itself is a row, even at the first step.
    assert not bool(later[2])


def test_disagreement_is_of_next_observations_alone():
    # Members 0 and 1 are 5 apart, 0 and 2 are 1, 1 and 2 are 5 - 1; that rewards differ by 100 is nothing.
    means = torch.tensor([[[0.0, 0.0, 0.0]], [[3.0, 4.0, 50.0]], [[0.6, 0.8, -50.0]]])
    close(disagreement(means), [5.0])


def test_what_is_known_is_learned_of_elites_on_the_data():
    algo = build()
    data = small_dataset("continuous")
    sampler = algo.make_sampler(data)
    algo.impl.learn_model(sampler)
    usable = sampler.gather(sampler.usable_rows())
    close(algo.impl.largest_known, usable.observations[:, 0].abs().max(), atol=1e-5)
    close(algo.impl.lowest_reward, usable.rewards.min())


def test_without_rollouts_it_is_sac_n_step_by_step():
    data = small_dataset("continuous")
    sacn = SACN(**ON_CPU).fit(data, 6, out=None, progress=False)
    morel = MOReL(real_share=1.0, **ON_CPU).fit(data, 6, out=None, progress=False)
    for name, value in sacn.impl.state_dict().items():
        assert torch.equal(value, morel.impl.state_dict()[name]), name


def test_the_border_is_in_units_of_the_data_and_of_as_many_members_as_asked_for():
    # One public port has a fixed border of 1.5, a fixed reward of -100, and two models whatever is asked for.
    for size in (1.0, 50.0):
        algo = build(halt_offset=-7.0, dynamics={**MODEL, "n_members": 5, "n_elites": 4})
        assert algo.impl.model.mlp.layers[-1].weight.shape[0] == 5
        assert algo.impl.n_predictions == 4
        algo.impl.largest_known.fill_(size)
        algo.impl.lowest_reward.fill_(-3.0)
        starts = torch.tensor([[1.9 * size] * 4, [2.1 * size] * 4])  # The border is at 2 * size.
        (rows, _), *_ = algo.impl.rollouts(starts, 1)
        close(rows.discounts, [0.99, 0.0])
        close(rows.rewards[1], -10.0)


def test_a_run_learns_what_is_known():
    algo = MOReL(
        dynamics={**MODEL, "max_epochs": 1}, n_rollouts=10, rollout_length=2, real_share=0.5, **ON_CPU
    )
    algo.fit(small_dataset("continuous"), 3, out=None, progress=False)
    assert 0.0 < float(algo.impl.largest_known) < float("inf")
    assert float(algo.impl.lowest_reward) < 0.0
