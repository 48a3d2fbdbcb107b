"""Kernels of a function are recorded, and replayed on numbers that changed since."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from offlinekit.training.engines.kernel_recording import Recording
from offlinekit.training.engines.tape import NotRecordableError, Tape


def record(function, *inputs, state=()):
    with Tape() as tape:
        result = function(*inputs)
    return Recording(tape, result, state)


def numbers(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def arithmetic(x):
    scaled = (x * 2.0).relu() + x.sum(0, keepdim=True)
    return scaled.softmax(-1), [scaled.mean(), None]


def gradient(x):
    weight = torch.full((3, 3), 0.5, requires_grad=True)
    loss = F.mse_loss(x @ weight, x.tanh()) + F.huber_loss(x @ weight, x)
    return torch.autograd.grad(loss, [weight]), loss.detach()


def in_place(x):
    total = torch.zeros(3)
    for row in x:
        total += row
        total.mul_(0.5)
    return total, x.clone().clamp_(min=0.0)


def views(x):
    parts = x.split(2)
    joined = torch.cat([part.t() for part in parts], 1)
    joined[0] += 1.0
    top, where = joined.topk(2, dim=1)
    return joined.reshape(-1)[2:9], top.max(), where, joined[1].max(0)


def indexing(x):
    index = x.argmax(1)
    return x.gather(1, index[:, None]), x[torch.arange(len(x)), index], x.index_select(0, index)


@pytest.mark.parametrize("function", [arithmetic, gradient, in_place, views, indexing])
def test_a_replay_reads_the_numbers_of_now(function):
    x = numbers(0, 4, 3)
    recording = record(function, x)
    for seed in (1, 2, 0):
        x.copy_(numbers(seed, 4, 3))
        torch.testing.assert_close(recording.replay(), function(x), rtol=0.0, atol=0.0)


def test_memory_is_used_again():
    def chain(x):
        for _ in range(50):
            x = (x @ x).tanh() + 1.0
        return x

    recording = record(chain, numbers(0, 8, 8))
    places = {
        t.untyped_storage().data_ptr() for kernel in recording.kernels for t in kernel.keywords.values()
    }
    assert 1 <= len(places) <= 3


def test_random_numbers_come_from_the_same_stream():
    generator = torch.Generator().manual_seed(0)

    def noisy(x):
        return x + torch.randn(3, generator=generator), torch.rand(2, generator=generator)

    x = numbers(0, 3)
    recording = record(noisy, x)
    state = generator.get_state()
    expected = noisy(x)
    generator.set_state(state)
    torch.testing.assert_close(recording.replay(), expected, rtol=0.0, atol=0.0)


def test_state_may_change_and_nothing_else():
    mean, x = torch.zeros(3), numbers(0, 4, 3)

    def running(x):
        mean.mul_(0.9).add_(x.mean(0))
        return mean * 1.0

    recording = record(running, x, state=[mean])
    before = mean.clone()
    recording.replay()
    torch.testing.assert_close(mean, 0.9 * before + x.mean(0))
    with pytest.raises(NotRecordableError, match="changes a tensor that is not its own"):
        record(running, x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 2 if x.sum() > 0 else x,
        lambda x: x * x.mean().item(),
        lambda x: x[x > 0].sum(),
        lambda x: x.nonzero(),
        lambda x: x.unique(),
    ],
    ids=["branch", "item", "mask", "nonzero", "unique"],
)
def test_what_looks_at_numbers_is_refused(function):
    with pytest.raises(NotRecordableError, match="number"):
        record(function, numbers(0, 4, 3))


def pair(first, second, moved=()):
    """Records two functions that are called one after the other, and returns what makes both calls again."""
    with Tape() as one:
        results = [first()]
    with Tape([one], moved) as two:
        results.append(second())
    if not two.shares():
        two.forget()
    earlier = Recording(one, results[0], kept=two.borrowed(results[1]))
    later = Recording(two, results[1], earlier=[earlier])
    return lambda: (earlier.replay(), later.replay()), [len(earlier.kernels), len(later.kernels)]


def test_numbers_that_an_earlier_function_made_are_not_made_again():
    x, weight = numbers(0, 4, 3), numbers(1, 3, 3)
    replay, kernels = pair(lambda: (x @ weight).relu_().sum(), lambda: (x @ weight).relu_().mean())
    assert kernels == [3, 1]
    x.copy_(numbers(2, 4, 3))
    expected = (x @ weight).relu()
    torch.testing.assert_close(replay(), (expected.sum(), expected.mean()), rtol=0.0, atol=0.0)


def test_what_moved_in_between_is_made_again():
    x, weight = numbers(0, 4, 3), numbers(1, 3, 3)
    _, kernels = pair(lambda: (x @ weight).sum(), lambda: (x @ weight).mean(), moved=[weight])
    assert kernels == [2, 2]


def test_random_numbers_are_drawn_anew():
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.rand(3, generator=generator) * 2.0  # noqa: E731  # The same call twice.
    replay, kernels = pair(draw, draw)
    assert kernels == [2, 2]
    first, second = replay()
    assert not torch.equal(first, second)


def test_memory_that_was_written_later_is_not_shared():
    x = numbers(0, 4)

    def first():
        doubled = x * 2.0
        total = doubled.sum()
        doubled.add_(1.0)  # After this the second function would read other numbers here.
        return total, doubled

    replay, kernels = pair(first, lambda: (x * 2.0).tanh())
    assert kernels == [3, 2]
    torch.testing.assert_close(replay()[1], (x * 2.0).tanh(), rtol=0.0, atol=0.0)
