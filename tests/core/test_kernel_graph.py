"""Graphs of kernels give what the function gives, also with other numbers, and after they were shortened."""

from __future__ import annotations

import pytest
import torch
from torch import fx
from torch.nn import functional as F

from offlinekit.core.populations.kernel_graph import kernel_graph
from offlinekit.core.populations.simplify import simplify
from offlinekit.training.engines.tape import NotRecordableError

TABLE = torch.arange(12.0).reshape(4, 3)


def numbers(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradients_of_members(x, weight):
    weight = weight.detach().requires_grad_()
    losses = torch.vmap(lambda row, own: F.huber_loss(row @ own, row.tanh()))(x, weight)
    return [losses.detach(), *torch.autograd.grad(losses.sum(), [weight])]


def parts_changed_in_place(x, weight):
    whole = x.clone()
    first, second = whole.split(2, dim=1)
    kept = [torch.ops.aten.mul.Scalar(part, 1) for part in (whole, first, second)]  # As vmap writes it.
    first.add_(1.0)
    second[:, 0].mul_(3.0)
    return [*kept, first, torch.cat([first, second]), None]


def several_results(x, weight):
    top, where = x.topk(2, dim=-1)
    return [top, where, *x.unbind(1)[1:], x.max(-1)[1]]


def a_constant(x, weight):
    return [x @ weight + TABLE[:, :1], x.sum(0) * torch.tensor(2.0)]


def normalised(x, weight):
    return [F.layer_norm(x, (3,)), x.softmax(-1)]


FUNCTIONS = [gradients_of_members, parts_changed_in_place, several_results, a_constant, normalised]


@pytest.mark.parametrize("shortened", [False, True])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_graph_gives_what_the_function_gives(function, shortened):
    graph, constants = kernel_graph(function, [numbers(0, 2, 4, 3), numbers(1, 2, 3, 3)])
    if shortened:
        simplify(graph)
    run = fx.GraphModule(constants, graph).forward
    for seed in (0, 2, 4):
        inputs = [numbers(seed, 2, 4, 3), numbers(seed + 1, 2, 3, 3)]
        for found, expected in zip(run(*inputs), function(*inputs), strict=True):
            assert (found is None) == (expected is None)
            if expected is not None:
                torch.testing.assert_close(found, expected)


def test_a_function_that_looks_at_a_number_has_no_graph():
    with pytest.raises(NotRecordableError, match="looked at a number"):
        kernel_graph(lambda x: [x * float(x.sum())], [numbers(0, 3)])
    with pytest.raises(NotRecordableError, match="a shape depends on numbers"):
        kernel_graph(lambda x: [x[x > 0]], [numbers(0, 3)])
