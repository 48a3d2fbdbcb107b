"""Other rewards for the same steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.editing.relabelling import TRANSFORMS, relabel
from offlinekit.errors import DatasetError


@pytest.fixture
def dataset() -> MDPDataset:
    """Episodes with rewards (1, -2, 3), a terminal, and (0.5, 4), a timeout; returns 2 and 4.5."""
    return MDPDataset(
        np.zeros((5, 1)),
        np.zeros(5, int),
        [1, -2, 3, 0.5, 4],
        [0, 0, 1, 0, 0],
        name="d",
        metadata={"reference_min_score": 0, "reference_max_score": 9, "edits": [{"merge": []}]},
    )


BY_HAND = {
    "scale=2": [2, -4, 6, 1, 8],
    "shift=-1": [0, -3, 2, -0.5, 3],
    "clip=-1,1": [1, -1, 1, 0.5, 1],
    "sign": [1, -1, 1, 1, 1],
    "return-range": [400, -800, 1200, 200, 1600],  # 1000 / (4.5 - 2) = 400.
    "sparse": [0, 0, 2, 0, 4.5],
    "dense": [2 / 3, 2 / 3, 2 / 3, 2.25, 2.25],
    "terminal=10": [1, -2, 13, 0.5, 4],
}


def test_every_transform_is_tested() -> None:
    assert {text.split("=")[0] for text in BY_HAND} == set(TRANSFORMS)


@pytest.mark.parametrize("text", BY_HAND)
def test_by_hand(dataset: MDPDataset, text: str) -> None:
    np.testing.assert_allclose(relabel(dataset, text).rewards, BY_HAND[text], rtol=1e-6)
    assert dataset.rewards.tolist() == [1, -2, 3, 0.5, 4]


def own(dataset: MDPDataset) -> Any:
    return dataset.rewards**2


def test_they_are_applied_in_order_and_noted(dataset: MDPDataset) -> None:
    found = relabel(dataset, "shift=1", own, "scale=-1", name="squared")
    assert found.rewards.tolist() == [-4, -1, -16, -2.25, -25]
    assert found.name == "squared"
    assert found.metadata["edits"] == [
        {"merge": []},
        {"relabel": ["shift=1", f"{__name__}:own", "scale=-1"]},
    ]
    assert dataset.reference_scores == (0, 9)
    assert found.reference_scores is None


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ("scael=2", "unknown transform 'scael'; did you mean 'scale'.; known: scale=X, shift=X, clip=X,Y"),
        ("scale", r"expected scale=X \(r \* X\), got 'scale'"),
        ("clip=1", "expected clip=X,Y"),
        ("scale=two", "expected scale=X"),
        ("sign=1", "expected sign"),
        ("scale=inf", "expected scale=X"),
        ("clip=1,-1", "clip needs two numbers in rising order, got 1,-1"),
    ],
)
def test_wrong_transforms(dataset: MDPDataset, transform: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        relabel(dataset, transform)


def test_wrong_rewards(dataset: MDPDataset) -> None:
    with pytest.raises(ValueError, match="at least one transform"):
        relabel(dataset)
    with pytest.raises(DatasetError, match="rewards has 4 rows, expected 5"):
        relabel(dataset, lambda d: d.rewards[1:])
    with pytest.raises(DatasetError, match="rewards must be finite, got inf at row 2"):
        relabel(dataset, lambda d: np.where(d.terminals, np.inf, 0))
    with pytest.raises(ValueError, match="return-range needs episodes of different returns"):
        relabel(dataset[0], "return-range")
