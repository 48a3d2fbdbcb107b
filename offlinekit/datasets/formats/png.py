"""Images as arrays: gray PNG, many at once, and JPEG."""

from __future__ import annotations

import io
import math
import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import numpy as np

from offlinekit.errors import FileFormatError, require
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

Item = TypeVar("Item")
Result = TypeVar("Result")
SIGNATURE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
END = b"IEND\xaeB`\x82"


def decode_gray(images: Sequence[bytes], height: int, width: int) -> Array:
    """Returns 8-bit gray PNG images as uint8 [n, height, width].

    OpenCV decodes where it is installed (the extra `atari`), Pillow, which comes with matplotlib, elsewhere.

    Raises:
        FileFormatError: For bytes that are no such image, or one of another size.
    """
    decode = _decoder()
    budget_of().check(len(images) * height * width, f"{len(images):,} images")
    frames = np.empty((len(images), height, width), np.uint8)
    header = SIGNATURE + struct.pack(">IIBB", width, height, 8, 0)
    for i, image in enumerate(images):
        if not image.startswith(header):
            raise FileFormatError(f"expected a gray PNG of {width} x {height}, got {_describe(image)}")
        if not image.endswith(END):  # OpenCV would show what there is.
            raise FileFormatError("a PNG image is damaged: it has no end")
        frames[i] = decode(image)
    return frames


def _describe(image: bytes) -> str:
    if not image.startswith(SIGNATURE) or len(image) < 26:
        return f"{len(image)} bytes that are no PNG"
    width, height, depth, kind = struct.unpack_from(">IIBB", image, len(SIGNATURE))
    return f"one of {width} x {height}, {depth} bits, colour type {kind}"


def _decoder() -> Callable[[bytes], Array]:
    try:
        cv2 = require("cv2", "atari")
    except ImportError:
        return _by_pillow

    def decode(image: bytes) -> Array:
        frame: Array | None = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_GRAYSCALE)
        if frame is None:
            raise FileFormatError("a PNG image is damaged; fetch the file again")
        return frame

    return decode


def _by_pillow(image: bytes) -> Array:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(image), formats=("PNG",)) as opened:
            return np.asarray(opened)
    except (OSError, ValueError, SyntaxError) as error:
        raise FileFormatError(f"a PNG image is damaged ({error})") from error


def decode_jpeg(images: Sequence[bytes], shape: tuple[int, ...]) -> Array:
    """Returns JPEG images as uint8 [n, *shape], of which only those of that size are decoded.

    Raises:
        FileFormatError: For bytes that are no such image, or one of another size.
    """
    from PIL import Image

    budget_of().take(len(images) * math.prod(shape), f"{len(images):,} images of shape {list(shape)}")
    frames = np.empty((len(images), *shape), np.uint8)
    for i, image in enumerate(images):
        try:
            with Image.open(io.BytesIO(image), formats=("JPEG",)) as opened:
                width, height = opened.size
                if (height, width) != shape[:2]:
                    raise FileFormatError(
                        f"image {i} has {width} x {height} pixels, expected shape {list(shape)}"
                    )
                frames[i] = np.asarray(opened)
        except FileFormatError:
            raise
        except (OSError, ValueError, SyntaxError, TypeError, Image.DecompressionBombError) as error:
            raise FileFormatError(
                f"image {i} cannot be decoded ({error}); fetch the dataset again"
            ) from error
    return frames


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yields function(item) in order, computed by threads that run a few items ahead."""
    n_threads = min(len(os.sched_getaffinity(0)), 8)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        for item in items:
            waiting.append(pool.submit(copy_context().run, function, item))
            if len(waiting) > 2 * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
