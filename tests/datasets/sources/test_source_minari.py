from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset, get_dataset, known_datasets, with_last_actions
from offlinekit.datasets.editing.relabelling import relabel
from offlinekit.datasets.families.minari_export import export_minari
from offlinekit.errors import DatasetError, DownloadError, FileFormatError

RealData = Callable[[str], Path]
pytestmark = pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning")
FLOAT = {"type": "Box", "dtype": "float64", "shape": [2], "low": [-9.0, -9.0], "high": [9.0, 9.0]}
IMAGE = {"type": "Box", "dtype": "uint8", "shape": [2, 3], "low": [[0] * 3] * 2, "high": [[255] * 3] * 2}
DISCRETE = {"type": "Discrete", "dtype": "int64", "start": 1, "n": 3}
NESTED = {"type": "Dict", "subspaces": {"a": FLOAT, "t": {"type": "Tuple", "subspaces": [IMAGE, DISCRETE]}}}


def contents(folder: Path) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """metadata.json, and every array and attribute of a dataset folder with its dtype and bytes."""
    found = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype, item.shape, item[()].tobytes())
        for key, value in item.attrs.items():
            found[f"{name}@{key}"] = (np.asarray(value).dtype, np.shape(value), np.asarray(value).tobytes())

    with h5py.File(folder / "data" / "main_data.hdf5") as file:
        file.visititems(visit)
    return json.loads((folder / "data" / "metadata.json").read_text()), found


def test_facts_and_round_trip_of_door_human(real_data: RealData, tmp_path: Path) -> None:
    folder = real_data("minari/D4RL/door/human-v2")
    dataset, _ = get_dataset(folder)
    assert (len(dataset), dataset.n_episodes, dataset.name) == (6_729, 25, "D4RL-door-human-v2")
    assert dataset.episode_returns().mean() == pytest.approx(802.8, abs=0.05)
    assert dataset.reference_scores == (-45.80706024169922, 2940.578369140625)
    assert dataset.metadata["env_id"] == "AdroitHandDoor-v1"
    assert dataset.metadata["env_kwargs"] == {"reward_type": "dense", "max_episode_steps": 200}
    assert dataset.final_known.all()
    assert dataset.timeouts.sum() == 25
    assert json.loads(dataset.episode_extras["minari/attributes"][0])["seed"]["values"] == [
        8186877464689992278
    ]
    saved = MDPDataset.load(dataset.save(tmp_path / "door.h5"))
    assert contents(export_minari(saved, tmp_path / "door")) == contents(folder)


def test_by_name(real_data: RealData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(real_data("minari")))
    dataset, _ = get_dataset("minari/D4RL/door/human-v2", exact=False)
    assert dataset.n_episodes == 25
    assert sorted(dataset.extras) == ["infos/success"]
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(
        FileNotFoundError, match=r"no dataset 'minari/D4RL/door/human-v9': .*offlinekit\[minari"
    ):
        get_dataset("minari/D4RL/door/human-v9")
    assert "minari/{name...}" in known_datasets()


def test_the_package_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download_dataset(name: str) -> None:
        if name != "toy/day-v0":
            raise ValueError(f"{name} is not on the server")
        write(tmp_path / "toy" / "day-v0")

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "minari", SimpleNamespace(download_dataset=download_dataset))
    assert get_dataset("minari/toy/day-v0")[0].n_episodes == 2
    with pytest.raises(DownloadError, match=r"'minari/toy/day-v9': .*toy/day-v9 is not on the server"):
        get_dataset("minari/toy/day-v9")


def test_names_without_the_prefix_say_it() -> None:
    with pytest.raises(ValueError, match="Minari's datasets are named 'minari/D4RL/door/human-v2'"):
        get_dataset("D4RL/door/human-v2")


def write(folder: Path, lengths: tuple[int, ...] = (3, 2), **facts: Any) -> Path:
    """A dataset of nested observations as Minari 0.5 lays it out."""
    data, rng = folder / "data", np.random.default_rng(0)
    data.mkdir(parents=True)
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for i, steps in enumerate(lengths):
            group = file.create_group(f"episode_{i}")
            group["observations/a"] = rng.uniform(-1, 1, (steps + 1, 2))
            group["observations/t/_index_0"] = rng.integers(0, 255, (steps + 1, 2, 3)).astype(np.uint8)
            group["observations/t/_index_1"] = rng.integers(1, 4, steps + 1)
            group["actions"] = rng.integers(1, 4, steps)
            group["rewards"] = rng.normal(size=steps)
            group["terminations"] = np.arange(steps) == (steps - 1 if i == 0 else -1)
            group["truncations"] = np.arange(steps) == steps - 1
            group["infos/x/y"] = np.arange(steps + 1.0)
            group["infos/flag"] = np.ones(steps, bool)
            values = {"id": i, "total_steps": steps, "seed": 2**62 + i, "options/goal": np.ones(2, "f4") * i}
            values |= {"rewards_sum": group["rewards"][()].sum(), "options/level": "hard"}
            for key, value in values.items():
                group.attrs[key] = value
    known = {"dataset_id": "my/nested-v0", "minari_version": "0.5.4", "data_format": "hdf5"}
    known |= {"observation_space": json.dumps(NESTED), "action_space": json.dumps(DISCRETE)}
    known |= {"total_episodes": len(lengths), "total_steps": sum(lengths), "jpeg_encoding": False, **facts}
    (data / "metadata.json").write_text(json.dumps(known))
    return folder


def test_nested_observations(tmp_path: Path) -> None:
    folder = write(tmp_path / "nested-v0")
    dataset, env = get_dataset(folder)
    assert env is None
    state, (image, number) = dataset.observations["a"], dataset.observations["t"]
    assert (state.shape, image.shape, number.shape) == ((5, 2), (5, 2, 3), (5, 3))
    with h5py.File(folder / "data" / "main_data.hdf5") as file:
        stored = file["episode_1/observations/t/_index_1"][()]
        assert (number[3:].argmax(1) + 1).tolist() == stored[:2].tolist()
        assert dataset.final_observations["t"][1][1].argmax() + 1 == stored[2]
        assert dataset.actions[:3].tolist() == file["episode_0/actions"][()].tolist()
    assert dataset.action_space == spaces.Discrete(3, start=1)
    assert np.flatnonzero(dataset.terminals).tolist() == [2]  # Also truncated there: the terminal wins.
    assert np.flatnonzero(dataset.timeouts).tolist() == [4]
    assert dataset.extras["infos/x/y"].tolist() == [0, 1, 2, 0, 1]
    assert dataset.episode_extras["infos/x/y"].tolist() == [3, 2]
    assert contents(export_minari(dataset, tmp_path / "again")) == contents(folder)


def test_a_part_is_written_with_its_own_attributes(tmp_path: Path) -> None:
    dataset, _ = get_dataset(write(tmp_path / "nested-v0", (3, 2, 4)))
    facts, found = contents(export_minari(dataset[[2, 0]], tmp_path / "part", dataset_id="my/part-v1"))
    assert (facts["total_episodes"], facts["total_steps"], facts["dataset_id"]) == (2, 7, "my/part-v1")
    assert np.frombuffer(found["episode_0@seed"][2], np.int64)[0] == 2**62 + 2
    assert np.frombuffer(found["episode_0@id"][2], np.int64)[0] == 0
    assert found["episode_0/observations/a"][1] == (5, 2)


def test_changed_rewards_are_written_as_changed(tmp_path: Path) -> None:
    dataset, _ = get_dataset(write(tmp_path / "nested-v0"))
    dataset.rewards = dataset.rewards + 1
    _, found = contents(export_minari(dataset, tmp_path / "again"))
    dtype, _, content = found["episode_0/rewards"]
    assert np.frombuffer(content, dtype).tolist() == pytest.approx(dataset.rewards[:3].tolist())
    assert np.frombuffer(found["episode_0@rewards_sum"][2])[0] == pytest.approx(dataset.episode_returns()[0])


def test_ours_to_minari_and_back(tmp_path: Path) -> None:
    dataset, _ = get_dataset("cartpole-mixed")
    part = dataset[:3]
    log_probs = np.linspace(-1, 0, len(part), dtype=np.float32)
    part.extras = {"behavior_log_probs": log_probs}
    part.final_known = np.array([True, False, True])
    with pytest.warns(UserWarning, match="final observation of 1 episodes was not recorded"):
        folder = export_minari(part, tmp_path / "x")
    back, env = get_dataset(folder)
    assert env is not None
    assert env.spec is not None
    assert env.spec.id == "CartPole-v1"
    assert (back.actions == part.actions).all()
    assert (back.observations == part.observations).all()
    assert (back.rewards == part.rewards).all()
    assert (back.terminals == part.terminals).all()
    assert (back.episode_ends == part.episode_ends).all()
    assert back.final_known.tolist() == [True, False, True]
    assert (back.final_observations[[0, 2]] == part.final_observations[[0, 2]]).all()
    assert back.behavior_log_probs is not None
    assert (back.behavior_log_probs == log_probs).all()
    with pytest.raises(FileExistsError, match="give a folder that is not"):
        export_minari(part, tmp_path / "x")
    with pytest.raises(DatasetError, match="dataset_id must look like"):
        export_minari(dataset[:1], tmp_path / "y", dataset_id="no version")


@pytest.mark.parametrize("layout", ["arrow", "parquet"])
def test_arrow_layouts(tmp_path: Path, layout: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    hdf5, _ = get_dataset(write(tmp_path / "hdf5"))
    folder = write(tmp_path / "arrow", data_format=layout) / "data"
    with h5py.File(folder / "main_data.hdf5") as file:
        for i in range(2):
            write_arrow(arrow, folder / str(i), file[f"episode_{i}"], layout)
    (folder / "main_data.hdf5").unlink()
    dataset, _ = get_dataset(folder.parent)
    assert dataset.observation_space == hdf5.observation_space
    for ours, theirs in (
        (dataset.observations["a"], hdf5.observations["a"]),
        (dataset.observations["t"][0], hdf5.observations["t"][0]),
        (dataset.final_observations["t"][1], hdf5.final_observations["t"][1]),
        (dataset.extras["minari/observations/a"], hdf5.extras["minari/observations/a"]),
        (dataset.extras["infos/x/y"], hdf5.extras["infos/x/y"]),
        (dataset.episode_extras["infos/x/y"], hdf5.episode_extras["infos/x/y"]),
        (dataset.actions, hdf5.actions),
        (dataset.rewards, hdf5.rewards),
        (dataset.terminals, hdf5.terminals),
    ):
        assert (ours == theirs).all()
    assert json.loads(dataset.episode_extras["minari/attributes"][1])["options/goal"] == [1.0, 1.0]


def write_arrow(arrow: Any, folder: Path, group: Any, layout: str) -> None:
    """An episode as Minari 0.5.4 lays it out: T + 1 rows, the last padded but for observations and infos."""
    folder.mkdir()
    pad = lambda name: np.append(group[name][()], [0]).astype(group[name].dtype)  # noqa: E731
    lists = lambda a: arrow.FixedSizeListArray.from_arrays(a.reshape(-1), a[0].size)  # noqa: E731
    pair = [lists(group["observations/t/_index_0"][()]), arrow.array(group["observations/t/_index_1"][()])]
    seen = [lists(group["observations/a"][()]), arrow.StructArray.from_arrays(pair, ["0", "1"])]
    inner = arrow.StructArray.from_arrays([arrow.array(group["infos/x/y"][()])], ["y"])
    columns = {name: pad(name) for name in ("actions", "rewards", "terminations", "truncations")}
    columns |= {"observations": arrow.StructArray.from_arrays(seen, ["a", "t"])}
    columns |= {"infos": arrow.StructArray.from_arrays([inner], ["x"])}
    table = arrow.table(columns)
    if layout == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, folder / "part-0.parquet")
    else:
        with (
            arrow.OSFile(str(folder / "part-0.arrow"), "wb") as sink,
            arrow.ipc.new_file(sink, table.schema) as to,
        ):
            to.write_table(table)
    options = {"goal": group.attrs["options/goal"].tolist()}
    (folder / "metadata.json").write_text(json.dumps({"id": 0, "total_steps": 2, "options": options}))


def test_jpeg_images_are_decoded(tmp_path: Path) -> None:
    import io

    from PIL import Image

    folder = write(tmp_path / "x")
    shape = {"shape": [32, 32], "low": [[0] * 32] * 32, "high": [[255] * 32] * 32}
    facts = json.loads((folder / "data" / "metadata.json").read_text())
    facts |= {"observation_space": json.dumps({**IMAGE, **shape}), "jpeg_encoding": True}
    (folder / "data" / "metadata.json").write_text(json.dumps(facts))
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        for group in file.values():
            del group["observations"]
            frames = []
            for i in range(len(group["rewards"]) + 1):
                Image.fromarray(np.full((32, 32), 40 * i, np.uint8)).save(
                    buffer := io.BytesIO(), format="JPEG"
                )
                frames.append(np.frombuffer(buffer.getvalue(), np.uint8))
            column = group.create_dataset("observations", (len(frames),), h5py.vlen_dtype(np.uint8))
            for i, frame in enumerate(frames):
                column[i] = frame
    dataset, _ = get_dataset(folder)
    assert dataset.observations.shape == (5, 32, 32)
    assert dataset.observations[:, 0, 0].tolist() == [0, 40, 80, 0, 40]
    again, _ = get_dataset(export_minari(dataset, tmp_path / "again"))  # Written as they are, not as JPEG.
    assert (again.observations == dataset.observations).all()


def test_texts_are_left_out_and_early_terminations_told(tmp_path: Path) -> None:
    text = {"type": "Text", "max_length": 9, "min_length": 1, "charset": "abc"}
    folder = write(
        tmp_path / "x", observation_space=json.dumps({"type": "Dict", "subspaces": {"a": FLOAT, "m": text}})
    )
    with pytest.warns(UserWarning, match="texts among the observations are left out"):
        dataset, _ = get_dataset(folder)
    assert list(dataset.observations) == ["a"]
    with h5py.File(write(tmp_path / "y") / "data" / "main_data.hdf5", "r+") as file:
        file["episode_0/terminations"][0] = True
    with pytest.warns(UserWarning, match="1 steps are terminations though their episode goes on"):
        dataset, _ = get_dataset(tmp_path / "y")
    assert dataset.n_episodes == 2
    assert dataset.extras["minari/terminations"].tolist() == [True, False, True, False, False]


def test_damage_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "x")
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        del file["episode_1/actions"]
    with pytest.raises(FileFormatError, match=r"episode_1 has no 'actions'"):
        get_dataset(folder)
    with h5py.File(folder / "data" / "main_data.hdf5", "r+") as file:
        file["episode_1/actions"] = np.ones(3, int)
    with pytest.raises(FileFormatError, match="episode 1 has 3 actions to 2 rewards, expected 2"):
        get_dataset(folder)
    facts = folder / "data" / "metadata.json"
    facts.write_text(facts.read_text().replace('"hdf5"', '"zarr"'))
    with pytest.raises(FileFormatError, match="has the layout 'zarr', expected"):
        get_dataset(folder)
    facts.write_text('{"total_episodes": 2}')
    with pytest.raises(FileFormatError, match="does not say 'observation_space'"):
        get_dataset(folder)
    facts.write_text("{")
    with pytest.raises(FileFormatError, match=r"metadata.json cannot be read"):
        get_dataset(folder, format="minari")


def reread(dataset: MDPDataset, folder: Path) -> tuple[MDPDataset, dict[str, Any]]:
    written = export_minari(dataset, folder)
    return get_dataset(written)[0], json.loads((written / "data" / "metadata.json").read_text())


@pytest.fixture
def of_minari(tmp_path: Path) -> MDPDataset:
    """A dataset read from Minari, with reference scores and an environment."""
    rng, ends = np.random.default_rng(0), np.arange(8) % 4 == 3
    facts = {"reference_min_score": 0, "reference_max_score": 10, "env_id": "Pendulum-v1"}
    made = MDPDataset(
        rng.normal(size=(8, 3)),
        rng.uniform(-2, 2, (8, 1)),
        np.arange(8) / 3,
        np.zeros(8),
        timeouts=ends,
        final_observations=rng.normal(size=(2, 3)),
        metadata=facts,
        name="a-v0",
    )
    return reread(made, tmp_path / "first")[0]


def test_reference_scores_forgotten_or_changed_since(of_minari: MDPDataset, tmp_path: Path) -> None:
    assert of_minari.reference_scores == (0, 10)
    same, facts = reread(of_minari, tmp_path / "same")
    assert (same.reference_scores, facts["dataset_id"], same.name) == ((0, 10), "a-v0", "a-v0")
    scaled, facts = reread(relabel(of_minari, "scale=100"), tmp_path / "scaled")
    assert scaled.reference_scores is None
    assert not {"ref_min_score", "ref_max_score"} & facts.keys()
    other = of_minari.with_options(metadata={"reference_min_score": -5, "reference_max_score": 5})
    assert reread(other, tmp_path / "other")[0].reference_scores == (-5, 5)


def test_a_name_or_environment_of_another_since(of_minari: MDPDataset, tmp_path: Path) -> None:
    assert of_minari.metadata["env_id"] == "Pendulum-v1"
    renamed, facts = reread(of_minari.with_options(name="renamed-v3"), tmp_path / "renamed")
    assert (renamed.name, facts["dataset_id"]) == ("renamed-v3", "renamed-v3")
    moved = of_minari.with_options(metadata={"env_id": "MountainCarContinuous-v0", "env_kwargs": {}})
    facts = json.loads((export_minari(moved, tmp_path / "moved") / "data" / "metadata.json").read_text())
    assert json.loads(facts["env_spec"])["id"] == "MountainCarContinuous-v0"
    none, facts = reread(of_minari.with_options(metadata={"env_id": None}), tmp_path / "none")
    assert "env_spec" not in facts
    assert none.metadata.get("env_id") is None


def test_a_space_of_observations_declared_since(of_minari: MDPDataset, tmp_path: Path) -> None:
    longer = with_last_actions(of_minari)
    again, facts = reread(longer, tmp_path / "longer")
    np.testing.assert_array_equal(again.observations, longer.observations)
    np.testing.assert_array_equal(again.final_observations, longer.final_observations)
    assert again.observation_space == longer.observation_space
    assert json.loads(facts["observation_space"])["shape"] == [4]
    assert "env_spec" not in facts
