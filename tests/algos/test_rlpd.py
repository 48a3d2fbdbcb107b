"""RLPD by hand: what it changes of REDQ, and how it goes online."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import REDQ, RLPD
from offlinekit.nn.networks import StackedLayerNorm

ACTION = math.tanh(0.3)
TABLES = [[[9.0], [7.0], [1.0]], [[8.0], [9.0], [-2.0]], [[4.0], [9.0], [0.5]], [[9.0], [9.0], [0.0]]]


def build(**options):
    """Four critics, and a policy that is all but certain of tanh(0.3)."""
    impl = RLPD(n_critics=4, encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_constant(impl.policy, [0.3, -20.0])
    set_constant(impl.q, [[100.0]] * 4)
    set_table(impl.target_q, TABLES)
    return impl


def test_target_without_the_entropy_is_the_lowest_of_the_drawn(monkeypatch):
    impl = build(soft_backup=False)
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.9], [0.9]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    monkeypatch.setattr(impl, "draw_members", lambda: torch.tensor([1, 2]))
    # Critics 1 and 2. State 1: min(9 - 2 a, 9 + a / 2) = 9 - 2 a; state 0: min(8 - 2 a, 4 + a / 2) = 4 + a / 2
    close(impl.compute_target(batch), [1 + 0.9 * (9 - 2 * ACTION), 2 + 0.5 * (4 + ACTION / 2)])


def test_target_with_the_entropy_is_that_of_redq():
    impl = build(initial_temperature=0.5)
    set_constant(impl.target_q, [[5.0]] * 4)
    state = impl.random.state()
    found = impl.compute_target(make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0]))
    impl.random.set_state(state)
    impl.draw_members()
    log_probs = impl.policy.sample(STATES)[1]
    close(found, 5.0 - 0.5 * log_probs.detach())


@pytest.mark.parametrize(("options", "expected"), [({}, -1.0), ({"target_entropy": 0.25}, 0.25)])
def test_temperature_aims_at_minus_half_the_action_dimensions(options, expected):
    algo = RLPD(encoder=TABLE, seed=0, device="cpu", initial_temperature=2.0, **options)
    impl = algo.build(continuous_dataset(action_size=2)).impl
    batch = make_batch(STATES, [[0.0, 0.0]] * 2)
    state = impl.random.state()
    loss = impl.compute_temperature_loss(batch)[0]
    impl.random.set_state(state)
    log_probs = impl.policy.sample(STATES)[1].detach()
    # -2 (log pi + H), H = -A / 2 = -1 of two dimensions.
    close(loss, -2.0 * (log_probs + expected))


def test_subsets_are_drawn_without_replacement():
    impl = build(subset_size=3)
    assert {len(set(impl.draw_members().tolist())) for _ in range(500)} == {3}


def test_critics_alone_are_normalised():
    impl = RLPD(encoder={"hidden_sizes": [8]}, seed=0, device="cpu").build(continuous_dataset()).impl
    kinds = [[type(module) for module in part.modules()] for part in (impl.q, impl.policy)]
    assert StackedLayerNorm in kinds[0]
    assert not any("LayerNorm" in kind.__name__ for kind in kinds[1])


def test_defaults_are_the_papers():
    front = RLPD(seed=0)
    assert (front.n_critics, front.subset_size, front.policy_delay) == (10, 2, 20)
    assert front.soft_backup
    assert front.critic_layer_norm
    assert RLPD.online_settings == {
        "mixing": "symmetric", "updates_per_step": 20.0, "random_steps": 5_000, "warmup_steps": 5_000,
    }  # fmt: skip
    assert not REDQ.online_settings


def test_learns_a_bandit_better_than_cloning():
    algo = RLPD(initial_temperature=0.01, policy_delay=2, **BANDIT)
    assert bandit_error(algo, 600) < 0.12
