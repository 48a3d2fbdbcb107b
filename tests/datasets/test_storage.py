from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.spaces import space_from_json, space_to_json
from offlinekit.errors import DatasetError, FileFormatError
from offlinekit.io import atomic_write


def make(**options: Any) -> MDPDataset:
    generator = np.random.default_rng(0)
    return MDPDataset(
        **{
            "observations": {
                "image": generator.integers(0, 256, (30, 4, 4), np.uint8),
                "rest": (generator.normal(size=(30, 2)), generator.normal(size=(30, 1))),
            },
            "actions": generator.uniform(-1, 1, (30, 2)),
            "rewards": generator.normal(size=30),
            "terminals": np.arange(30) % 10 == 9,
            "timeouts": np.arange(30) % 15 == 14,
            "action_space": spaces.Box(np.array([-1, -2], np.float32), np.array([1, np.inf], np.float32)),
            "create_mask": True,
            "mask_size": 3,
            "name": "toy",
            "metadata": {"env_id": "X-v0", "nested": {"a": [1, None, "ä"]}},
            **options,
        }
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return make().save(tmp_path / "toy.h5")


def same_tree(left: Any, right: Any) -> None:
    if isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            same_tree(left[key], right[key])
    elif isinstance(left, tuple):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            same_tree(a, b)
    elif left is None:
        assert right is None
    else:
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def assert_same(left: MDPDataset, right: MDPDataset) -> None:
    for name, value in vars(left).items():
        other = getattr(right, name)
        if name in ("name", "metadata", "action_space", "observation_space"):
            assert other == value, name
        else:
            same_tree(value, other)


def test_load_gives_back_everything(saved: Path) -> None:
    assert_same(make(), MDPDataset.load(saved))


@pytest.mark.parametrize(
    "options",
    [
        {"actions": np.arange(30) % 4, "action_space": None, "create_mask": False},
        {
            "observations": np.zeros((30, 2)),
            "next_observations": np.random.default_rng(1).normal(size=(30, 2)),
            "final_known": [0, 1, 0, 1],
        },
        {
            "observations": np.ones((30, 2)),
            "final_observations": np.ones((4, 2)),
            "final_known": [1, 0, 0, 1],
        },
    ],
    ids=["discrete", "unordered", "some finals"],
)
def test_load_gives_back_other_kinds(tmp_path: Path, options: dict[str, Any]) -> None:
    dataset = make(**options)
    assert_same(dataset, MDPDataset.load(dataset.save(tmp_path / "d.h5")))


def test_equal_datasets_give_equal_bytes(tmp_path: Path) -> None:
    assert make().save(tmp_path / "a.h5").read_bytes() == make().save(tmp_path / "b.h5").read_bytes()


def test_files_are_compressed_and_checked(saved: Path) -> None:
    with h5py.File(saved) as file:
        assert (file.attrs["format"], file.attrs["version"]) == (b"offlinekit.mdp_dataset", 1)
        for name in ("format", "header", "header_sha256"):  # Text of variable length would have no checksum.
            assert not h5py.h5a.open(file.id, name.encode()).get_type().is_variable_str()
        for name in ("actions", "observations/image", "observations/rest/1", "masks"):
            assert (file[name].compression, file[name].fletcher32) == ("gzip", True)


def test_a_failed_write_leaves_the_old_file(saved: Path) -> None:
    before = saved.read_bytes()

    def write_half() -> None:
        with atomic_write(saved) as beside:
            beside.write_bytes(b"half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_half()
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["toy.h5"]


def test_files_may_be_read_as_others_of_the_user(saved: Path) -> None:
    ordinary = saved.with_name("ordinary")
    ordinary.touch()
    assert saved.stat().st_mode == ordinary.stat().st_mode


def test_saving_makes_folders(tmp_path: Path) -> None:
    assert make().save(tmp_path / "a" / "b" / "toy.h5").is_file()


def test_names_that_hdf5_cannot_hold(tmp_path: Path) -> None:
    dataset = make(observations={"a/b": np.zeros((30, 1))})
    with pytest.raises(DatasetError, match="observations has the entry 'a/b', which HDF5 cannot name"):
        dataset.save(tmp_path / "x.h5")
    assert not list(tmp_path.iterdir())


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        MDPDataset.load(tmp_path / "none.h5")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<!DOCTYPE html>", b"\x80\x04\x95pickle"])
def test_files_of_other_kinds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="is not HDF5: it begins with b"):
        MDPDataset.load(path)


def test_truncated_files(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-2000])
    with pytest.raises(FileFormatError, match="is damaged or truncated"):
        MDPDataset.load(saved)


def test_flipped_bits_are_found(saved: Path) -> None:
    with h5py.File(saved) as file:
        where = file["rewards"].id.get_chunk_info(0).byte_offset
    content = bytearray(saved.read_bytes())
    content[where + 20] ^= 0xFF
    saved.write_bytes(content)
    with pytest.raises(FileFormatError, match="is damaged or truncated"):
        MDPDataset.load(saved)


def spoil(path: Path, name: str, **replacement: Any) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        if replacement:
            file.create_dataset(name, **replacement)


def test_objects_are_refused(saved: Path) -> None:
    spoil(saved, "rewards", data=np.array(["a"] * 30, object), dtype=h5py.string_dtype())
    with pytest.raises(
        FileFormatError, match=r"'rewards' in .* has dtype object, expected numbers; objects are never"
    ):
        MDPDataset.load(saved)


def test_missing_columns_are_named(saved: Path) -> None:
    spoil(saved, "rewards")
    with pytest.raises(FileFormatError, match="has no 'rewards', it holds actions, final_known"):
        MDPDataset.load(saved)


def test_groups_for_arrays_are_refused(saved: Path) -> None:
    spoil(saved, "rewards")
    with h5py.File(saved, "r+") as file:
        file.create_group("rewards")
    with pytest.raises(FileFormatError, match=r"'rewards' in .* is a group, expected an array"):
        MDPDataset.load(saved)


@pytest.mark.parametrize("kind", ["soft", "external"])
def test_links_are_refused(saved: Path, kind: str) -> None:
    with h5py.File(saved, "r+") as file:
        del file["rewards"]
        file["rewards"] = (
            h5py.SoftLink("/terminals") if kind == "soft" else h5py.ExternalLink("other.h5", "/x")
        )
    with pytest.raises(
        FileFormatError, match=f"has 'rewards' as a {kind.title()}Link, expected data in the file"
    ):
        MDPDataset.load(saved)


def test_data_in_other_files_are_refused(saved: Path) -> None:
    (saved.parent / "raw").write_bytes(bytes(120))
    spoil(saved, "rewards", shape=(30,), dtype="f4", external=[(saved.parent / "raw", 0, 120)])
    with pytest.raises(FileFormatError, match=r"'rewards' in .* lies in another file"):
        MDPDataset.load(saved)


def test_virtual_datasets_are_refused(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        layout = h5py.VirtualLayout(shape=(30,), dtype="f4")
        layout[:] = h5py.VirtualSource("other.h5", "x", shape=(30,))
        del file["rewards"]
        file.create_virtual_dataset("rewards", layout)
    with pytest.raises(FileFormatError, match=r"'rewards' in .* lies in another file"):
        MDPDataset.load(saved)


def test_claims_without_data_are_refused(saved: Path) -> None:
    spoil(saved, "rewards", shape=(10**12,), dtype="f4", chunks=(1000,))
    with pytest.raises(
        FileFormatError, match=r"claims shape \[1000000000000\], but its data were never written"
    ):
        MDPDataset.load(saved)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "has version 2, this release reads 1; upgrade offlinekit"),
        ("format", "other", "is HDF5, but not a dataset of offlinekit: it holds actions"),
        ("header", "{", "has a damaged header"),
        ("header", json.dumps({"name": "a"}), "has a damaged header"),
        ("header", 3, "has no text 'header'"),
    ],
)
def test_damaged_headers(saved: Path, key: str, value: Any, message: str) -> None:
    with h5py.File(saved, "r+") as file:
        file.attrs[key] = value
    with pytest.raises(FileFormatError, match=message):
        MDPDataset.load(saved)


def test_unknown_kinds_of_groups(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        file["observations"].attrs["kind"] = "list"
    with pytest.raises(FileFormatError, match="has kind 'list', expected 'dict' or 'tuple'"):
        MDPDataset.load(saved)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(7),
        spaces.Box(-np.inf, np.inf, (3,), np.float32),
        spaces.Box(np.array([-0.1, -1e30]), np.array([0.3, np.inf]), dtype=np.float64),
        spaces.Box(0, 255, (2, 3, 1), np.uint8),
        spaces.Dict(
            {"b": spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (1,))]), "a": spaces.Discrete(3)}
        ),
    ],
)
def test_spaces_survive_json(space: spaces.Space[Any]) -> None:
    assert space_from_json(json.loads(json.dumps(space_to_json(space), allow_nan=False))) == space


@pytest.mark.parametrize(
    "data", [None, {}, {"kind": "box"}, {"kind": "strange"}, {"kind": "dict", "items": [1]}]
)
def test_json_that_is_no_space(data: Any) -> None:
    with pytest.raises(FileFormatError, match="expected a space as JSON"):
        space_from_json(data)
