"""Decision Transformer for discrete actions: loss, places in the window, images, drawn actions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, row_losses, total
from small_tasks import choice_score
from torch import nn
from windows import SMALL, random_windows, reach, walk_dataset

from offlinekit.algos import DiscreteBC, DiscreteDecisionTransformer, MLPEncoder
from offlinekit.algos.torch.discrete_decision_transformer_impl import DiscreteDecisionTransformerImpl
from offlinekit.datasets import MDPDataset

OPTIONS = {name: value for name, value in SMALL.items() if name != "action_scaler"}
OPTIONS["return_scale"] = 1_000.0
LOGITS = [math.log(0.5), math.log(0.3), math.log(0.2)]


class Always(nn.Module):
    """A head that answers with the same logits to every token; they are its parameter."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, tokens):
        return self.logits.expand(*tokens.shape[:-1], -1)


def front(**options: object) -> DiscreteDecisionTransformer:
    return DiscreteDecisionTransformer(**{**OPTIONS, **options}).build(walk_dataset(discrete=True))


def build(**options: object) -> DiscreteDecisionTransformerImpl:
    return front(**options).impl


def windows(lengths: list[int]):
    return random_windows(len(lengths), lengths, discrete=True)


def test_loss_by_hand():
    impl = build()
    impl.policy.head = Always(LOGITS)
    batch = windows([2, 1])._replace(actions=torch.tensor([[2, 0, 1], [2, 2, 2]]))
    # Real steps take 0 and 1, then 2: -(log 0.5 + log 0.3 + log 0.2) / 3
    returned = impl.compute_actor_loss(batch)
    loss = total(returned)
    close(loss, -math.log(0.5 * 0.3 * 0.2) / 3)
    close(row_losses(returned), [-math.log(0.5 * 0.3) / 2, -math.log(0.2)])
    # Gradient by the logits: the mean of softmax less one-hot; each action is taken once of three times.
    (gradient,) = torch.autograd.grad(loss, [impl.policy.head.logits])
    close(gradient, [0.5 - 1 / 3, 0.3 - 1 / 3, 0.2 - 1 / 3])


def test_padding_carries_no_loss_and_is_not_seen():
    impl, batch = build(), windows([3, 2])
    other = batch.actions.clone()
    other[1, 0] = 2 - other[1, 0]
    changed = batch._replace(actions=other)
    assert torch.equal(total(impl.compute_actor_loss(batch)), total(impl.compute_actor_loss(changed)))
    assert reach(impl, batch, 1, 2) == {
        "observations": [False, True, True],
        "returns_to_go": [False, True, True],
    }


def test_nothing_looks_ahead_and_an_action_not_at_itself():
    impl, batch = build(), windows([3, 3])
    assert reach(impl, batch, 0, 1)["observations"] == [True, True, False]
    actions = batch.actions.clone()
    actions[:, 1] = (actions[:, 1] + 1) % 3
    before, after = impl.outputs(batch), impl.outputs(batch._replace(actions=actions))
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.equal(before[:, 2], after[:, 2])


def test_tokens_are_squashed_and_know_their_place_and_when_the_window_begins():
    policy = build().policy
    with torch.no_grad():
        policy.place.copy_(torch.arange(1.0, 10.0)[:, None].expand(9, 4))
        policy.time.copy_(100 * torch.arange(10.0)[:, None].expand(10, 4))
    tokens = torch.full((2, 3, 3, 4), math.atanh(0.5))
    masks = torch.tensor([[True, True, True], [False, True, True]])
    timesteps = torch.tensor([[2, 3, 4], [0, 7, 8]])
    placed = policy.placed(tokens, timesteps, masks)[..., 0]
    # Places 1 to 9; the second window's first real step has places 1 to 3. Windows begin at times 2 and 7.
    close(placed[0], torch.arange(1.0, 10.0).reshape(3, 3) + 200.5)
    close(placed[1, 1:], torch.arange(1.0, 7.0).reshape(2, 3) + 700.5)
    late = policy.placed(tokens, timesteps + 50, masks)[..., 0]
    close(late[0], torch.arange(1.0, 10.0).reshape(3, 3) + 900.5)


def test_both_tables_begin_at_zero_and_the_rest_small():
    policy = build().policy
    assert not policy.place.any()
    assert not policy.time.any()
    assert float(policy.action.weight.detach().abs().max()) < 0.1
    assert policy.head.bias is None
    assert isinstance(policy.transformer.blocks[0].mlp[1], nn.GELU)


def test_weights_of_maps_decay_and_nothing_else():
    impl = build(encoder=MLPEncoder((5,), layer_norm=True))
    (decaying, decay), (others, none) = impl.objectives[0].optimizer.groups
    assert (decay, none) == (0.1, 0.0)
    policy = impl.policy
    plain = {id(parameter) for parameter in others}
    assert {id(policy.place), id(policy.time), id(policy.action.weight)} < plain
    assert all(weight.ndim == 2 for weight in decaying)
    assert len(decaying) + len(others) == len(list(policy.parameters()))
    # Of each block five maps; the head, the embeddings of returns and observations, one hidden layer.
    assert len(decaying) == 2 * 5 + 4


def test_greedy_and_drawn_actions():
    algo = front()
    algo.impl.policy.head = Always(LOGITS)
    observation = np.zeros(2, np.float32)
    greedy, drawn = algo.as_stateful(1.0), algo.as_stateful(1.0, sample=True)
    assert all(int(greedy.predict(observation, 0.0)) == 0 for _ in range(5))
    counts = np.bincount([int(drawn.predict(observation, 0.0)) for _ in range(300)], minlength=3) / 300
    np.testing.assert_allclose(counts, [0.5, 0.3, 0.2], atol=0.1)


def test_the_memory_holds_the_actions_taken(monkeypatch):
    algo = front()
    algo.impl.policy.head = Always([0.0, 0.0, 1.0])
    seen = []
    outputs = algo.impl.outputs
    monkeypatch.setattr(
        algo.impl, "outputs", lambda window: (seen.append(window.actions.clone()), outputs(window))[1]
    )
    actor = algo.as_stateful(1.0)
    for _ in range(3):
        actor.predict(np.zeros(2, np.float32), 0.0)
    assert [window[0].tolist() for window in seen] == [[0, 0, 0], [0, 2, 0], [2, 2, 0]]


def test_defaults_are_those_of_the_atari_model():
    algo = DiscreteDecisionTransformer()
    assert (algo.n_layers, algo.n_heads, algo.width, algo.context, algo.dropout) == (6, 8, 128, 30, 0.1)
    given = (algo.learning_rate, algo.batch_size, algo.weight_decay, algo.clip_grad_norm, algo.lr_schedule)
    assert given == (6e-4, 128, 0.1, 1.0, "cosine")
    assert (algo.return_scale, algo.gamma, algo.optimizer) == (1.0, 1.0, "adamw")


def test_stacks_of_images():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (6, 1, 84, 84), dtype=np.uint8)
    data = MDPDataset(images, np.arange(6) % 3, np.ones(6, np.float32), np.arange(6) == 5)
    algo = DiscreteDecisionTransformer(**{**OPTIONS, "context": 2}, batch_size=2, frame_stack=4)
    algo.fit(data, 2, out=None, progress=False)
    # Nature's convolutions leave 64 x 7 x 7 numbers, which one linear map turns into a token.
    assert [layer.weight.shape for layer in algo.impl.policy.observation.mlp.layers] == [(4, 64 * 7 * 7)]
    assert algo.sample_batch(data).observations.shape == (2, 2, 4, 84, 84)
    actor = algo.as_stateful(5.0)
    stack = np.concatenate([images[0]] * 4)
    assert [int(actor.predict(stack, 1.0)) in (0, 1, 2) for _ in range(3)] == [True] * 3


@pytest.mark.slow
def test_it_is_better_than_cloning():
    settings = {"learning_rate": 1e-3, "batch_size": 64, "seed": 0, "device": "cpu"}
    size = {"width": 32, "n_layers": 2, "n_heads": 2, "context": 1, "dropout": 0.0, "max_timestep": 2}
    algo = DiscreteDecisionTransformer(**settings, **size)
    assert choice_score(algo, 400) > 0.9
    assert choice_score(DiscreteBC(encoder=MLPEncoder((32,)), **settings), 200) < 0.1
