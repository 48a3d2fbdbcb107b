"""Inputs of a policy of images: bytes, and numbers that are the same as bytes."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.core.units import _arrays

IMAGES = spaces.Box(0, 255, (2,), np.uint8)


def test_numbers_that_are_bytes_become_bytes() -> None:
    for given in (np.array([[0, 255]], np.uint8), np.array([[0, 255]]), np.array([[0.0, 255.0]])):
        found = _arrays(given, IMAGES)
        assert found.dtype == np.uint8
        assert found.tolist() == [[0, 255]]
    with pytest.raises(ValueError, match="of 2, got"):
        _arrays(np.zeros((1, 2)), spaces.Tuple([IMAGES, IMAGES]))


@pytest.mark.parametrize("value", [0.5, 256, -1, np.nan, np.inf])
def test_numbers_that_a_byte_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(
        ValueError, match=r"observations must be uint8.* with the value .*np.round\(x \* 255\)"
    ):
        _arrays(np.array([[1.0, value]]), IMAGES)
    with pytest.raises(ValueError, match="observations must be uint8"):
        _arrays({"camera": np.array([[1.0, value]])}, spaces.Dict({"camera": IMAGES}))


def test_pixels_that_are_on_or_off_are_no_bytes() -> None:
    with pytest.raises(ValueError, match="must be uint8, as those of the data, got bool"):
        _arrays(np.array([[True, False]]), IMAGES)


@pytest.mark.parametrize("given", [np.array([["1", "2"]]), np.array([[1j, 2]]), np.array([[None, 1.0]])])
def test_what_is_no_number_is_not_cast(given: np.ndarray) -> None:
    for space in (IMAGES, spaces.Box(-9, 9, (2,))):
        with pytest.raises(
            ValueError, match="observations must hold numbers, as those of the data, got dtype"
        ):
            _arrays(given, space)
