"""Transitions a second when a shard of RL Unplugged's Atari is converted, and what that makes for a whole one.

    python benchmarks/rl_unplugged.py --transitions 20000 --source SHARD

Writes a shard in the layout of the unordered data, its frames being those of a recorded file of episodes (whose PNGs
have the sizes they have there), or noise of the same sizes without one. Converts it as `get_dataset` does for a
name, and removes both.
"""

from __future__ import annotations

import io
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
from PIL import Image
from shared import csv_option, show, write

from offlinekit.datasets.formats import png
from offlinekit.datasets.formats.crc32c import crc32c_of
from offlinekit.datasets.formats.frame_store import in_file
from offlinekit.datasets.formats.protobuf import encode_example
from offlinekit.datasets.formats.tfrecord import read_examples, read_records, write_records
from offlinekit.datasets.sources.rl_unplugged import decoded_parts

WHOLE = 500_000
COLUMNS = ("what", "transitions_per_second", "minutes_for_500k")


def frames_of(source: Path | None) -> list[bytes]:
    """Returns PNG frames: recorded ones, or noise that packs to about 900 bytes."""
    if source is not None:
        return [frame for _, features in read_examples(source) for frame in features["observations"]]
    rng, frames = np.random.default_rng(0), []
    for _ in range(500):
        pixels = np.zeros((84, 84), np.uint8)
        pixels[rng.integers(84, size=420), rng.integers(84, size=420)] = rng.integers(256, size=420)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "png")
        frames.append(out.getvalue())
    return frames


def examples(frames: list[bytes], n_transitions: int) -> Iterator[bytes]:
    """Yields transitions in the layout of the unordered shards."""
    for i in range(n_transitions):
        at = i % (len(frames) - 5)
        yield encode_example(
            {
                "o_t": frames[at : at + 4],
                "o_tp1": frames[at + 1 : at + 5],
                "a_t": np.array([i % 4]),
                "a_tp1": np.array([0]),
                "r_t": np.zeros(1, np.float32),
                "d_t": np.ones(1, np.float32),
                "episode_id": np.array([2**62 + i // 1000]),
                "episode_return": np.zeros(1, np.float32),
            }
        )


def timed(what: str, n_transitions: int, run: Callable[[], object]) -> dict[str, object]:
    """Runs a function, and returns a row of the table."""
    began = time.perf_counter()
    run()
    rate = n_transitions / (time.perf_counter() - began)
    return dict(zip(COLUMNS, (what, round(rate), round(WHOLE / rate / 60, 2)), strict=True))


@click.command()
@click.option("--transitions", "n", default=20_000, show_default=True, help="Of the shard that is written.")
@click.option(
    "--source", type=click.Path(exists=True, path_type=Path), help="A TFRecord of ordered episodes."
)
@click.option("--folder", default=tempfile.gettempdir(), show_default=True, help="Where both are written.")
@csv_option
def main(n: int, source: Path | None, folder: str, path: Path | None) -> None:
    """Prints transitions a second of each part of the work and of the whole."""
    frames = frames_of(source)
    click.echo(f"{len(frames):,} frames of {np.mean([len(frame) for frame in frames]):.0f} bytes")
    decode = png._decoder
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        shard = write_records(Path(inside) / "shard", examples(frames, n), level=1)
        payloads = [record.data for record in read_records(shard)]
        table = [
            timed("checksums alone", n, lambda: [crc32c_of(payloads[i : i + 64]) for i in range(0, n, 64)]),
            timed("unpacked and checked", n, lambda: list(read_records(shard))),
            timed("parsed too", n, lambda: [None for _ in read_examples(shard)]),
            timed(
                "converted", n, lambda: in_file(Path(inside) / "frames", lambda: decoded_parts(shard, None))
            ),
        ]
        png._decoder = lambda: png._by_pillow
        table.append(
            timed(
                "converted, Pillow",
                n,
                lambda: in_file(Path(inside) / "other", lambda: decoded_parts(shard, None)),
            )
        )
        png._decoder = decode
    show(table, dict.fromkeys(COLUMNS, 22))
    click.echo(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:,} MB")
    write(path, table)


if __name__ == "__main__":
    main()
