"""F5: bits of Arrow and Parquet files, which have no checksums: read or refused, and no exception of others."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from fault_suite import Tally, count

from offlinekit.datasets import get_dataset
from offlinekit.errors import OfflineKitError

BOX = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-9, -9], "high": [9, 9]}


def written(folder: Path, layout: str) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    episode = folder / "data" / "0"
    episode.mkdir(parents=True)
    spaces = {f"{kind}_space": json.dumps(BOX) for kind in ("observation", "action")}
    facts = {"total_episodes": 1, "data_format": layout, **spaces}
    (folder / "data" / "metadata.json").write_text(json.dumps(facts))
    (episode / "metadata.json").write_text("{}")
    pairs = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12, dtype="f4")), 2)
    flags = {name: np.zeros(6, np.bool_) for name in ("terminations", "truncations")}
    infos = pa.array([{"a": 1.0, "b": "x"}] * 6)
    table = pa.table(
        {"observations": pairs, "actions": pairs, "rewards": np.zeros(6), **flags, "infos": infos}
    )
    if layout == "parquet":
        pq.write_table(table, episode / "x.parquet")
    else:
        with pa.ipc.new_file(episode / "x.arrow", table.schema) as out:
            out.write_table(table)
    return episode / f"x.{layout}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layout", ["arrow", "parquet"])
def test_flipped_bits(layout: str, tmp_path: Path, tally: Tally) -> None:
    pytest.importorskip("pyarrow")
    path = written(tmp_path / "set", layout)
    content = path.read_bytes()
    n, refused = count(100, 700), 0
    for i in range(n):
        draw, damaged = random.Random(i), bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        try:
            get_dataset(tmp_path / "set")
        except OfflineKitError:
            refused += 1
    assert refused > n // 4
    tally(n)
