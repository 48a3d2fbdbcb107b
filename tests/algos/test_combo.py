"""COMBO: the gap between all rows and recorded ones by hand, and its special cases."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from loss_checks import close, total
from small_data import continuous_dataset, make_batch
from table_networks import TABLE, set_constant, set_table

from offlinekit.algos import COMBO, CQL, MOPO
from offlinekit.errors import TrainingWarning
from offlinekit.nn import losses
from offlinekit.testing import small_dataset

ON_CPU: dict[str, Any] = {"encoder": TABLE, "seed": 0, "device": "cpu"}
MODEL: dict[str, Any] = {"encoder": TABLE, "n_members": 2, "max_epochs": 1}


def build(**options: Any) -> Any:
    return COMBO(**{"dynamics": MODEL, **ON_CPU, **options}).build(continuous_dataset()).impl


def test_the_gap_of_a_constant_value_is_a_known_volume():
    impl = build(alpha=1.0)
    set_constant(impl.q, [[3.0], [3.0]])
    batch = make_batch(torch.eye(2), torch.zeros(2, 2), imagined=torch.tensor([0.0, 1.0]))
    # Q = 3 at 10 uniform actions of the box [-1, 1]^2, of density 1/4: 3 + log 4 + log 10 = 6.688879.
    values, density = torch.full((1, 10, 1), 3.0), torch.full((10, 1), -2 * math.log(2.0))
    close(losses.soft_maximum(values, density, 1.0), [[6.688879]])
    actions, densities = impl.sampled_actions(batch._replace(actions=torch.zeros(2, 1)))
    assert (
        actions.shape[0] == densities.shape[0] == 30
    )  # All three kinds enter one sum; public code summed 3.


@pytest.mark.parametrize(("pushed_rows", "pushed"), [("all", 2.0), ("imagined", 3.0)])
def test_values_are_held_up_at_recorded_actions_alone(pushed_rows, pushed):
    impl = build(alpha=2.0, pushed_rows=pushed_rows, n_critics=1)
    # Q(s) = 1 in state 0, 3 in state 1, whatever the action. The policy is uniform enough: its part is left out below.
    set_table(impl.q, [[[1.0], [3.0], [0.0]]])
    batch = make_batch(torch.eye(2), torch.zeros(2, 1), imagined=torch.tensor([0.0, 1.0]))
    state = impl.random.state()
    gap = impl.conservative_gap(batch, impl.q.values(batch.observations, batch.actions))
    impl.random.set_state(state)
    _, densities = impl.sampled_actions(batch)
    # log sum_j exp(Q - log p_j) = Q + v, with v of the 30 densities alone; data: Q of the recorded row is 1.
    volumes = torch.logsumexp(-densities, 0)
    volume = volumes.mean() if pushed_rows == "all" else volumes[1]
    close(gap, pushed + float(volume) - 1.0, atol=1e-4)


def test_online_values_are_pushed_down_at_all_rows_for_none_is_of_the_model():
    impl = build(alpha=2.0, pushed_rows="imagined", n_critics=1)
    batch = make_batch(torch.eye(2), torch.zeros(2, 1), imagined=torch.zeros(2))
    assert float(impl.gap_masks(batch)[0].sum()) == 0.0
    with pytest.warns(TrainingWarning, match="COMBO makes no rollouts online"):
        impl.enter_phase(online=True)
    pushed, held = impl.gap_masks(batch)
    assert pushed is None
    assert held.tolist() == [[1.0, 1.0]]
    impl.enter_phase(online=False)
    assert impl.gap_masks(batch)[0] is not None


def test_rows_of_the_model_are_needed_to_push_at_them_alone():
    with pytest.raises(ValueError, match=r"pushed_rows='imagined' needs rows of the model.*lower real_share"):
        COMBO(pushed_rows="imagined", real_share=1.0)
    combo = COMBO(pushed_rows="imagined")
    with pytest.raises(ValueError, match="there are none"):
        combo.real_share = 1.0
    assert COMBO(pushed_rows="all", real_share=1.0).real_share == 1.0


def test_masks_of_members_count_too():
    impl = build(n_critics=2)
    masks = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    batch = make_batch(
        torch.zeros(3, 2), torch.zeros(3, 1), imagined=torch.tensor([0.0, 0.0, 1.0]), masks=masks
    )
    pushed, held = impl.gap_masks(batch)
    close(pushed, masks)
    close(held, [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    impl.config.pushed_rows = "imagined"
    close(impl.gap_masks(batch)[0], [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def test_on_recorded_rows_it_is_cql_step_by_step():
    data = small_dataset("continuous")
    shared = {**ON_CPU, "batch_size": 8}
    same = {"temperature_learning_rate": 1e-4, "log_std_min": -5.0, "actor_lr_schedule": "cosine"}
    cql = CQL(**same, **shared).fit(data, 6, out=None, progress=False)
    combo = COMBO(real_share=1.0, **shared).fit(data, 6, out=None, progress=False)
    for name, value in cql.impl.state_dict().items():
        torch.testing.assert_close(combo.impl.state_dict()[name], value)


def test_without_the_gap_its_loss_is_mopos():
    combo = build(alpha=0.0, soft_backup=True)
    mopo = MOPO(dynamics=MODEL, penalty=0.0, **ON_CPU).build(continuous_dataset()).impl
    batch = make_batch(
        torch.eye(2), torch.tensor([[0.1], [0.2]]), [1.0, 2.0], imagined=torch.tensor([0.0, 1.0])
    )
    mopo.q.load_state_dict(combo.q.state_dict())
    target = torch.tensor([0.5, -0.5])
    expected = total(mopo.compute_critic_loss(batch, target)).detach()
    close(total(combo.compute_critic_loss(batch, target))[0], expected)
