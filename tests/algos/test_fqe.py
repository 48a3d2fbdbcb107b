"""Fitted Q evaluation by hand, on a chain with exact values, and as one stack for many policies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from loss_checks import close, head_gradients, row_losses, total
from small_data import chain_dataset, continuous_dataset, discrete_dataset, make_batch
from table_networks import TABLE, one_hot, set_constant, set_table

import offlinekit
from offlinekit.algos import FQE, DiscreteFQE, Population
from offlinekit.core.populations.stacked_sampling import SharedColumns, StackedSampler
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.sampling.policy_table import Choices
from offlinekit.testing import check_engines, check_resume, small_dataset

Q = [[[9.0, 0.0, 1.0], [4.0, 2.0, 6.0]]]  # [K=1, S=2, A=3]
QUIET: dict[str, Any] = {"out": None, "progress": False}


class Table:
    """A policy with probabilities [S, A] over one-hot states."""

    def __init__(self, probabilities: Any) -> None:
        self.table = np.asarray(probabilities, np.float32)

    def log_prob(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self.table[observations.argmax(-1), actions])

    def predict(self, observations: np.ndarray) -> np.ndarray:
        return self.table[observations.argmax(-1)].argmax(-1)


def right(observations: np.ndarray) -> np.ndarray:
    return np.ones(len(observations), np.int64)


def discrete(**options: Any) -> DiscreteFQE:
    given = {"policy": right, "encoder": TABLE, "seed": 0, "device": "cpu", **options}
    return DiscreteFQE(**given).build(discrete_dataset())


def test_target_averages_over_the_policys_probabilities():
    impl = discrete().impl
    set_table(impl.target_q, Q)
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]])
    batch = make_batch(
        one_hot([0, 1], 2), [2, 0], [1.0, -1.0],
        next_observations=one_hot([1, 0], 2), next_policy_probabilities=probabilities, discounts=[0.5, 0.0],
    )  # fmt: skip
    # state 1: 0.5 * 4 + 0.25 * 2 + 0.25 * 6 = 4; 1 + 0.5 * 4 = 3; the end: -1
    close(impl.compute_target(batch), [3.0, -1.0])


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_the_behaviour_does_what_the_data_show(kind):
    dataset = small_dataset(kind)
    algo = {"continuous": FQE, "discrete": DiscreteFQE}[kind](policy="behaviour", seed=0, device="cpu")
    sampler = algo.build(dataset).make_sampler(dataset)
    assert sampler.n_usable == len(dataset) - 3  # Three episodes end by a timeout: no action follows.
    batch = sampler.gather(sampler.usable)
    alive = batch.discounts > 0
    following = torch.from_numpy(dataset.actions)[sampler.usable[alive] + 1]
    chosen = batch.next_policy_actions if kind == "continuous" else batch.next_policy_probabilities
    close(chosen[alive, 0] * 2 if kind == "continuous" else chosen[alive].argmax(-1), following)


def test_loss_and_gradients():
    impl = discrete().impl
    set_table(impl.q, Q)
    batch = make_batch(one_hot([0, 1], 2), [2, 0])
    returned = impl.compute_critic_loss(batch, torch.tensor([3.0, 2.0]))
    loss = total(returned)
    # Q(0, 2) = 1, Q(1, 0) = 4: errors -2 and 2, squares 4 and 4, mean 4
    close(loss, 4.0)
    close(row_losses(returned), [[4.0, 4.0]])
    weight, _ = head_gradients(loss, impl.q)
    # d/dQ = 2 error / 2 rows: -2 at (0, 2), 2 at (1, 0)
    close(weight, [[[0.0, 0.0, -2.0], [2.0, 0.0, 0.0]]])


def test_huber_loss_is_linear_beyond_one():
    impl = discrete(td_loss="huber").impl
    set_table(impl.q, Q)
    # errors -2 and 2: 2 - 1/2 each
    close(
        total(impl.compute_critic_loss(make_batch(one_hot([0, 1], 2), [2, 0]), torch.tensor([3.0, 2.0]))), 1.5
    )


def test_members_targets_are_averaged():
    impl = discrete(n_critics=2).impl
    set_table(impl.target_q, [[[2.0] * 3] * 2, [[6.0] * 3] * 2])
    batch = make_batch(
        one_hot([0], 2),
        [0],
        [0.0],
        next_policy_probabilities=torch.tensor([[1.0, 0.0, 0.0]]),
        discounts=[1.0],
    )
    close(impl.compute_target(batch), [4.0])


def test_quantile_targets_are_those_of_one_drawn_action():
    impl = discrete(q_function="qr", n_quantiles=2).impl
    # Quantiles by action: (0, 1), (10, 11), (20, 21)
    set_constant(impl.target_q, [[0.0, 1.0, 10.0, 11.0, 20.0, 21.0]])
    rows = 4_000
    probabilities = torch.tensor([[0.25, 0.0, 0.75]]).expand(rows, 3)
    batch = make_batch(
        one_hot([0] * rows, 2),
        [0] * rows,
        [1.0] * rows,
        next_policy_probabilities=probabilities,
        discounts=[1.0] * rows,
    )
    targets = impl.compute_target(batch)
    assert targets.shape == (2, rows)
    close(targets[1] - targets[0], torch.ones(rows))
    assert set(targets[0].tolist()) == {1.0, 21.0}  # Never the action of probability 0.
    # The share of action 2 is 0.75 with standard error sqrt(.75 * .25 / 4000) = 0.007
    assert abs(float((targets[0] == 21.0).float().mean()) - 0.75) < 0.03


def continuous(**options: Any) -> FQE:
    given = {
        "policy": lambda o: np.zeros((len(o), 1), np.float32),
        "encoder": TABLE,
        "seed": 0,
        "device": "cpu",
    }
    return FQE(**{**given, **options}).build(continuous_dataset())


def test_continuous_target_averages_over_draws():
    impl = continuous(n_draws=2).impl
    set_table(impl.target_q, [[[0.0], [0.0], [10.0]]])  # Q(s, a) = 10 a
    batch = make_batch(
        torch.zeros(2, 2), torch.zeros(2, 1), [1.0, 2.0],
        next_policy_actions=torch.tensor([[[0.1], [0.5]], [[-1.0], [0.0]]]), discounts=[0.5, 0.5],
    )  # fmt: skip
    # (1 + 5) / 2 = 3, 1 + 1.5 = 2.5; (-10 + 0) / 2 = -5, 2 - 2.5 = -0.5
    close(impl.compute_target(batch), [2.5, -0.5])


def test_continuous_values_average_over_draws():
    rng = np.random.default_rng(0)
    algo = continuous(policy=lambda o: rng.integers(0, 2, (len(o), 1)).astype(np.float32), n_draws=64)
    seen = np.zeros((8, 2), np.float32)
    set_table(algo.impl.q, [[[0.0], [0.0], [10.0]]])  # Q(s, a) grows with a.
    low, high = (algo.predict_value(seen, np.full((8, 1), action, np.float32)) for action in (0.0, 1.0))
    assert (high - low > 1.0).all()
    # Halfway between, with a standard error of 1 / 16 of the distance; one draw lies at an end of it.
    assert (np.abs(algo.predict_value(seen) - (low + high) / 2) < (high - low) / 4).all()


def test_continuous_quantiles_of_all_draws_are_samples_of_the_target():
    impl = continuous(n_draws=2, q_function="qr", n_quantiles=2).impl
    set_table(impl.target_q, [[[0.0, 0.0], [0.0, 0.0], [10.0, 20.0]]])  # Quantiles 10 a, 20 a
    batch = make_batch(
        torch.zeros(1, 2), torch.zeros(1, 1), [1.0], next_policy_actions=torch.tensor([[[0.1], [0.5]]])
    )
    found = impl.compute_target(batch._replace(discounts=torch.ones(1)))
    close(found.flatten().sort().values, [2.0, 3.0, 6.0, 11.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("q_function", "bias"), [("mean", 0.01), ("qr", 0.04)]
)  # Huber quantiles lean inwards.
def test_values_of_a_chain_are_exact(q_function, bias):
    gamma = 0.9
    policy = Table([[0.3, 0.7]] * 5)
    # V = sum_a pi(a|s) Q(s, a), Q(s, a) = r + gamma V(s'): five linear equations.
    moves = np.zeros((5, 5))
    for state in range(5):
        moves[state, max(state - 1, 0)] += 0.3
        if state < 4:
            moves[state, state + 1] += 0.7
    exact = np.linalg.solve(np.eye(5) - gamma * moves, np.array([0, 0, 0, 0, 0.7]))
    options = {
        "q_function": q_function,
        "n_quantiles": 16,
        "learning_rate": 0.03,
        "tau": 0.05,
        "batch_size": 64,
    }
    algo = DiscreteFQE(policy=policy, encoder=TABLE, gamma=gamma, lr_schedule="cosine", seed=0, **options)
    algo.fit(chain_dataset(), 4_000, **QUIET)
    np.testing.assert_allclose(algo.predict_value(np.eye(5, dtype=np.float32)), exact, atol=bias)


def test_choices_stand_beside_their_rows():
    dataset = small_dataset("continuous")
    algo = FQE(policy=lambda o: o[:, :2] / 4, seed=0, device="cpu").build(dataset)
    sampler = algo.make_sampler(dataset)
    batch = sampler.gather(torch.arange(len(dataset)))
    # Actions in [-2, 2] are scaled by 1/2; the policy's at the next observation, also behind an episode's last row.
    expected = (batch.next_observations[:, :2] / 8).clamp(-1, 1)
    alive = batch.discounts > 0
    close(batch.next_policy_actions[alive, 0], expected[alive])
    close(batch.actions, torch.from_numpy(dataset.actions / 2))
    assert int(alive.sum()) == len(dataset) - 3  # Three of six episodes end in a terminal.


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_choices_are_those_of_the_next_observation(kind):
    dataset = small_dataset(kind)
    policy = (lambda o: o[:, :2]) if kind == "continuous" else (lambda o: (o[:, 0] > 0).astype(np.int64))
    front = FQE if kind == "continuous" else DiscreteFQE
    algo = front(policy=policy, action_scaler=None, seed=0, device="cpu").build(dataset)
    batch = algo.make_sampler(dataset).gather(torch.arange(len(dataset)))
    following = batch.next_observations.numpy()
    alive = batch.discounts.numpy() > 0
    chosen = (
        batch.next_policy_actions[:, 0]
        if kind == "continuous"
        else batch.next_policy_probabilities.argmax(-1)
    )
    np.testing.assert_allclose(chosen.numpy()[alive], policy(following)[alive])


def test_steps_of_the_data_do_not_stand_for_those_of_the_policy():
    data = small_dataset("discrete")
    with pytest.raises(ValueError, match="n_step=3 would count rewards of what the data did"):
        DiscreteFQE(policy=right, n_step=3, seed=0).fit(data, 1, **QUIET)
    DiscreteFQE(policy="behaviour", n_step=3, seed=0, device="cpu").fit(data, 1, **QUIET)


def test_bootstraps_share_one_table_and_draw_the_rows_they_would_draw_alone():
    data = small_dataset("discrete")
    fits = [
        DiscreteFQE(policy=right, seed=seed, resample=seed > 0, device="cpu").build(data) for seed in range(3)
    ]
    shared = SharedColumns()
    twins = [shared(fit, data) for fit in fits]
    assert twins[0].columns is twins[1].columns is twins[2].columns
    for fit, twin in zip(fits, twins, strict=True):
        rows = twin.next_rows()
        assert torch.equal(rows, fit.make_sampler(data).next_rows())
        drawn = np.repeat(fit.episode_counts(data), data.episode_lengths()) > 0
        assert drawn[rows].all() or not fit.resample


def test_members_of_tables_in_turns_get_their_own_rows():
    data = small_dataset("continuous")
    policies = [lambda o, a=a: np.full((len(o), 2), a, np.float32) for a in (-1.0, 1.0)]
    for turns in ([0, 1, 0, 1], [0, 0, 1, 1]):
        fits = [FQE(policy=policies[p], seed=i, device="cpu").build(data) for i, p in enumerate(turns)]
        shared = SharedColumns()
        together = StackedSampler([shared(fit, data) for fit in fits]).sample()
        for member, fit in enumerate(fits):
            alone = fit.make_sampler(data).sample()
            assert torch.equal(together.rewards[member], alone.rewards)
            assert torch.equal(together.next_policy_actions[member], alone.next_policy_actions)


def test_a_fit_to_all_data_draws_no_rows_of_a_bootstrap_before_it():
    data = small_dataset("discrete")
    drawn = DiscreteFQE(policy=right, seed=1, resample=True, device="cpu").build(data)
    whole = DiscreteFQE(policy=right, seed=0, device="cpu").build(data)
    shared = SharedColumns()
    shared(drawn, data)
    assert torch.equal(shared(whole, data).next_rows(), whole.make_sampler(data).next_rows())


def test_updates_that_values_need():
    ended = small_dataset("discrete")
    ended = ended[np.flatnonzero(ended.terminals[ended.episode_ends - 1])]
    longest = int(ended.episode_lengths().max())
    cut = small_dataset("discrete")
    # 3 / (0.05 * 0.01) where episodes are cut off; 3 L / tau where all end and L < 1 / (1 - gamma).
    assert DiscreteFQE(policy=right, gamma=0.99, tau=0.05).updates_needed(cut) == 6_000
    assert DiscreteFQE(policy=right, gamma=0.99, tau=0.001).updates_needed(ended) == 3_000 * longest
    slow = DiscreteFQE(policy=right, gamma=0.99, tau=0.005, target_update_interval=2)
    assert slow.updates_needed(cut) == 120_000
    assert DiscreteFQE(policy=right, gamma=0.5).updates_needed(cut) == 120
    with pytest.raises(UnsupportedError, match="endless episodes need gamma < 1"):
        DiscreteFQE(policy=right, gamma=1.0).updates_needed(cut)


@pytest.mark.parametrize("front", [FQE, DiscreteFQE])
def test_engines_and_resume(front):
    def policy(observations: np.ndarray) -> np.ndarray:
        n = len(observations)
        return np.zeros((n, 2), np.float32) if front is FQE else np.zeros(n, np.int64)

    def make(**options: Any) -> Any:
        return front(policy=policy, **options)

    check_engines(make)
    check_resume(make)


def test_many_policies_are_one_stack():
    dataset = small_dataset("continuous")
    policies = [lambda o, a=a: np.full((len(o), 2), a, np.float32) for a in (-1.0, 0.0, 1.0)]
    small = {"encoder": TABLE, "batch_size": 16, "device": "cpu"}
    population = Population([FQE(policy=p, seed=0, **small) for p in policies]).fit(dataset, 20, **QUIET)
    assert population.stacks == [[0, 1, 2]]
    values = [member.predict_value(dataset.observations[:5]) for member in population.algos]
    alone = FQE(policy=policies[2], seed=0, **small).fit(dataset, 20, **QUIET)
    np.testing.assert_allclose(values[2], alone.predict_value(dataset.observations[:5]), rtol=1e-4, atol=1e-5)
    assert not np.allclose(values[0], values[2])


def test_a_file_does_not_hold_the_policy(tmp_path):
    dataset = discrete_dataset()
    algo = discrete(batch_size=4).fit(dataset, 5, **QUIET)
    path = algo.save(tmp_path / "fqe.okt")
    loaded = offlinekit.load(path)
    assert isinstance(loaded, DiscreteFQE)
    seen, acted = dataset.observations, dataset.actions
    np.testing.assert_array_equal(loaded.predict_value(seen, acted), algo.predict_value(seen, acted))
    with pytest.raises(ValueError, match=r"give policy=algo.*load\(path, policy=algo\)"):
        loaded.fit(dataset, 5, **QUIET)
    again = DiscreteFQE.load(path, policy=right).fit(dataset, 5, **QUIET)
    algo.fit(dataset, 5, **QUIET)
    np.testing.assert_array_equal(again.predict_value(seen), algo.predict_value(seen))


def test_value_of_the_policys_own_action():
    algo = discrete(policy=Table([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    set_table(algo.impl.q, Q)
    # state 0: (9 + 0) / 2; state 1: 6
    np.testing.assert_allclose(algo.predict_value(np.eye(2, dtype=np.float32)), [4.5, 6.0])
    assert algo.predict_value(np.eye(2, dtype=np.float32)[0]) == pytest.approx(4.5)


def test_resampled_episodes():
    dataset = small_dataset("discrete")
    algo = DiscreteFQE(policy=right, resample=True, seed=3, device="cpu").build(dataset)
    counts = algo.episode_counts(dataset)
    assert counts.sum() == 6
    assert counts.max() > 1
    drawn = algo.make_sampler(dataset)
    rows = torch.cat([drawn.next_rows() for _ in range(200)])
    shares = np.bincount(rows.numpy() // 20, minlength=6) / len(rows)
    np.testing.assert_allclose(shares, counts / 6, atol=0.01)  # 51,200 rows: standard error below 0.002.
    values = algo.predict_value(dataset.observations[dataset.episode_starts])
    assert algo.start_value(dataset) == pytest.approx(float((counts * values).sum() / 6), rel=1e-5)


def test_a_file_without_its_policy_says_how_to_load_it(tmp_path):
    dataset = discrete_dataset()
    policy = lambda seen: np.zeros(len(seen), np.int64)  # noqa: E731  # The policy itself, in one line.
    fitted = DiscreteFQE(policy=policy, batch_size=8, seed=0).fit(dataset, 2, **QUIET)
    path = fitted.save(tmp_path / "fqe.okt")
    alone = offlinekit.load(path)
    for ask in (alone.start_value, alone.start_values, lambda data: alone.predict_value(data.observations)):
        with pytest.raises(UnsupportedError, match=r"give it to load\(path, policy=algo\)"):
            ask(dataset)
    assert offlinekit.load(path, policy=policy).start_value(dataset) == fitted.start_value(dataset)
    assert alone.predict_value(dataset.observations, dataset.actions).shape == (len(dataset),)


def test_what_cannot_be_judged_is_refused(tmp_path):
    dataset = discrete_dataset()
    with pytest.raises(UnsupportedError, match="evaluates a policy and does not act"):
        discrete().predict(dataset.observations)
    with pytest.raises(UnsupportedError, match="no actions beside the recorded ones; give these"):
        discrete(policy="behaviour").predict_value(dataset.observations)
    with pytest.raises(ValueError, match="the policy returned action 7"):
        DiscreteFQE(policy=lambda o: np.full(len(o), 7)).fit(dataset, 1, **QUIET)

    class Remembers:
        is_stateful = True

    with pytest.raises(UnsupportedError, match="what came before in its episode"):
        DiscreteFQE(policy=Remembers()).fit(dataset, 1, **QUIET)
    with pytest.raises(ValueError, match="sums to 2"):
        Choices(Table([[1.0, 1.0]]), Discrete(2)).at(np.eye(1))
    with pytest.raises(TypeError, match="no hyperparameter 'polcy'; did you mean 'policy'"):
        DiscreteFQE.load(discrete().save(tmp_path / "x.okt"), polcy=right)


def test_draws_of_a_discrete_policy_become_shares():
    rng = np.random.default_rng(0)
    found = Choices(lambda o: rng.integers(0, 2, len(o)), Discrete(2), n_draws=4).at(np.zeros((50, 1)))
    np.testing.assert_allclose(found.sum(-1), 1.0)
    assert set(np.unique(found)) <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert len(np.unique(found)) > 2


def test_stacked_images_of_what_follows_an_episode():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (6, 1, 4, 4), dtype=np.uint8)
    final = rng.integers(0, 255, (1, 1, 4, 4), dtype=np.uint8)
    timeouts = np.arange(6) == 5
    dataset = MDPDataset(
        frames, np.arange(6) % 2, np.zeros(6), np.zeros(6, bool), timeouts=timeouts,
        next_observations=np.concatenate([frames[1:], final]),
    )  # fmt: skip
    seen = []
    Choices(lambda o: seen.append(o) or np.zeros(len(o), np.int64), Discrete(2)).everywhere(dataset, 3)
    np.testing.assert_array_equal(seen[0][0], np.concatenate([frames[4], frames[5], final[0]]))
