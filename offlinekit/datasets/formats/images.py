"""Encoded images as arrays, channels first."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from offlinekit.errors import FileFormatError
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

MAGIC = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}
CHANNELS = (1, 3, 4)


def are_images(values: Sequence[bytes]) -> bool:
    """Returns whether bytes begin as PNG or JPEG images do."""
    return bool(values) and all(value.startswith(tuple(MAGIC.values())) for value in values)


def decoded(values: Sequence[bytes], place: str) -> Array:
    """Returns PNG or JPEG images of one size as uint8 [n, C, H, W].

    Args:
        values: At least one image.
        place: Of them, for messages.

    Raises:
        FileFormatError: For damaged images, ones of several sizes, or ones of more than 8 bits.
    """
    from PIL import Image  # Of matplotlib.

    frames = []
    for value in values:
        try:
            with Image.open(io.BytesIO(value), formats=list(MAGIC)) as opened:
                n_bytes = opened.width * opened.height * len(opened.getbands())
                budget_of().take(n_bytes, f"an image of {opened.width} x {opened.height} pixels")
                frames.append(np.asarray(opened))
        except FileFormatError:
            raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise FileFormatError(f"{place} holds a damaged image ({error}); fetch it again") from error
    if len({(frame.shape, frame.dtype) for frame in frames}) > 1 or frames[0].dtype != np.uint8:
        shapes = sorted({f"{frame.dtype}{list(frame.shape)}" for frame in frames})
        raise FileFormatError(
            f"{place} must hold images of one size and of 8 bits, got {', '.join(shapes[:4])}"
        )
    return channels_first(np.stack(frames))


def channels_first(array: Array) -> Array:
    """Returns uint8 images [n, H, W, C] or [n, H, W] as [n, C, H, W]; anything else as it is."""
    if array.dtype != np.uint8 or array.ndim not in (3, 4):
        return array
    if array.ndim == 3:
        return array[:, None]
    if array.shape[3] in CHANNELS and array.shape[1] not in CHANNELS:
        return np.ascontiguousarray(np.moveaxis(array, 3, 1))
    return array
