"""MoBRAC: ReBRAC as a special case, and the next actions of imagined rows."""

from __future__ import annotations

from typing import Any

import torch
from loss_checks import close
from table_networks import TABLE

from offlinekit.algos import MoBRAC, ReBRAC
from offlinekit.testing import small_dataset

QUIET: dict[str, Any] = {"out": None, "progress": False}
SHARED: dict[str, Any] = {
    "encoder": TABLE,
    "critic_encoder": TABLE,
    "batch_size": 8,
    "seed": 0,
    "device": "cpu",
}
MODEL: dict[str, Any] = {"encoder": TABLE, "n_members": 2, "max_epochs": 1, "termination": "never"}


def test_without_rollouts_it_is_rebrac_step_by_step():
    data = small_dataset("continuous")
    rebrac = ReBRAC(**SHARED).fit(data, 10, **QUIET)
    mobrac = MoBRAC(real_share=1.0, **SHARED).fit(data, 10, **QUIET)
    for name, value in rebrac.impl.state_dict().items():
        assert torch.equal(value, mobrac.impl.state_dict()[name]), name


def test_imagined_rows_have_the_next_action_of_their_rollout():
    data = small_dataset("continuous")
    algo = MoBRAC(dynamics=MODEL, n_rollouts=6, rollout_length=2, real_share=0.0, **SHARED).build(data)
    sampler = algo.training_sampler(algo.make_sampler(data), data)
    first, second = algo.impl.rollouts(sampler.draw_starts(6), 2)
    sampler.memory.add_rows(*first)
    batch = sampler.sample()
    # The policy is deterministic: its action at the next observation, which is the second step's.
    close(batch.next_actions, algo.impl.policy(batch.next_observations))
    close(first[0].next_actions, second[0].actions)
    close(first[0].next_observations, second[0].observations)
    assert not torch.equal(batch.next_actions, batch.actions)
    # Target: r + discount (lowest value - critic_penalty * squared distance of smoothed and next action).
    algo.target_noise, algo.critic_penalty = 0.0, 0.5
    batch = batch._replace(next_actions=batch.next_actions + 0.5)  # Drawn by an earlier policy.
    actions = algo.impl.target_policy(batch.next_observations)
    lowest = algo.impl.target_q.values(batch.next_observations, actions).amin(0)
    distance = (actions - batch.next_actions).square().sum(-1)
    wanted = batch.rewards + batch.discounts * (lowest - 0.5 * distance)
    close(algo.impl.compute_target(batch), wanted)
