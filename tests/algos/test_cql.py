"""CQL: the conservative gap and what it adds to SAC, by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import CQL
from offlinekit.algos.torch import cql_impl
from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.nn import losses

MEANS, LOG_STD = (0.3, -0.6), -0.5  # Of the policy at the two states.


def build(action_size: int = 1, **options: object) -> CQLImpl:
    data = continuous_dataset(action_size=action_size)
    return CQL(encoder=TABLE, seed=0, device="cpu", **options).build(data).impl


def with_networks(**options: object) -> CQLImpl:
    """Q1 = (1, 2) + 0.5 a, Q2 = (0, -1) - 2 a; the targets would give numbers far off."""
    impl = build(**options)
    set_table(impl.q, [[[1.0], [2.0], [0.5]], [[0.0], [-1.0], [-2.0]]])
    set_constant(impl.target_q, [[100.0], [100.0]])
    set_table(impl.policy, [[MEANS[0], LOG_STD], [MEANS[1], LOG_STD]])
    return impl


def batch(**columns: Any):
    """Two rows whose next states are swapped, so that s and s' are told apart."""
    columns.setdefault("rewards", [1.0, 2.0])
    return make_batch(STATES, [[0.4], [-0.8]], next_observations=STATES.flip(0), **columns)


def squashed(noise: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns actions and log-densities of tanh(mean + std * noise), one dimension."""
    raw = mean + math.exp(LOG_STD) * noise
    normal = -0.5 * noise**2 - LOG_STD - 0.5 * math.log(2 * math.pi)
    return np.tanh(raw), normal - np.log(1 - np.tanh(raw) ** 2)


def draws(state: torch.Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 3n sampled actions and log-densities [3n, 2 rows], replayed from a generator's state."""
    generator = torch.Generator().set_state(state)
    uniform = torch.rand(n, 2, 1, generator=generator).double().numpy()[..., 0] * 2 - 1
    noise = [torch.randn(n, 2, 1, generator=generator).double().numpy()[..., 0] for _ in range(2)]
    now = squashed(noise[0], np.array(MEANS))
    later = squashed(noise[1], np.array(MEANS[::-1]))
    actions = np.concatenate([uniform, now[0], later[0]])
    return actions, np.concatenate([np.full((n, 2), math.log(0.5)), now[1], later[1]])


def gaps_by_hand(
    actions: np.ndarray, densities: np.ndarray, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the gaps [2 members, 2 rows] of the critics above and the weights of each action in them."""
    values = np.stack([np.array([1.0, 2.0]) + 0.5 * actions, np.array([0.0, -1.0]) - 2 * actions])
    terms = np.exp(values / temperature - densities)  # [2, 3n, 2]
    data = np.array([[1.0 + 0.2, 2.0 - 0.4], [0.0 - 0.8, -1.0 + 1.6]])
    return temperature * np.log(terms.sum(1)) - data, terms / terms.sum(1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_gap_is_one_logsumexp_over_all_actions_less_the_value_of_the_data(temperature):
    impl = with_networks(n_actions=4, temperature=temperature)
    rows = batch()
    data = impl.q.values(rows.observations, rows.actions)
    state = impl.random.state()
    found = impl.conservative_gap(rows, data)
    close(found.detach(), gaps_by_hand(*draws(state, 4), temperature)[0].mean(-1).sum())


def spy(impl: CQLImpl, monkeypatch: pytest.MonkeyPatch, rows: Any) -> dict[str, torch.Tensor]:
    """Returns what the gap was computed of, with critics whose value is the action itself."""
    seen: dict[str, torch.Tensor] = {}
    original = losses.soft_maximum

    def record(sampled, log_densities, temperature):
        seen.update(sampled=sampled.detach(), densities=log_densities)
        return original(sampled, log_densities, temperature)

    monkeypatch.setattr(losses, "soft_maximum", record)
    set_table(impl.q, [[[0.0], [0.0], [1.0]]] * 2)
    total(impl.compute_critic_loss(rows, torch.zeros(len(rows.rewards))))
    return seen


def test_random_actions_cover_the_box_with_its_density(monkeypatch):
    impl = build(n_actions=10)
    rows = make_batch(torch.zeros(64, 2), torch.zeros(64, 1))
    seen = spy(impl, monkeypatch, rows)
    assert seen["sampled"].shape == (2, 30, 64)
    assert seen["densities"].shape == (30, 64)
    uniform = seen["sampled"][0, :10]
    # 640 draws of variance 1/3: the mean lies within 4 * sqrt(1 / 3 / 640) = 0.09.
    assert -1.0 <= uniform.min() < -0.95
    assert 0.95 < uniform.max() < 1.0
    assert abs(float(uniform.mean())) < 0.09
    close(uniform.var(), 1 / 3, atol=0.05)
    close(seen["densities"][:10], torch.full((10, 64), math.log(0.5)))


def test_random_density_counts_every_dimension():
    impl = build(action_size=3, n_actions=2)
    rows = make_batch(torch.zeros(4, 2), torch.zeros(4, 3))
    _, densities = impl.sampled_actions(rows)
    # The box [-1, 1]**3 has volume 8.
    close(densities[:2], torch.full((2, 4), -math.log(8.0)))


def test_policy_actions_come_from_both_states(monkeypatch):
    impl = build(n_actions=5)
    set_table(impl.policy, [[2.0, -20.0], [-2.0, -20.0]])  # Certain: tanh(2) at state 0, -tanh(2) at 1.
    seen = spy(impl, monkeypatch, batch())
    wanted = math.tanh(2.0)
    close(seen["sampled"][0, 5:10], [[wanted, -wanted]] * 5)  # Of s ...
    close(seen["sampled"][0, 10:], [[-wanted, wanted]] * 5)  # ... and of s', both valued at s.


def test_gap_estimates_the_integral_over_the_box():
    impl = build(n_actions=4_000)
    set_table(impl.q, [[[0.0], [0.0], [1.5]], [[0.0], [0.0], [-0.5]]])
    set_constant(impl.policy, [0.0, 0.0])
    rows = batch()
    gap = impl.conservative_gap(rows, torch.zeros(2, 2))
    # Each kind of action estimates the integral of exp(w a) over [-1, 1] = 2 sinh(w) / w;
    # together they are 12,000 terms, whose sum is 12,000 times it.
    wanted = sum(math.log(2 * math.sinh(w) / w) for w in (1.5, 0.5))
    close(gap.detach() - 2 * math.log(12_000), wanted, atol=0.05)


def test_critic_loss_and_its_gradients():
    impl = with_networks(n_actions=4, alpha=3.0)
    state = impl.random.state()
    returned = impl.compute_critic_loss(batch(), torch.tensor([1.0, 1.0]))
    loss, metrics = total(returned)
    actions, densities = draws(state, 4)
    gaps, weights = gaps_by_hand(actions, densities)
    # Q1 = (1.2, 1.6), Q2 = (-0.8, 0.6), target 1: (0.04 + 0.36) / 2 + (3.24 + 0.16) / 2 = 1.9
    close(metrics["td_loss"], 1.9)
    close(metrics["conservative_gap"], gaps.mean(-1).sum())
    close(loss, 1.9 + 3.0 * gaps.mean(-1).sum())
    close(row_losses(returned), [[0.04, 0.36], [3.24, 0.16]])
    # The gap does not change with a constant: d loss / d bias = mean(2 * error) = (0.8, -2.2).
    weight, bias = head_gradients(loss, impl.q)
    close(bias, [[[0.8]], [[-2.2]]])
    # By the slope of the action: mean(2 * error * a) + 3 * mean(weighted action - action of the data)
    data = np.array([0.4, -0.8])
    errors = np.array([[0.2, 0.6], [-1.8, -0.4]])
    slopes = (2 * errors * data).mean(-1) + 3 * ((weights * actions).sum(1) - data).mean(-1)
    close(weight[:, 2, 0], slopes)


@pytest.mark.parametrize("threshold", [None, 0.7])
def test_gap_sends_no_gradient_to_policy_or_alpha(threshold):
    impl = with_networks(gap_threshold=threshold)
    loss, metrics = total(impl.compute_critic_loss(batch(), torch.zeros(2)))
    assert head_gradients(loss, impl.policy) == (None, None)
    assert torch.autograd.grad(loss, impl.log_alpha, allow_unused=True)[0] is None
    assert not any(metric.requires_grad for metric in metrics.values())


def test_gap_obeys_masks():
    impl = with_networks(n_actions=4, alpha=3.0)
    state = impl.random.state()
    masked = batch(masks=[[1, 0], [0, 0]])
    loss, _ = total(impl.compute_critic_loss(masked, torch.tensor([1.0, 1.0])))
    # Member 1 sees row 0 alone, where its error is 0.2; member 2 sees nothing.
    gaps, _ = gaps_by_hand(*draws(state, 4))
    close(loss, 0.04 + 3.0 * gaps[0, 0])


def test_quantile_critics_are_held_by_their_mean():
    impl = build(q_function="qr", n_quantiles=2, n_actions=4, alpha=3.0)
    set_constant(impl.q, [[1.0, 3.0], [0.0, 4.0]])
    set_table(impl.policy, [[MEANS[0], LOG_STD], [MEANS[1], LOG_STD]])
    state = impl.random.state()
    _, metrics = total(impl.compute_critic_loss(batch(), torch.zeros(2, 2)))
    # Values are 2 everywhere: the gap is 2 + log sum exp(-density) - 2 for each of the two members.
    _, densities = draws(state, 4)
    close(metrics["conservative_gap"], 2 * np.log(np.exp(-densities).sum(0)).mean())


def test_target_has_no_entropy_unless_asked():
    hard, soft = with_networks(), with_networks(soft_backup=True, initial_temperature=0.2)
    for impl, entropy_weight in ((hard, 0.0), (soft, 0.2)):
        set_table(impl.target_q, [[[1.0], [2.0], [1.0]], [[2.0], [0.0], [4.0]]])
        state = impl.random.state()
        with torch.no_grad():
            found = impl.compute_target(batch(discounts=[0.9, 0.5]))
        noise = torch.randn(2, 1, generator=torch.Generator().set_state(state)).double().numpy()[:, 0]
        action, log_prob = squashed(noise, np.array(MEANS[::-1]))
        # Row 0 goes to state 1 and row 1 to state 0.
        lowest = np.minimum([2 + action[0], 1 + action[1]], [4 * action[0], 2 + 4 * action[1]])
        wanted = np.array([1.0, 2.0]) + np.array([0.9, 0.5]) * (lowest - entropy_weight * log_prob)
        close(found, wanted)


def test_max_backup_takes_each_critics_best_action_then_the_lowest_critic():
    impl = with_networks(max_backup=True, n_actions=6)
    set_table(impl.target_q, [[[1.0], [2.0], [1.0]], [[2.0], [3.0], [-4.0]]])
    state = impl.random.state()
    found = impl.compute_target(batch(discounts=[0.9, 0.0]))
    noise = torch.randn(6, 2, 1, generator=torch.Generator().set_state(state)).double().numpy()[..., 0]
    action, _ = squashed(noise, np.array(MEANS[::-1]))
    # Row 0, at state 1: min(2 + max a, 3 - 4 min a); row 1 is terminal.
    best = min(2 + action[:, 0].max(), 3 - 4 * action[:, 0].min())
    close(found, [1 + 0.9 * best, 2.0])


def test_max_backup_gives_quantile_critics_one_sample():
    impl = build(q_function="qr", n_quantiles=2, max_backup=True, n_actions=3)
    set_constant(impl.target_q, [[0.0, 6.0], [1.0, 3.0]])
    # Means 3 and 2: 1 + 0.5 * 2 = 2, 2 + 0.5 * 2 = 3
    close(impl.compute_target(batch(discounts=[0.5, 0.5])), [[2.0, 3.0]])
    assert torch.isfinite(total(impl.critic_loss(batch(discounts=[0.5, 0.5])))[0])


def test_quantile_target_is_the_distribution_of_the_lowest_mean():
    impl = build(q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 6.0], [1.0, 3.0]])
    close(impl.compute_target(batch(discounts=[0.5, 0.0])), [[1.5, 2.0], [2.5, 2.0]])


def test_two_backups_at_once_are_an_error():
    with pytest.raises(ValueError, match="soft_backup and max_backup exclude each other"):
        build(soft_backup=True, max_backup=True)


@pytest.mark.parametrize(("offset", "grows"), [(-0.5, True), (0.5, False)])
def test_alpha_grows_while_the_gap_is_above_its_threshold(offset, grows):
    impl = with_networks(n_actions=4)
    state = impl.random.state()
    gaps, _ = gaps_by_hand(*draws(state, 4))
    threshold = float(gaps.mean()) + offset
    impl = with_networks(n_actions=4, alpha=2.0, gap_threshold=threshold)
    impl.random.set_state(state)
    loss, metrics = total(impl.compute_alpha_loss(batch()))
    # loss = -alpha * sum over two members of (mean gap - threshold) = -2 * 2 * -offset
    close(loss, 4.0 * offset, atol=1e-4)
    close(metrics["alpha"], 2.0)
    # d loss / d log alpha is the loss itself, and nothing else learns from it.
    close(torch.autograd.grad(loss, impl.log_alpha)[0], 4.0 * offset, atol=1e-4)
    impl.random.set_state(state)
    next(o for o in impl.objectives if o.name == "alpha").minimize(batch())
    assert (impl.log_alpha.item() > math.log(2.0)) is grows


def test_learned_alpha_weighs_the_gap_above_the_threshold():
    impl = with_networks(n_actions=4, alpha=2.0, gap_threshold=0.7)
    with torch.no_grad():
        impl.log_alpha.fill_(math.log(5.0))  # As it is now, not as it was at the start.
    state = impl.random.state()
    loss, metrics = total(impl.compute_critic_loss(batch(), torch.ones(2)))
    gaps, _ = gaps_by_hand(*draws(state, 4))
    above = (gaps - 0.7).mean(-1).sum()
    close(metrics["conservative_gap"], above)
    close(loss, 1.9 + 5.0 * above, atol=1e-4)


def test_alpha_is_bounded_by_a_million():
    impl = with_networks(gap_threshold=0.7)
    with torch.no_grad():
        impl.log_alpha.fill_(20.0)  # exp(20) = 4.9e8
    close(impl.alpha(), 1e6)
    close(total(impl.compute_alpha_loss(batch()))[1]["alpha"], 1e6)


def test_order_is_that_of_sac_led_by_alpha_where_it_is_learned():
    fixed, learned = with_networks(), with_networks(gap_threshold=0.7)
    assert [o.name for o in fixed.objectives] == ["temperature", "actor", "critic"]
    assert [o.name for o in learned.objectives] == ["alpha", "temperature", "actor", "critic"]
    before = fixed.log_alpha.item()
    fixed.update(batch())
    assert fixed.log_alpha.item() == before


def test_defaults_are_those_of_the_paper():
    algo = CQL()
    assert algo.encoder.hidden_sizes == (256, 256, 256)
    assert (algo.actor_learning_rate, algo.n_actions, algo.soft_backup) == (1e-4, 10, False)


def learner(alpha: float) -> CQL:
    return CQL(alpha=alpha, n_actions=4, initial_temperature=0.01, **BANDIT)


def test_learns_a_bandit_better_than_cloning():
    assert bandit_error(learner(0.01), 300) < 0.12


def test_random_actions_are_worth_less_than_those_of_the_data():
    data = continuous_dataset(64)
    algo = learner(5.0).fit(data, 100, out=None, progress=False)
    inside = algo.predict_value(data.observations, data.actions).mean()
    rng = np.random.default_rng(1)
    outside = algo.predict_value(data.observations, rng.uniform(-0.9, 0.9, data.actions.shape)).mean()
    assert inside > outside


@pytest.mark.parametrize("options", [{}, {"n_critics": 3}, {"temperature": 2.0}])
def test_blocks_of_rows_leave_loss_and_gradients_as_they_are(options, monkeypatch):
    impl = build(n_actions=3, **options)
    data = torch.Generator().manual_seed(0)
    columns = {
        "masks": (torch.rand(len(impl.q.network.mlp.layers[-1].weight), 7, generator=data) > 0.3).float()
    }
    observations, actions = torch.randn(7, 2, generator=data), torch.rand(7, 1, generator=data)
    rows = make_batch(observations, actions, next_observations=observations.flip(0), **columns)
    parameters = list(impl.q.parameters())
    found = []
    for size in (10_000, 18):  # One block of all rows, then blocks of two of their 9 actions.
        monkeypatch.setattr(cql_impl, "BLOCK", size)
        state = impl.random.state()
        loss, _ = total(impl.compute_critic_loss(rows, torch.ones(7)))
        impl.random.set_state(state)
        found.append((loss.detach(), torch.autograd.grad(loss, parameters)))
    torch.testing.assert_close(found[0], found[1])
