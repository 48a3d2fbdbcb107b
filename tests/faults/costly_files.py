"""Small files that claim, or become, more than anybody has, by what is wrong with them."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from offlinekit.datasets.formats.protobuf import encode, encode_example
from offlinekit.datasets.formats.tfrecord import write_records

HUGE = 10**12
BOX = {"type": "Box", "dtype": "float32", "shape": [1], "low": [-1.0], "high": [1.0]}
IMAGE = {"type": "Box", "dtype": "uint8", "shape": [8, 8], "low": [[0] * 8] * 8, "high": [[255] * 8] * 8}


def claim(shape: Any, dtype: str = "<f8") -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": dtype, "fortran_order": False, "shape": tuple(shape)}
    )
    return header.getvalue() + b"x"


def npz(
    rewards: Callable[[], bytes], name: str = "rewards.npy", method: int = zipfile.ZIP_DEFLATED
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "x.npz", "w", method) as out:
            columns = {"observations": np.zeros((2, 1)), "actions": np.zeros((2, 1)), "terminals": [0, 1]}
            for key, value in columns.items():
                content = io.BytesIO()
                np.save(content, np.asarray(value))
                out.writestr(f"{key}.npy", content.getvalue())
            out.writestr(name, rewards())
        return folder / "x.npz"

    return make


def zeros(n: int) -> bytes:
    return claim((n,), "|u1")[:-1] + bytes(n)


def rllib(code: Callable[[], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        import lz4.frame

        packed = base64.b64encode(lz4.frame.compress(code())).decode()
        batch = {
            "type": "SampleBatch",
            "obs": [[0.0]],
            "actions": [[0.0]],
            "rewards": packed,
            "dones": [True],
        }
        (folder / "x.json").write_text(json.dumps(batch) + "\n")
        return folder / "x.json"

    return make


def long_integer(n: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", n)


FROM_BUFFER = b"\x80\x04cnumpy.core.numeric\n_frombuffer\n("
U1 = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R"
NUMBER = FROM_BUFFER + long_integer(10**13) + U1 + long_integer(10**13) + b"\x85X\x01\x00\x00\x00CtR."
DOUBLING = (
    b"\x80\x04K\x01" + b"\x94h\x00\x86" * 1 + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(1, 60))
)
TUPLES = FROM_BUFFER + DOUBLING[2:] + U1 + b"K\x01\x85X\x01\x00\x00\x00CtR."
MARKS = b"\x80\x04" + b"(" * 300_000 + b"t" * 300_000 + b"."


def rllib_zip(method: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "x.zip", "w", method) as out, out.open("x.json", "w") as file:
            file.write(b'{"type": "SampleBatch", "obs": [')
            for _ in range(200):
                file.write(b"[]," * 1_000_000)
        return folder / "x.zip"

    return make


def hdf5(rewards: Callable[[Any], Any]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with h5py.File(folder / "x.h5", "w") as file:
            for name, shape in {"observations": (2, 1), "actions": (2, 1), "terminals": 2}.items():
                file[name] = np.zeros(shape)
            rewards(file)
        return folder / "x.h5"

    return make


def large_chunk(file: Any) -> None:
    column = file.create_dataset("rewards", (2,), "f8", chunks=(2**28,), maxshape=(None,), compression="gzip")
    packed = zlib.compressobj()
    content = b"".join([*(packed.compress(bytes(1 << 24)) for _ in range(128)), packed.flush()])
    column.id.write_direct_chunk((0,), content)


def chunk_that_grows(file: Any) -> None:
    column = file.create_dataset("rewards", (2,), "f8", chunks=(2,), compression="gzip")
    packed = zlib.compressobj()
    content = b"".join([*(packed.compress(bytes(1 << 24)) for _ in range(160)), packed.flush()])
    column.id.write_direct_chunk((0,), content)


def minari(
    put: Callable[[Any], Any] | None = None, layout: str = "hdf5", **spaces: Any
) -> Callable[[Path], Path]:
    """A folder of one episode of one step."""

    def make(folder: Path) -> Path:
        data = folder / "set" / "data"
        data.mkdir(parents=True)
        facts: dict[str, Any] = {"total_episodes": 1, "data_format": layout}
        for key in ("observation_space", "action_space"):
            facts[key] = json.dumps(spaces.get(key, BOX))
        (data / "metadata.json").write_text(json.dumps(facts))
        if layout != "hdf5":
            (data / "0").mkdir()
            (data / "0" / "metadata.json").write_text("{}")
            assert put is not None
            put(data / "0")
            return folder / "set"
        with h5py.File(data / "main_data.hdf5", "w") as file:
            episode = file.create_group("episode_0")
            (put or one_step)(episode)
            for key in ("actions", "rewards", "terminations", "truncations"):
                if key not in episode:
                    episode[key] = np.zeros((1, 1) if key == "actions" else 1, "f4")
        return folder / "set"

    return make


def one_step(episode: Any) -> None:
    episode["observations"] = np.zeros((2, 1), "f4")


def many_numbers(episode: Any) -> None:
    n = 10**6
    episode.create_dataset("observations", (n + 1,), "i8", chunks=(n // 8,), compression="gzip")[:] = 0
    for key in ("rewards", "terminations", "truncations"):
        episode.create_dataset(key, (n,), "u1", chunks=(n,), compression="gzip")[:] = 0
    episode.create_dataset("actions", (n, 1), "u1", chunks=(n, 1), compression="gzip")[:] = 0


def jpeg(width: int, height: int) -> bytes:
    """The head of a picture of any size over the body of a small one."""
    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "JPEG")
    content = bytearray(out.getvalue())
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def large_picture(episode: Any) -> None:
    content = np.frombuffer(jpeg(60_000, 60_000), "u1")
    episode["observations"] = np.stack([content, content])


def one_picture_a_million_times(episode: Any) -> None:
    column = episode.create_dataset("observations", (1,), h5py.vlen_dtype("u1"))
    column[0] = np.frombuffer(jpeg(8, 8) + bytes(1 << 24), "u1")
    reference = np.zeros(300, h5py.vlen_dtype("u1"))
    reference[:] = [column[0]] * 300
    del episode["observations"]
    episode.create_dataset("observations", (300,), h5py.vlen_dtype("u1"))[0] = reference[0]


def parquet(**options: Any) -> Callable[[Path], None]:
    def write(place: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        n = 90_000_000
        column = pa.chunked_array([pa.array(np.zeros(n // 30, "f8"))] * 30)
        names = ("observations", "action", "episode_index", "frame_index")
        pq.write_table(pa.table(dict.fromkeys(names, column)), place / "x.parquet", **options)

    return write


def parquet_texts(place: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, "i4")), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"observations": texts}), place / "x.parquet", compression="zstd")


def arrow(place: Path) -> None:
    import pyarrow as pa

    table = pa.table({"observations": pa.array(np.zeros(300_000_000, "f8"))})
    with pa.ipc.new_file(
        place / "x.arrow", table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")
    ) as out:
        out.write_table(table)


def arrow_nothing(place: Path) -> None:
    import pyarrow as pa

    table = pa.table({"observations": pa.nulls(1 << 30)})
    with pa.ipc.new_file(place / "x.arrow", table.schema) as out:
        out.write_table(table)


def lerobot(write: Callable[[Path], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "set" / "meta").mkdir(parents=True)
        (folder / "set" / "data").mkdir()
        kinds = {name: {"dtype": "float32"} for name in ("observations", "action")}
        kinds |= {name: {"dtype": "int64"} for name in ("episode_index", "frame_index")}
        (folder / "set" / "meta" / "info.json").write_text(
            json.dumps({"codebase_version": "v2", "features": kinds})
        )
        write(folder / "set" / "data")
        return folder / "set"

    return make


def table(write: Callable[[Path], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        write(folder)
        return folder / "x.parquet"

    return make


def csv_of_columns(folder: Path) -> Path:
    names = ",".join(f"c{i}" for i in range(1_000_000))
    (folder / "x.csv").write_text(f"{names}\n{'0,' * 999_999}0\n")
    return folder / "x.csv"


def records(payload: Callable[[], bytes], times: int = 1) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        return write_records(folder / "x.tfrecord", [payload()] * times, level=9)

    return make


def png(side: int = 84) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (side, side)).save(out, "PNG")
    return out.getvalue()


def episode_of(n_frames: int, frame: bytes = b"") -> bytes:
    columns = {
        name: np.zeros(n_frames, "f4") for name in ("clipped_rewards", "unclipped_rewards", "discounts")
    }
    columns["actions"] = np.zeros(n_frames, "i8")
    return encode_example({**columns, "observations": [frame or png()] * n_frames})


def control(n: int) -> bytes:
    columns = {name: np.zeros(n, "f4") for name in ("action", "reward", "discount", "step_type")}
    return encode_example({**columns, "observation/x": np.zeros(n, "f4")})


def scenario_of(n_fields: int) -> bytes:
    return encode((5, b"name"), (2, b"")) + encode((3, 1)) * n_fields


def packed_numbers(n: int) -> bytes:
    feature = encode((3, encode((1, bytes(n)))))
    return encode((1, encode((1, encode((1, b"o_t"), (2, feature))))))


def replay(shape: tuple[int, ...], n_bytes: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "logs").mkdir()
        for store in ("action", "reward", "terminal", "observation"):
            own = shape if store == "observation" else shape[:1]
            dtype = {"observation": "|u1", "action": "<i4", "reward": "<f4", "terminal": "|u1"}[store]
            n = n_bytes if store == "observation" else shape[0] * np.dtype(dtype).itemsize
            with gzip.open(folder / "logs" / f"$store$_{store}_ckpt.0.gz", "wb") as file:
                file.write(claim(own, dtype)[:-1])
                for _ in range(-(-n // (1 << 24))):
                    file.write(bytes(min(n, 1 << 24)))
        return folder / "logs"

    return make


def zip_that_lies(folder: Path) -> Path:
    """An archive whose list says that an entry of 100 bytes becomes an exabyte."""
    with zipfile.ZipFile(npz(lambda: zeros(100))(folder), "a") as out:
        out.writestr("more.npy", b"")
        next(entry for entry in out.filelist if entry.filename == "rewards.npy").file_size = 1 << 60
    return folder / "x.npz"


def large_png() -> bytes:
    """The head of a picture of any size over the body of a small one, with the right checksum."""
    content = bytearray(png(8))
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def arrow_that_lies(place: Path) -> None:
    """A buffer of 1,000 zeros that says it becomes 10 TB."""
    import pyarrow as pa

    table = pa.table({"observations": pa.array(np.zeros(1000, "f8"))})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(place / "x.arrow", table.schema, options=options) as out:
        out.write_table(table)
    content = (place / "x.arrow").read_bytes()
    claim, lie = struct.pack("<q", 8000), struct.pack("<q", 10**13)
    assert claim in content
    (place / "x.arrow").write_bytes(content.replace(claim, lie))


def text(name: str, content: Callable[[], bytes]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content())
        return folder / name

    return make


def nested_space(depth: int) -> dict[str, Any]:
    space = BOX
    for _ in range(depth):
        space = {"type": "Dict", "subspaces": {"a": space}}
    return space


def pipe(name: str) -> Callable[[Path], Path]:
    """A pipe that nobody writes to, in place of a file."""

    def make(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return make


CSV_OPTIONS = {"observations": ["c0"], "action": "c1", "reward": "c2"}
TABLE_OPTIONS = {"observations": ["observations"], "action": "observations", "reward": "observations"}
PICTURES = {"observation_space": IMAGE}

FILES: dict[str, tuple[Any, ...]] = {
    "NPZ: an entry without a suffix": (npz(lambda: claim((10**13,)), "rewards"),),
    "NPZ: an entry that is no array": (npz(lambda: bytes(1 << 28), "rewards"),),
    "NPZ: zeros in deflate": (npz(lambda: zeros(1 << 30)),),
    "NPZ: zeros in LZMA": (npz(lambda: zeros(1 << 30), method=zipfile.ZIP_LZMA),),
    "NPZ: zeros in bz2": (npz(lambda: zeros(1 << 30), method=zipfile.ZIP_BZIP2),),
    "NPZ: rows of a megabyte": (npz(lambda: claim((10**6,), "(1000000,)<f8")),),
    "NPZ: a list that claims an exabyte": (zip_that_lies,),
    "RLlib: brackets": (text("x.json", lambda: b'{"type": "SampleBatch", "obs": ' + b"[" * 1_000_000),),
    "RLlib: an integer of a million digits": (
        text("x.json", lambda: b'{"type": "SampleBatch", "obs": ' + b"9" * 1_000_000 + b"}"),
    ),
    "RLlib: a number in place of bytes": (rllib(lambda: NUMBER),),
    "RLlib: a tuple of tuples in place of bytes": (rllib(lambda: TUPLES),),
    "RLlib: a tuple of tuples for a name": (rllib(lambda: DOUBLING + DOUBLING[2:] + b"\x93."),),
    "RLlib: marks without end": (rllib(lambda: MARKS),),
    "RLlib: zeros in LZ4": (
        rllib(lambda: b"\x80\x04\x8e" + struct.pack("<q", 1 << 30) + bytes(1 << 30) + b"."),
    ),
    "RLlib: a zip of lists": (rllib_zip(zipfile.ZIP_DEFLATED),),
    "RLlib: a zip of lists in LZMA": (rllib_zip(zipfile.ZIP_LZMA),),
    "HDF5: a chunk of 2 GB for two numbers": (hdf5(large_chunk),),
    "HDF5: a chunk that grows": (hdf5(chunk_that_grows),),
    "Minari: MultiBinary": (minari(observation_space={"type": "MultiBinary", "n": HUGE}),),
    "Minari: a Box": (minari(observation_space={**BOX, "shape": [10**6, 10**6]}),),
    "Minari: one-hot": (minari(many_numbers, observation_space={"type": "Discrete", "n": 16_000}),),
    "Minari: a large picture": (minari(large_picture, **PICTURES),),
    "Minari: spaces in spaces": (minari(observation_space=nested_space(300)),),
    "Minari: Arrow that claims 10 TB": (minari(arrow_that_lies, "arrow"),),
    "Minari: pictures with much behind them": (minari(one_picture_a_million_times, **PICTURES),),
    "Minari: Arrow in zstd": (minari(arrow, "arrow"),),
    "Minari: Arrow of nothing": (minari(arrow_nothing, "arrow"),),
    "Minari: Parquet in zstd": (minari(parquet(compression="zstd"), "parquet"),),
    "LeRobot: Parquet in zstd": (lerobot(parquet(compression="zstd")), {"observations": "observations"}),
    "Parquet: one value": (table(parquet(compression="snappy")), TABLE_OPTIONS),
    "Parquet: one text": (table(parquet_texts), TABLE_OPTIONS),
    "CSV: a million columns": (csv_of_columns, CSV_OPTIONS),
    "CSV: 4 GB in gzip": (text("x.csv.gz", lambda: gzip.compress(bytes(1 << 26), 9) * 64), CSV_OPTIONS),
    "CSV: a pipe": (pipe("x.csv"), CSV_OPTIONS),
    "NPZ: a pipe": (pipe("x.npz"),),
    "HDF5: a pipe": (pipe("x.h5"),),
    "RLlib: a pipe": (pipe("x.json"),),
    "Parquet: a pipe": (pipe("x.parquet"), TABLE_OPTIONS),
    "TFRecord: a pipe": (pipe("x.tfrecord"),),
    "TFRecord: one record of zeros": (records(lambda: bytes(1 << 29)),),
    "TFRecord: records without end": (records(lambda: b"", times=30_000_000 // 16),),
    "TFRecord: a message of small fields": (records(lambda: scenario_of(100_000_000)),),
    "TFRecord: small numbers": (records(lambda: packed_numbers(1 << 28)),),
    "TFRecord: a large picture": (records(lambda: episode_of(2, large_png())),),
    "TFRecord: frames": (records(lambda: episode_of(200_000)),),
    "TFRecord: control": (records(lambda: control(1 << 22), times=40),),
    "DQN replay: frames": (replay((1 << 18, 84, 84), (1 << 18) * 7056),),
    "DQN replay: rows": (replay((1 << 24,), 1 << 24),),
}
