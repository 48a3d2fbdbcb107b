"""How rows of losses become a number: members, weights, masks, windows and what is extra, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from offlinekit.nn.rows import (
    Rows,
    bootstrapped,
    mean_of_rows,
    mean_weights,
    reduce_rows,
    window_rows,
)

WEIGHTS = torch.tensor([0.5, 0.0, 2.5])


def leaf(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, requires_grad=True)


def close(actual: Tensor, expected: object) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=actual.dtype), rtol=1e-5, atol=1e-6)


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(loss, of)[0]


def test_plain_rows_are_averaged() -> None:
    losses = leaf([1.0, 3.0, 8.0])
    loss = reduce_rows(losses)
    # (1 + 3 + 8) / 3
    close(loss, 4.0)
    close(gradient(loss, losses), [1 / 3, 1 / 3, 1 / 3])


def test_members_are_summed_and_rows_averaged() -> None:
    losses = leaf([[1.0, 3.0], [2.0, 6.0]])
    loss = reduce_rows(losses)
    # (1 + 3) / 2 + (2 + 6) / 2 = 2 + 4
    close(loss, 6.0)
    close(gradient(loss, losses), [[0.5, 0.5], [0.5, 0.5]])


def test_weights_multiply_rows_and_do_not_divide() -> None:
    losses = leaf([[1.0, 1e30, 8.0], [2.0, -1e30, 4.0]])
    loss = reduce_rows(losses, WEIGHTS)
    # (0.5 * 1 + 0 + 2.5 * 8) / 3 + (0.5 * 2 + 0 + 2.5 * 4) / 3 = (20.5 + 11) / 3 = 10.5
    close(loss, 10.5)
    close(gradient(loss, losses), [[0.5 / 3, 0.0, 2.5 / 3]] * 2)
    # Twice the weights are twice the loss: their scale is the dataset's, not the batch's.
    close(reduce_rows(losses, 2 * WEIGHTS), 21.0)


def test_weights_of_one_give_the_bits_of_none() -> None:
    losses = torch.randn(3, 257, generator=torch.Generator().manual_seed(0))
    masks = (losses > 0).float()
    for rows in (losses, losses[0], Rows(losses, masks), Rows(losses, extra=losses[0])):
        assert torch.equal(reduce_rows(rows), reduce_rows(rows, torch.ones(257)))


def test_masks_average_over_the_rows_of_each_member() -> None:
    losses = leaf([[1.0, 3.0, 5.0], [2.0, 6.0, 7.0], [9.0, 9.0, 9.0]])
    masks = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    loss = reduce_rows(bootstrapped(losses, masks))
    # (1 + 5) / 2 + 6 / 1 + nothing = 9
    close(loss, 9.0)
    close(gradient(loss, losses), [[0.5, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


def test_weights_and_masks_together() -> None:
    losses = leaf([[1.0, 3.0, 5.0]])
    # Masks share out the mean, weights multiply: (0.5 * 1 + 2.5 * 5) / 2 = 6.5
    close(reduce_rows(Rows(losses, torch.tensor([[1.0, 0.0, 1.0]])), WEIGHTS), 6.5)


def test_own_weights_below_one_are_normalised_too() -> None:
    # (0.1 * 2 + 0.3 * 6) / 0.4 = 5
    close(reduce_rows(Rows(torch.tensor([2.0, 6.0]), torch.tensor([0.1, 0.3]))), 5.0)


@pytest.mark.parametrize("shape", [(1, 3), (3, 3), (3,)])
def test_masks_of_another_ensemble_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="mask_size equal to n_critics"):
        bootstrapped(torch.zeros(2, 3), torch.ones(shape))


def test_what_is_extra_counts_once_and_only_rows_of_it_are_weighted() -> None:
    losses = torch.tensor([[1.0, 3.0, 5.0], [1.0, 3.0, 5.0]])
    # 3 + 3 + 0.25
    close(reduce_rows(Rows(losses, extra=torch.tensor(0.25))), 6.25)
    # 3 + 3 + (1 + 2 + 3) / 3
    each = torch.tensor([1.0, 2.0, 3.0])
    close(reduce_rows(Rows(losses) + each), 8.0)
    # 2 * (0.5 * 1 + 2.5 * 5) / 3 + (0.5 * 1 + 2.5 * 3) / 3 + 0.25 = 26 / 3 + 8 / 3 + 0.25
    close(reduce_rows(Rows(losses) + each + 0.25, WEIGHTS), 34 / 3 + 0.25)
    close(reduce_rows(Rows(extra=torch.tensor(0.25)), WEIGHTS), 0.25)


def test_rows_add_and_multiply_as_their_reductions_do() -> None:
    masks = torch.tensor([[1.0, 1.0, 0.0]])
    first = Rows(torch.tensor([[1.0, 3.0, 5.0]]), masks, torch.tensor(7.0))  # 2 + 7
    second = Rows(torch.tensor([[4.0, 8.0, 5.0]]), masks)  # 6
    for sums, expected in (
        (first + 2.0 * second, 21.0),
        (first - second, 3.0),
        (1.0 - first, -8.0),
        (torch.tensor(2.0) * first + torch.tensor(1.0), 19.0),
        (torch.tensor(1.0) + first * torch.tensor(2.0), 19.0),
        (first.detach(), 9.0),
        (Rows(extra=torch.tensor(4.0)) * 2.0, 8.0),
    ):
        close(reduce_rows(sums), expected)
    with pytest.raises(ValueError, match="different weights"):
        first + Rows(torch.tensor([[4.0, 8.0, 5.0]]))


def test_detached_rows_carry_no_gradient() -> None:
    losses = leaf([[1.0, 3.0]])
    rows = Rows(losses, extra=losses[0]).detach()
    assert not reduce_rows(rows).requires_grad


def test_windows_count_for_their_steps() -> None:
    losses = leaf([[9.0, 1.0, 3.0], [9.0, 9.0, 5.0], [9.0, 9.0, 9.0]])
    masks = torch.tensor([[False, True, True], [False, False, True], [False, False, False]])
    rows = window_rows(losses, masks)
    close(rows.values, [2.0, 5.0, 0.0])
    close(rows.weights, [2.0, 1.0, 0.0])
    # (1 + 3 + 5) / 3
    loss = reduce_rows(rows)
    close(loss, 3.0)
    close(gradient(loss, losses), [[0, 1 / 3, 1 / 3], [0, 0, 1 / 3], [0, 0, 0]])
    # (0.5 * 2 * 2 + 0 * 1 * 5) / 3
    close(reduce_rows(window_rows(losses, masks), WEIGHTS), 2 / 3)


def test_what_is_not_a_number_in_padding_stays_there() -> None:
    losses = leaf([[float("nan"), 2.0]])
    loss = reduce_rows(window_rows(losses, torch.tensor([[False, True]])))
    close(loss, 2.0)
    close(gradient(loss, losses), [[0.0, 1.0]])


def test_mean_of_rows_keeps_members_apart() -> None:
    values = torch.tensor([[1.0, 3.0, 5.0], [2.0, 4.0, 9.0]])
    close(mean_of_rows(values), [3.0, 5.0])
    close(mean_of_rows(values, WEIGHTS), [13 / 3, 23.5 / 3])
    close(mean_of_rows(Rows(values, torch.tensor([0.0, 1.0, 1.0]))), [4.0, 6.5])


def test_mean_weights_sum_to_what_the_reduction_gives() -> None:
    values = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    weights, masks = torch.arange(5.0), (values > 0).float()
    for rows in (Rows(values), Rows(values, masks)):
        for given in (None, weights):
            torch.testing.assert_close((mean_weights(rows, given) * values).sum(), reduce_rows(rows, given))
