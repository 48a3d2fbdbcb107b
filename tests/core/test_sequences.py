"""Common parts of sequence models: attention, padding, causality, and acting with a memory."""

from __future__ import annotations

import math

import gymnasium
import numpy as np
import pytest
import torch
from loss_checks import close
from torch import nn
from windows import SMALL, random_windows, reach, set_head, walk_dataset

from offlinekit import load
from offlinekit.algos import DecisionTransformer
from offlinekit.datasets import MDPDataset
from offlinekit.metrics import action_difference, evaluate
from offlinekit.nn.random import Random
from offlinekit.nn.transformer import Attention, Block, CausalTransformer

RANDOM = Random(0, torch.device("cpu"))


def build(**options) -> DecisionTransformer:
    return DecisionTransformer(**{**SMALL, **options}).build(walk_dataset())


def attention(n_heads: int = 1) -> Attention:
    """Values are the tokens themselves; queries and keys are zero until a test sets them."""
    made = Attention(DecisionTransformer(width=2, n_heads=n_heads), RANDOM).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        made.inputs.weight[2:4] = torch.eye(2)
        made.outputs.weight.copy_(torch.eye(2))
    return made


def bias(rows: list[list[int]], n_heads: int = 1) -> torch.Tensor:
    """What is added to scores: 0 where a token (row) sees another (column), else -inf; the same for each head."""
    seen = torch.tensor(rows, dtype=torch.bool)
    return torch.zeros(n_heads, *seen.shape).masked_fill(~seen, -math.inf)


def test_attention_is_a_mean_of_what_is_visible():
    tokens = torch.tensor([[[1.0, 0.0], [3.0, 2.0], [5.0, 7.0]]])
    # Equal scores: token 1; the mean of 1 and 2; the mean of 2 and 3.
    close(
        attention()(tokens, bias([[1, 0, 0], [1, 1, 0], [0, 1, 1]])), [[[1.0, 0.0], [2.0, 1.0], [4.0, 4.5]]]
    )


def test_attention_weighs_by_queries_and_keys():
    made = attention()
    with torch.no_grad():
        made.inputs.weight[0:2] = 2 * torch.eye(2)
        made.keys.weight.copy_(torch.eye(2))
    tokens = torch.tensor([[[1.0, 0.0], [1.0, 2.0]]])
    # Scores of the second token: (2, 10) / sqrt(2); its weight on itself is 1 / (1 + exp(-8 / sqrt(2))).
    own = 1 / (1 + math.exp(-8 / math.sqrt(2)))
    close(made(tokens, bias([[1, 0], [1, 1]])), [[[1.0, 0.0], [1.0, 2 * own]]])


def test_heads_look_by_themselves():
    made = attention(n_heads=2)
    with torch.no_grad():
        made.inputs.weight[0, 0] = made.keys.weight[0, 0] = 1.0  # Query and key of the first head alone.
    tokens = torch.tensor([[[1.0, 4.0], [2.0, 8.0]]])
    # First head, of size 1: scores x_i x_j; the second token prefers itself by exp(2 * (2 - 1)).
    own = 1 / (1 + math.exp(-2.0))
    found = made(tokens, bias([[1, 1], [1, 1]], n_heads=2))
    close(found[0, 1], [1.0 + own, 6.0])
    close(found[0, 0, 1], 6.0)


def test_a_block_adds_to_what_comes_in():
    block = Block(DecisionTransformer(width=2), nn.ReLU(), RANDOM).eval()
    tokens = torch.tensor([[[1.0, 5.0]]])
    with torch.no_grad():
        for linear in (block.attention.outputs, block.mlp[2]):
            linear.weight.zero_()
            linear.bias.copy_(torch.tensor([0.5, 0.25]))
    close(block(tokens, bias([[1]])), [[[2.0, 5.5]]])


def test_the_transformer_normalises_before_and_after():
    made = CausalTransformer(DecisionTransformer(**SMALL), nn.ReLU, RANDOM).eval()
    tokens = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1))
    masks = torch.ones(1, 3, dtype=torch.bool)
    out = made(tokens, masks)
    close(out.mean(-1), torch.zeros(1, 3))
    close(out.square().mean(-1), torch.ones(1, 3), atol=1e-3)
    weights = [parameter.detach() for name, parameter in made.named_parameters() if "norm" not in name]
    # GPT-2's start: weights of standard deviation 0.02, biases 0.
    assert all(float(w.abs().max()) < 0.1 for w in weights)
    assert all(not w.any() for w in weights if w.ndim == 1)


def test_an_action_is_seen_by_later_steps_alone_and_nothing_looks_ahead():
    batch = random_windows(2, [3, 2])
    found = reach(build().impl, batch, 0, 1)
    assert found == {
        "observations": [True, True, False],
        "returns_to_go": [True, True, False],
        "actions": [True, False, False],
    }


def test_future_steps_change_no_earlier_output():
    impl, batch = build().impl, random_windows(2, [3, 3])
    before = impl.outputs(batch)
    changed = [x.clone() for x in batch]
    for leaf in changed[:4]:
        leaf[:, 2] = leaf[:, 2] * 3 + 1
    after = impl.outputs(type(batch)(*changed))
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2], after[:, 2])


def test_padding_is_not_seen():
    impl, batch = build().impl, random_windows(2, [3, 2])
    assert reach(impl, batch, 1, 2) == {
        "observations": [False, True, True],
        "returns_to_go": [False, True, True],
        "actions": [False, True, False],
    }
    changed = [x.clone() for x in batch]
    for leaf in changed[:4]:
        leaf[1, 0] = 7
    changed[5] = changed[5].clone()
    changed[5][1, 0] = 9
    assert torch.equal(impl.outputs(batch)[1, 1:], impl.outputs(type(batch)(*changed))[1, 1:])
    assert bool(impl.outputs(batch).isfinite().all())


def test_a_longer_padding_changes_nothing():
    impl = build().impl
    batch = random_windows(2, [2, 2])
    short = type(batch)(*(x[:, 1:] for x in batch))
    close(impl.outputs(batch)[:, 1:], impl.outputs(short))


def test_timesteps_tell_steps_apart_up_to_the_last():
    impl, batch = build().impl, random_windows(1, [3])
    later = impl.outputs(batch._replace(timesteps=batch.timesteps + 1))
    assert not torch.allclose(impl.outputs(batch), later)
    last = batch._replace(timesteps=torch.full((1, 3), 9))
    assert torch.equal(impl.outputs(last), impl.outputs(last._replace(timesteps=last.timesteps + 50)))


def test_returns_are_divided_by_their_scale():
    impl = build(return_scale=100.0).impl
    batch = random_windows(1, [3])
    close(impl.conditions(batch), batch.returns_to_go / 100)
    other = build(return_scale=200.0).impl
    close(impl.outputs(batch), other.outputs(batch._replace(returns_to_go=batch.returns_to_go * 2)))


def test_dropout_is_of_training_alone():
    impl, batch = build(dropout=0.5).impl, random_windows(2, [3, 3])
    assert torch.equal(impl.outputs(batch), impl.outputs(batch))
    impl.train()
    assert not torch.equal(impl.outputs(batch), impl.outputs(batch))


# Acting.


def seen_windows(algo, monkeypatch):
    """Returns the list to which each window that the policy is asked about is added."""
    windows = []
    outputs = algo.impl.outputs

    def noted(batch, policy=None):
        windows.append(type(batch)(*(leaf.clone() for leaf in batch)))
        return outputs(batch, policy)

    monkeypatch.setattr(algo.impl, "outputs", noted)
    return windows


def test_the_memory_of_an_episode(monkeypatch):
    algo = build()
    set_head(algo.impl, [math.atanh(0.5), 0.0])
    windows = seen_windows(algo, monkeypatch)
    actor = algo.as_stateful(100.0)
    for step, reward in enumerate([99.0, 10.0, 20.0, 30.0]):
        action = actor.predict(np.full(2, step + 1, np.float32), reward)
        np.testing.assert_allclose(action, [0.5, 0.0], rtol=1e-6)
    # A reward before the first step is none. The context holds three steps, so in the end step 0 is gone.
    expected = [
        ([0, 0, 1], [0, 0, 100], [0, 0, 0], [0, 0, 0], [0, 0, 0]),
        ([0, 1, 2], [0, 100, 90], [0, 0, 1], [0, 0.5, 0], [0, 10, 0]),
        ([1, 2, 3], [100, 90, 70], [0, 1, 2], [0.5, 0.5, 0], [10, 20, 0]),
        ([2, 3, 4], [90, 70, 40], [1, 2, 3], [0.5, 0.5, 0], [20, 30, 0]),
    ]
    for window, (observed, to_go, times, acted, earned) in zip(windows, expected, strict=True):
        masks = window.valid[0]
        assert masks.tolist() == [o > 0 for o in observed]
        close(window.observations[0, :, 0], observed)
        close(window.returns_to_go[0][masks], torch.tensor(to_go, dtype=torch.float32)[masks])
        assert window.timesteps[0][masks].tolist() == torch.tensor(times)[masks].tolist()
        close(window.actions[0, :, 0], acted)
        close(window.rewards[0], earned)


def test_acting_says_what_training_windows_say():
    algo, data = build(), walk_dataset()
    # With the data's own actions in the memory, each action is that of the window which ends there.
    expected = algo.predict_rows(data)[:4]
    actor = algo.as_stateful(10.0)
    for step in range(4):
        found = actor.predict(data.observations[step], float(data.rewards[step - 1]) if step else 0.0)
        np.testing.assert_allclose(found, expected[step], atol=1e-6)
        actor._memories[None].actions[0, -1] = torch.from_numpy(data.actions[step])


def test_reset_begins_a_new_episode():
    algo = build()
    actor, observation = algo.as_stateful(50.0), np.ones(2, np.float32)
    first = actor.predict(observation)
    assert not np.array_equal(first, actor.predict(observation, 5.0))
    actor.reset()
    assert np.array_equal(first, actor.predict(observation))
    assert not np.array_equal(first, actor.predict(observation))


def test_the_reward_of_a_first_step_is_none():
    algo = build()
    observation = np.ones(2, np.float32)
    assert np.array_equal(
        algo.as_stateful(50.0).predict(observation, 0.0), algo.as_stateful(50.0).predict(observation, 30.0)
    )


def test_the_target_is_given_or_the_hyperparameter_or_the_best_of_the_data():
    observation = np.ones(2, np.float32)
    first = [
        algo.as_stateful(target).predict(observation)
        for algo, target in ((build(), 11.0), (build(), None), (build(target_return=11.0), None))
    ]
    assert np.array_equal(first[0], first[1])
    assert np.array_equal(first[0], first[2])
    assert not np.array_equal(first[0], build().as_stateful(900.0).predict(observation))
    assert not np.array_equal(first[0], build(target_return=900.0).as_stateful().predict(observation))


def test_predict_takes_each_observation_for_the_first_of_an_episode():
    algo, observations = build(), walk_dataset().observations
    found = algo.predict(observations)
    for observation, action in zip(observations, found, strict=True):
        np.testing.assert_allclose(algo.as_stateful().predict(observation), action, atol=1e-6)
        np.testing.assert_allclose(algo.predict(observation), action, atol=1e-6)


def test_discounted_returns_to_go():
    algo = build(gamma=0.5)
    # Episodes return 1 + 2/2 + 3/4 + 4/8 = 3.25 and 5 + 6/2 = 8.
    assert float(algo.impl.best_return) == 8.0
    window = algo.impl.begin_episode(8.0)
    first = algo.impl.extended(window, torch.zeros(1, 2), torch.zeros(1))
    second = algo.impl.extended(first, torch.zeros(1, 2), torch.tensor([5.0]))
    # After earning 5 of 8, 3 are left of the next step on, seen from there 6.
    close(second.returns_to_go[0, -2:], [8.0, 6.0])


class Line(gymnasium.Env):
    """Three steps; pays the first number of the action."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))

    def reset(self, *, seed=None, options=None):
        self.time = 0
        return np.full(2, seed or 0, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.full(2, self.time, np.float32), float(action[0]), self.time == 3, False, {}


def test_evaluation_is_the_same_side_by_side_and_one_by_one_and_step_by_step():
    algo = build(target_return=5.0)
    together, alone = (evaluate(algo, Line, 4, seed=1, n_envs=n).returns for n in (3, 1))
    np.testing.assert_allclose(together, alone, atol=1e-6)
    for i, expected in enumerate(together):
        env, actor = Line(), algo.as_stateful(5.0)
        observation, reward, total, over = env.reset(seed=1 + i)[0], 0.0, 0.0, False
        while not over:
            observation, reward, over, _, _ = env.step(actor.predict(observation, reward))
            total += reward
        assert total == pytest.approx(expected, abs=1e-6)
    other = evaluate(algo.as_stateful(5_000.0), Line(), 4, seed=1).returns
    assert not np.allclose(other, together)


def test_a_loaded_policy_acts_for_the_same_return(tmp_path):
    algo = build()
    loaded = load(algo.save(tmp_path / "policy.okt"), device="cpu")
    observation = np.ones(2, np.float32)
    assert float(loaded.impl.best_return) == 11.0
    assert np.array_equal(loaded.as_stateful().predict(observation), algo.as_stateful().predict(observation))


def test_windows_of_training_begin_with_rows_drawn_evenly():
    batch = build(batch_size=4_000).sample_batch(walk_dataset())
    # Row 3, the last of the first episode, begins every sixth window; that one has a single step.
    alone = batch.terminals[:, -1] & (batch.valid.sum(1) == 1)
    assert abs(float(alone.double().mean()) - 1 / 6) < 0.03
    assert batch.returns_to_go.max() == 11.0


def test_metrics_of_a_dataset_look_at_the_steps_before_each_row():
    algo, data = build(), walk_dataset()
    rows = algo.predict_rows(data)
    assert rows.shape == data.actions.shape
    expected = np.mean(np.sum((rows.astype(np.float64) - data.actions) ** 2, axis=-1))
    assert action_difference(algo, data) == pytest.approx(expected)
    assert not np.allclose(rows[1:4], algo.predict(data.observations)[1:4])


def test_the_learning_rate_grows_linearly():
    algo = build(warmup_steps=4, learning_rate=8e-3)
    rates = []
    for _ in range(6):
        algo.impl.begin_update()
        rates.append(algo.impl.objectives[0].optimizer.learning_rate)
    assert rates == pytest.approx([2e-3, 4e-3, 6e-3, 8e-3, 8e-3, 8e-3])


def test_images_in_a_dict():
    rng = np.random.default_rng(0)
    observations = {
        "camera": rng.integers(0, 255, (6, 1, 36, 36), dtype=np.uint8),
        "rest": rng.normal(size=(6, 2)).astype(np.float32),
    }
    data = MDPDataset(observations, walk_dataset().actions, np.ones(6), np.arange(6) == 5)
    algo = DecisionTransformer(**{**SMALL, "context": 2}, batch_size=2).fit(data, 2, out=None, progress=False)
    actor = algo.as_stateful(3.0)
    for i in range(3):
        first = {key: value[i] for key, value in observations.items()}
        assert actor.predict(first, 1.0).shape == (2,)


def test_wrong_hyperparameters_are_refused():
    with pytest.raises(ValueError, match="n_heads must divide width=4, got 3"):
        DecisionTransformer(width=4, n_heads=3)
    with pytest.raises(ValueError, match="n_step must be 1"):
        DecisionTransformer(n_step=3)
    with pytest.raises(ValueError, match="return_scale; reward_scaler must be None"):
        DecisionTransformer(reward_scaler="standard")
    algo = DecisionTransformer()
    with pytest.raises(ValueError, match="return_scale; reward_scaler must be None"):
        algo.reward_scaler = "return"
    assert algo.reward_scaler is None


@pytest.mark.parametrize(
    ("target", "error", "got"),
    [
        (math.nan, ValueError, "nan"),
        (math.inf, ValueError, "inf"),
        ("5", TypeError, "'5'"),
        ([3.0], TypeError, r"\[3.0\]"),
        (True, TypeError, "True"),
    ],
)
def test_a_target_is_checked_when_acting_begins_as_the_hyperparameter_is(target, error, got):
    algo = build()
    message = rf"target_return must be .*number.*got {got}|target_return must be in \(-inf, inf\), got {got}"
    with pytest.raises(error, match=message):
        algo.as_stateful(target)
    with pytest.raises(error, match=message):
        build(target_return=target)


def test_returns_to_go_without_future_are_refused():
    with pytest.raises(ValueError, match=r"gamma must be in \(0, 1\], got 0.0"):  # Each step divides by it.
        build(gamma=0.0)
