"""Objectives: what a loss may return, what is refused, and the one reduction in every engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from offlinekit.core.algo import Algo
from offlinekit.core.impl import Impl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.training.objectives import Objective, Rows
from offlinekit.training.optimizers import make_optimizer


class Weighted(NamedTuple):
    """A batch of three rows."""

    observations: Tensor
    weights: Tensor | None = None


PLAIN = Weighted(torch.tensor([1.0, 2.0, 6.0]))
WEIGHTED = PLAIN._replace(weights=torch.tensor([0.5, 0.0, 2.5]))


def objective(loss: Any) -> tuple[Objective, nn.Parameter]:
    """Makes an objective over w = 2, whose loss takes w and the batch."""
    w = nn.Parameter(torch.tensor(2.0))
    optimizer = make_optimizer("sgd", [([w], 0.0)], 0.1)
    return Objective("critic", lambda batch: loss(w, batch), [w], optimizer, 0.1), w


def close(actual: Tensor | None, expected: float) -> None:
    assert actual is not None
    torch.testing.assert_close(actual, torch.tensor(expected))


def test_rows_are_averaged_and_differentiated():
    # Rows w x = (2, 4, 12): the mean is 6 and d / d w = mean x = 3.
    critic, _ = objective(lambda w, batch: w * batch.observations)
    gradients, metrics = critic.gradients(PLAIN)
    close(gradients[0], 3.0)
    close(metrics["critic_loss"], 6.0)
    # Weighted: (0.5 * 2 + 2.5 * 12) / 3 = 31 / 3 and (0.5 * 1 + 2.5 * 6) / 3 = 15.5 / 3.
    gradients, metrics = critic.gradients(WEIGHTED)
    close(gradients[0], 15.5 / 3)
    close(metrics["critic_loss"], 31 / 3)


def test_metrics_are_rows_or_scalars():
    def loss(w: Tensor, batch: Weighted) -> Any:
        x = batch.observations
        return w * x, {
            "each": x,
            "members": torch.stack([x, x]),
            "scalar": torch.tensor(5.0),
            "w": w.detach(),
        }

    _, metrics = objective(loss)[0].gradients(WEIGHTED)
    # (0.5 * 1 + 2.5 * 6) / 3 = 15.5 / 3; of two equal members the same.
    close(metrics["each"], 15.5 / 3)
    close(metrics["members"], 15.5 / 3)
    close(metrics["scalar"], 5.0)
    close(metrics["w"], 2.0)


def test_a_scalar_is_taken_as_it_is():
    critic, w = objective(lambda w, batch: (w * batch.observations).mean() + w)
    close(critic.minimize(PLAIN)["critic_loss"], 8.0)
    close(w.detach(), 2.0 - 0.1 * 4.0)


def test_a_scalar_cannot_be_weighted():
    critic, _ = objective(lambda w, batch: (w * batch.observations).mean())
    with pytest.raises(
        UnsupportedError, match=r"the critic loss of .* is a scalar, .* \[3\] or \[K, 3\], .* extra="
    ):
        critic.minimize(WEIGHTED)


def test_what_weighted_inside_says_so():
    def loss(w: Tensor, batch: Weighted) -> Any:
        return Rows(extra=w * 3.0)

    close(objective(loss)[0].minimize(WEIGHTED)["critic_loss"], 6.0)


@pytest.mark.parametrize("shape", [(3, 1), (2,), (1, 2, 3), (3, 2)])
@pytest.mark.parametrize("batch", [PLAIN, WEIGHTED], ids=["plain", "weighted"])
@pytest.mark.parametrize("wrap", [lambda x: x, Rows], ids=["tensor", "rows"])
def test_other_shapes_are_refused(shape: tuple[int, ...], batch: Weighted, wrap: Any):
    critic, _ = objective(lambda w, batch: wrap(w * torch.ones(shape)))
    with pytest.raises(
        ValueError, match=rf"the critic loss of .* \[3\], or \[K, 3\].* got shape \[{shape[0]}"
    ):
        critic.minimize(batch)


class PlainImpl(Impl):
    """Regresses a constant onto rewards; rows, members, or a scalar, as its front says."""

    def build(self) -> None:
        self.value = nn.Parameter(torch.zeros(()))

    def build_objectives(self) -> list[Objective]:
        return [self.objective("value", self.compute_value_loss, [self.value], 0.1)]

    def compute_value_loss(self, batch: Any) -> Any:
        errors = (self.value - batch.rewards).square()
        if self.config.returns == "scalar":
            return errors.mean()
        if self.config.returns == "matrix":
            return errors[:, None]
        return errors

    def predict_best_action(self, observations: Any) -> Tensor:
        return torch.zeros(len(observations), 1)


@dataclass(kw_only=True, eq=False, repr=False)
class Plain(Algo):
    """Learns the mean reward."""

    returns: str = "rows"  # What its loss returns.

    impl_class = PlainImpl


def data() -> MDPDataset:
    """Makes one-step episodes of rewards 0, 1, 2, 3."""
    ones = np.ones((4, 1), np.float32)
    return MDPDataset(ones, ones, np.arange(4.0), np.ones(4, bool))


def test_a_matrix_is_refused_by_the_name_of_the_impl():
    algo = Plain(seed=0, device="cpu", batch_size=4, returns="matrix")
    with pytest.raises(ValueError, match=r"the value loss of PlainImpl must be .* got shape \[4, 1\]"):
        algo.fit(data(), 3, out=None, progress=False)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_rows_and_their_mean_are_the_same_run(engine: str):
    found = []
    for returns in ("rows", "scalar"):
        algo = Plain(seed=0, device="cpu", batch_size=4, returns=returns)
        algo.fit(data(), 40, out=None, progress=False, engine=engine)
        found.append(algo.impl.value.detach())
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "the critic loss of Objective must be a tensor or Rows, .* got None; end the function by"),
        (0.5, "got 0.5"),
        ((PLAIN.observations,), r"\(rows, metrics\), got \(tensor"),
        ((PLAIN.observations, PLAIN.observations), "with a dict of metrics"),
        ((PLAIN.observations, {}, {}), "with a dict of metrics"),
        (
            (PLAIN.observations, {"x": 1.0}),
            "the metric 'x' beside the critic loss .* got 1.0; take no number out",
        ),
    ],
)
def test_what_is_no_loss_is_refused(returned: Any, message: str):
    critic, _ = objective(lambda w, batch: returned)
    for evaluate in (critic.reduced, critic.gradients, critic.minimize):
        with pytest.raises(TypeError, match=message):
            evaluate(PLAIN)


@pytest.mark.parametrize("of", [lambda w: w.detach(), lambda w: nn.Parameter(torch.tensor(1.0))])
def test_a_loss_of_other_parameters_is_refused(of: Any):
    critic, w = objective(lambda w, batch: of(w) * batch.observations)
    close(critic.reduced(PLAIN)[0].detach(), 3.0 * float(of(w).detach()))  # A look is no step.
    with pytest.raises(ValueError, match="depends on none of the parameters that it is to change"):
        critic.minimize(PLAIN)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "shaped",
    [
        lambda x: x[:, None],
        lambda x: torch.stack([x, x]),
        lambda x: x[:, None].expand(3, 5),
        lambda x: x.expand(2, 3).T.expand(4, 3, 2),
        lambda x: x.int(),
        lambda x: x.double().requires_grad_(),
    ],
    ids=["[B, 1]", "[K, B]", "[B, A]", "[K, B, A]", "integers", "with gradient"],
)
def test_a_metric_of_any_shape_is_the_mean_of_all_its_numbers(shaped: Any, weighted: bool):
    """(1 + 2 + 6) / 3 = 3, with weights (0.5 + 15) / 3 = 31 / 6: the repeated axes count as one."""
    critic, _ = objective(lambda w, batch: (w * batch.observations, {"x": shaped(batch.observations)}))
    _, metrics = critic.gradients(WEIGHTED if weighted else PLAIN)
    assert float(metrics["x"]) == pytest.approx(31 / 6 if weighted else 3.0)
    assert not metrics["x"].requires_grad


def test_a_metric_with_two_axes_of_the_batch_is_refused_with_weights():
    critic, _ = objective(lambda w, batch: (w * batch.observations, {"x": torch.ones(3, 3)}))
    close(critic.gradients(PLAIN)[1]["x"], 1.0)
    with pytest.raises(ValueError, match=r"the metric 'x' beside the critic loss .* 2 axes of 3.*\[3, 3\]"):
        critic.gradients(WEIGHTED)


def test_a_tensor_of_the_shape_of_the_rows_is_added_to_them():
    rows = Rows(torch.ones(2, 3)) + torch.full((2, 3), 2.0)
    assert rows.values is not None
    assert rows.values.tolist() == [[3.0] * 3] * 2
    assert rows.extra == 0.0


@pytest.mark.parametrize("shape", [(3, 3), (3, 1), (1, 3), (2, 3, 1)])
def test_a_tensor_of_another_shape_is_not_added_to_rows(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"a tensor of shape .* rows of shape \[2, 3\]; add one of the same"):
        Rows(torch.ones(2, 3)) + torch.ones(shape)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda w: Rows(w * torch.ones(3), extra=torch.ones(2)), r"the extra of the critic loss .* \[2\]"),
        (lambda w: Rows(extra=w * torch.ones(1, 3)), r"the extra of the critic loss .* \[1, 3\]"),
        (lambda w: Rows(), "without values and without extra"),
        (lambda w: Rows(w * torch.ones(2, 3), torch.ones(2)), r"the weights of the critic loss .* got \[2\]"),
        (
            lambda w: (w * torch.ones(3), {"x": Rows(torch.ones(3, 2))}),
            r"the metric 'x' beside the critic loss .* got shape \[3, 2\]",
        ),
    ],
)
def test_parts_of_rows_of_another_shape_are_refused(returned: Any, words: str):
    critic, _ = objective(lambda w, batch: returned(w))
    with pytest.raises(ValueError, match=words):
        critic.minimize(PLAIN)
