"""Decision Transformer: the loss by hand, and what the return makes of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, total
from small_tasks import bandit_error
from windows import SMALL, random_windows, set_head, walk_dataset

from offlinekit.algos import BC, DecisionTransformer, MLPEncoder
from offlinekit.algos.torch.decision_transformer_impl import DecisionTransformerImpl
from offlinekit.datasets import MDPDataset


def build(**options: object) -> DecisionTransformerImpl:
    return DecisionTransformer(**{**SMALL, **options}).build(walk_dataset()).impl


def two_windows():
    """Three real steps in all; actions (0.9, 0.1) and (0.3, -0.2), then (0.5, 0.4); garbage in the padding."""
    batch = random_windows(2, [2, 1])
    actions = torch.full((2, 3, 2), 99.0)
    actions[0, 1], actions[0, 2] = torch.tensor([0.9, 0.1]), torch.tensor([0.3, -0.2])
    actions[1, 2] = torch.tensor([0.5, 0.4])
    return batch._replace(actions=actions)


def test_loss_by_hand():
    impl = build()
    set_head(impl, [math.atanh(0.5), 0.0])
    # Errors (-0.4, -0.1), (0.2, 0.2), (0, -0.4); squares sum to 0.17, 0.08, 0.16
    # mean over three steps and two dimensions: 0.41 / 6
    rows = impl.compute_actor_loss(two_windows())
    close(total(rows), 0.41 / 6)
    # Of windows of two steps and of one, which count for so many.
    close(rows.values, [0.25 / 4, 0.16 / 2])
    close(rows.weights, [2.0, 1.0])


def test_gradient_by_hand():
    impl = build()
    set_head(impl, [math.atanh(0.5), 0.0])
    (gradient,) = torch.autograd.grad(total(impl.compute_actor_loss(two_windows())), [impl.policy.head.bias])
    # 2 / 6 * (sums of errors) * (1 - tanh^2): sums (-0.2, -0.3), slopes (0.75, 1)
    close(gradient, [2 / 6 * -0.2 * 0.75, 2 / 6 * -0.3])


def test_padding_carries_no_loss():
    impl = build()
    batch = two_windows()
    loss = total(impl.compute_actor_loss(batch))
    other = batch.actions.clone()
    other[~batch.valid] = -3.0
    assert torch.equal(loss, total(impl.compute_actor_loss(batch._replace(actions=other))))


def test_the_last_action_is_not_seen_by_its_own_prediction():
    impl = build()
    batch = random_windows(2, [3, 3])
    changed = batch.actions.clone()
    changed[:, -1] += 1.0
    assert torch.equal(impl.outputs(batch), impl.outputs(batch._replace(actions=changed)))


def test_defaults_are_those_of_the_paper():
    algo = DecisionTransformer()
    given = (algo.n_layers, algo.n_heads, algo.width, algo.context, algo.dropout, algo.return_scale)
    assert given == (3, 1, 128, 20, 0.1, 1000.0)
    given = (algo.learning_rate, algo.batch_size, algo.weight_decay, algo.clip_grad_norm, algo.warmup_steps)
    assert given == (1e-4, 64, 1e-4, 0.25, 10_000)
    assert (algo.optimizer, algo.gamma) == ("adamw", 1.0)


def test_the_gradient_is_clipped_and_weights_decay():
    impl = build(clip_grad_norm=1e-3)
    gradients, _ = impl.objectives[0].gradients(two_windows())
    norm = torch.stack([g.norm() for g in gradients if g is not None]).norm()
    close(norm, 1e-3, atol=1e-6)
    assert impl.objectives[0].optimizer.groups[0][1] == 1e-4


def test_observations_are_embedded_by_one_linear_map_unless_an_encoder_is_given():
    layers = build().policy.observation.mlp.layers
    assert [layer.weight.shape for layer in layers] == [(4, 2)]
    hidden = build(encoder=MLPEncoder((5,))).policy.observation.mlp.layers
    assert hidden[0].weight.shape == (5, 2)


def test_activations_and_tokens_of_the_paper():
    policy = build().policy
    assert isinstance(policy.transformer.blocks[0].mlp[1], torch.nn.ReLU)
    assert policy.time.weight.shape == (10, 4)


def test_the_return_asked_for_chooses_among_what_the_data_did():
    """Actions 0.5 with return 1 and -0.5 with return 0 in equal parts: cloning does neither."""
    rng = np.random.default_rng(0)
    good = rng.random(200) < 0.5
    columns = {
        "observations": np.zeros((200, 1), np.float32),
        "actions": np.where(good, 0.5, -0.5).astype(np.float32)[:, None],
        "rewards": good.astype(np.float32),
        "terminals": np.ones(200, bool),
    }
    data = MDPDataset(**columns)
    quick = {"learning_rate": 3e-3, "warmup_steps": 1, "return_scale": 1.0, "dropout": 0.0, "batch_size": 32}
    algo = DecisionTransformer(**{**SMALL, "width": 16, "n_layers": 1, "context": 1, **quick})
    algo.fit(data, 150, out=None, progress=False)
    observation = np.zeros(1, np.float32)
    high, low = (algo.as_stateful(target).predict(observation)[0] for target in (1.0, 0.0))
    assert high > 0.4
    assert low < -0.4


@pytest.mark.slow
def test_it_is_better_than_cloning():
    settings = {"batch_size": 64, "seed": 0, "device": "cpu"}
    algo = DecisionTransformer(
        width=32,
        n_layers=2,
        context=1,
        dropout=0.0,
        return_scale=1.0,
        learning_rate=1e-3,
        warmup_steps=50,
        **settings,
    )
    # Cloning predicts the mean action 0, at a distance of 0.25 from the best ones.
    assert bandit_error(algo, 1_500) < 0.12
    assert bandit_error(BC(encoder=MLPEncoder((32, 32)), **settings), 500) > 0.2
