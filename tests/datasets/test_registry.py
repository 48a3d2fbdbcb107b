from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from offlinekit.datasets import (
    MDPDataset,
    get_dataset,
    known_datasets,
    register_dataset,
    registry,
    unregister_dataset,
)
from offlinekit.datasets import source as sources
from offlinekit.datasets.registry import located
from offlinekit.datasets.source import Source
from offlinekit.errors import DatasetError, FileFormatError


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTERED", {})


def toy(**options: Any) -> MDPDataset:
    return MDPDataset(np.zeros((4, 4)), np.array([0, 1, 0, 1]), np.ones(4), [0, 1, 0, 1], **options)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(
        ValueError,
        match=r"^Unrecognized dataset name: 'hoper-medium-v2'; did you mean 'hopper-medium-v2'\?$",
    ):
        get_dataset("hoper-medium-v2")
    with pytest.raises(
        ValueError, match=r"^Unrecognized dataset name: 'qqqqqqqqq'; one of your own .* --import MODULE$"
    ):
        get_dataset("qqqqqqqqq")


def test_a_path_is_located_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.h5").touch()
    (tmp_path / "replay").mkdir()
    (tmp_path / "cartpole-mixed").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "data.h5")
    register_dataset("wards/{split}")(lambda split: toy())
    for name in ("data.h5", "replay", "link.csv"):
        assert located(name) == str(tmp_path / name)
        assert located(f"{name}?n=3") == f"{tmp_path / name}?n=3"
    for name in ("cartpole-mixed", "cartpole-mixed?n=3", "wards/a", "gone.h5", "", str(tmp_path / "data.h5")):
        assert located(name) == name


def test_a_registered_function_gets_the_fields_of_its_name_and_the_options() -> None:
    calls = []

    @register_dataset("ward-{split}-{size}")
    def get_ward(split: str, size: str, scale: float = 1.0) -> Any:
        """Ward rounds.

        More.
        """
        calls.append((split, size, scale))
        return toy(), gymnasium.make("CartPole-v1")

    dataset, env = get_dataset("ward-train-small-one", scale=2.0)
    assert calls == [("train", "small-one", 2.0)]
    assert dataset.name == "ward-train-small-one"
    assert dataset.metadata["origin"] == {"name": "ward-train-small-one", "options": {"scale": 2.0}}
    assert isinstance(env, gymnasium.Env)
    assert known_datasets()["ward-{split}-{size}"] == "Ward rounds."
    assert get_ward("a", "b")[1] is not None  # The decorator gives the function back.


def test_a_bare_dataset_has_no_environment() -> None:
    register_dataset("bare")(lambda: toy(name="own"))
    dataset, env = get_dataset("bare")
    assert env is None
    assert dataset.name == "own"


@pytest.mark.parametrize("result", [None, [1], (1, 2), (None, None)])
def test_other_results_are_refused(result: Any) -> None:
    register_dataset("odd")(lambda: result)
    with pytest.raises(
        TypeError, match="the function of dataset 'odd' must return an MDPDataset or its arguments"
    ):
        get_dataset("odd")


def test_an_environment_of_other_spaces_is_refused() -> None:
    register_dataset("odd")(lambda: (toy(), gymnasium.make("Pendulum-v1")))
    with pytest.raises(
        DatasetError,
        match=r"Pendulum-v1 observes Box\[3\] and acts Box\[1\], but the .* Box\[4\] and Discrete\(2\)",
    ):
        get_dataset("odd")


def test_own_names_win_over_built_in_ones() -> None:
    register_dataset("hopper-medium-v2")(toy)
    assert len(get_dataset("hopper-medium-v2")[0]) == 4


def test_an_exact_name_wins_over_a_pattern() -> None:
    register_dataset("ward-test")(lambda: toy(name="exact"))
    register_dataset("ward-{split}")(lambda split: toy(name=split))
    assert get_dataset("ward-test")[0].name == "exact"
    assert get_dataset("ward-other")[0].name == "other"


def test_a_pattern_takes_no_paths(tmp_path: Path) -> None:
    register_dataset("{anything}")(lambda anything: toy(name="pattern"))
    path = toy(name="file").save(tmp_path / "x.h5")
    assert get_dataset(path)[0].name == "file"


def test_literal_characters_of_a_pattern_are_literal() -> None:
    register_dataset("a.b")(toy)
    with pytest.raises(ValueError, match="Unrecognized dataset name: 'axb'"):
        get_dataset("axb")


def test_the_pattern_of_another_module_needs_overwrite() -> None:
    register_dataset("ward")(lambda: toy(name="first"))
    with pytest.raises(ValueError, match=r"the name 'ward' belongs to .*overwrite=True"):
        register_dataset("ward")(get_dataset)  # Of another module.
    register_dataset("ward", overwrite=True)(get_dataset)
    unregister_dataset("ward")


def test_a_cell_that_runs_twice_replaces_its_dataset() -> None:
    register_dataset("ward")(lambda: toy(name="first"))
    register_dataset("ward")(lambda: toy(name="second"))
    assert get_dataset("ward")[0].name == "second"


def test_unregistering() -> None:
    register_dataset("ward")(toy)
    unregister_dataset("ward")
    with pytest.raises(ValueError, match="Unrecognized"):
        get_dataset("ward")
    with pytest.raises(ValueError, match="dataset 'ward' is not registered"):
        unregister_dataset("ward")


def test_patterns_are_checked_when_registered() -> None:
    with pytest.raises(
        TypeError, match=r"the function of dataset 'ward-\{split\}' must take an argument 'split'"
    ):
        register_dataset("ward-{split}")(lambda: toy())
    with pytest.raises(ValueError, match="names a field twice"):
        register_dataset("{a}-{a}")


def test_options_are_checked() -> None:
    @register_dataset("ward-{split}")
    def get_ward(split: str, *, scale: float = 1.0, limit: int) -> MDPDataset:
        return toy()

    with pytest.raises(
        TypeError,
        match=r"has no option 'scal'; did you mean 'scale'.; its options are: limit, scale, split",
    ):
        get_dataset("ward-a", scal=1, limit=3)
    with pytest.raises(TypeError, match="dataset 'ward-a' needs the option 'limit'"):
        get_dataset("ward-a")
    with pytest.raises(TypeError, match="says 'split' by its name; leave the option 'split' out"):
        get_dataset("ward-a", split="b", limit=3)


def test_functions_with_open_options_take_any() -> None:
    register_dataset("open")(lambda **options: toy(metadata=options))
    assert get_dataset("open", a=1)[0].metadata["a"] == 1


def test_options_of_built_in_readers_are_listed() -> None:
    with pytest.raises(
        TypeError,
        match=r"'hopper-medium-v2' has no option 'transition'; did you mean 'transitions'.; its options are: "
        "alignment, clip_actions, env_id, infos, reward_transform, source, step_limit, transitions",
    ):
        get_dataset("hopper-medium-v2", transition="d4rl")


def test_paths_are_read_by_looking_at_them(tmp_path: Path) -> None:
    toy().save(tmp_path / "mine.hdf5")
    np.savez(
        tmp_path / "mine.npz", observations=np.zeros((2, 3)), actions=[0, 1], rewards=[1, 1], terminals=[0, 1]
    )
    for path in tmp_path.iterdir():
        dataset, env = get_dataset(str(path))
        assert (dataset.name, env) == ("mine", None)


def test_env_id_says_environment_and_action_space(tmp_path: Path) -> None:
    path = tmp_path / "pendulum.npz"
    columns: dict[str, Any] = {"observations": np.zeros((2, 3)), "rewards": [1, 1], "terminals": [0, 1]}
    np.savez(path, **columns, actions=[[0.5], [2.0]])
    dataset, env = get_dataset(path, env_id="Pendulum-v1")
    assert env is not None
    assert dataset.action_space == env.action_space
    assert dataset.metadata["env_id"] == "Pendulum-v1"
    dataset.save(tmp_path / "pendulum.h5")
    again, env = get_dataset(tmp_path / "pendulum.h5")
    assert env is not None
    assert again.action_space == dataset.action_space
    np.savez(path, **columns, actions=[[0.5], [2.25]])
    with pytest.raises(DatasetError, match=r"got \[2.25\] at row 1, in episode 0; .* clip_actions=True"):
        get_dataset(path, env_id="Pendulum-v1")
    dataset, _ = get_dataset(path, env_id="Pendulum-v1", clip_actions=True)
    assert dataset.actions.tolist() == [[0.5], [2.0]]


def test_wrong_paths_and_formats(tmp_path: Path) -> None:
    toy().save(tmp_path / "mine.h5")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*mne.h5; did you mean 'mine.h5'\?"):
        get_dataset(tmp_path / "mne.h5")
    with pytest.raises(
        ValueError,
        match=r"unknown format 'd4r'; did you mean 'd4rl'.; known: bandits, bcq_buffers, bcq_frames, buffers",
    ):
        get_dataset(tmp_path / "mine.h5", format="d4r")
    with pytest.raises(FileFormatError, match="is not of d3rlpy: it has neither"):
        get_dataset(tmp_path / "mine.h5", format="d3rlpy")
    (tmp_path / "empty.npz").write_bytes(b"")
    with pytest.raises(
        FileFormatError, match=r"no reader recognises .*; known formats are .*d3rlpy, d4rl, .*native"
    ):
        get_dataset(tmp_path / "empty.npz")


def test_known_datasets_have_a_line_each() -> None:
    known = known_datasets()
    assert {"cartpole-mixed", "hopper-medium-v2", "*.hdf5", "*.npz", "*.csv"} <= known.keys()
    assert all(line and "\n" not in line for line in known.values())


@pytest.fixture
def another_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A folder with one more reader, as if it lay under sources/."""
    from offlinekit.datasets import source, sources

    (tmp_path / "zebra.py").write_text(
        "from offlinekit.datasets.source import Source\n"
        "import numpy as np\n"
        "from offlinekit.datasets.mdp_dataset import MDPDataset\n"
        "def load(name, *, stripes=2):\n"
        "    return MDPDataset(np.ones((stripes, 1)), [0] * stripes, [1] * stripes, [0] * stripes)\n"
        "SOURCE = Source(summary='Zebra.', names=lambda: {'zebra-v0': 'A zebra.'}, load=load)\n"
    )
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    source.all_sources.cache_clear()
    yield
    source.all_sources.cache_clear()


@pytest.mark.usefixtures("another_source")
def test_a_source_is_one_file_and_found_by_itself() -> None:
    dataset, env = get_dataset("zebra-v0", stripes=3)
    assert (len(dataset), dataset.name, env) == (3, "zebra-v0", None)
    assert known_datasets()["zebra-v0"] == "A zebra."


def test_options_may_stand_behind_a_name() -> None:
    @register_dataset("ward-{split}")
    def ward(split: str, rows: int = 4, tag: str = "") -> MDPDataset:
        return toy(name=f"{split}, {rows!r}, {tag!r}")

    assert get_dataset("ward-a?rows=7&tag=x y")[0].name == "a, 7, 'x y'"
    with pytest.raises(TypeError, match="says 'rows' already"):
        get_dataset("ward-a?rows=7", rows=8)
    with pytest.raises(TypeError, match="has no option 'row'; did you mean 'rows'"):
        get_dataset("ward-a?row=7")


def test_sources_may_have_patterns_and_read_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(
        summary="Toys.",
        patterns={"toys/{kind}": "A toy of some kind."},
        load=lambda name, n=1: toy(name=f"{name} {n}"),
        folders="toy.txt",
        recognises=lambda path: (path / "toy.txt").is_file(),
        read=lambda path: toy(name="of a folder"),
    )
    monkeypatch.setattr(sources, "all_sources", lambda: {"toys": source})
    assert get_dataset("toys/bear?n=3")[0].name == "toys/bear 3"
    assert known_datasets() == {"toys/{kind}": "A toy of some kind.", "*/ (toy.txt)": "Toys."}
    with pytest.raises(FileFormatError, match="no reader recognises"):
        get_dataset(tmp_path)
    (tmp_path / "toy.txt").touch()
    assert get_dataset(tmp_path)[0].name == "of a folder"


def test_states_that_are_numbers_name_the_wrapper_that_helps() -> None:
    columns = np.eye(16)[:4], np.arange(4), np.zeros(4), [0, 0, 0, 1]
    env = gymnasium.make("FrozenLake-v1")
    register_dataset("lake")(lambda: (MDPDataset(*columns, action_space=env.action_space), env))
    with pytest.raises(DatasetError, match=r"wrap it: gymnasium.wrappers.FlattenObservation\(env\)"):
        get_dataset("lake")
    wrapped = gymnasium.wrappers.FlattenObservation(env)  # The remedy.
    register_dataset("flat lake")(lambda: (MDPDataset(*columns, action_space=env.action_space), wrapped))
    assert get_dataset("flat lake")[1] is not None


def test_the_name_may_be_a_keyword_and_readers_keep_their_option_of_that_name(tmp_path: Path) -> None:
    path = toy(name="file").save(tmp_path / "x.h5")
    assert get_dataset(name=str(path))[0].name == "file"
    register_dataset("named")(lambda name="default": toy(name=f"option {name}"))
    assert get_dataset("named", name="given")[0].name == "option given"
    assert get_dataset(name="named")[0].name == "option default"
    with pytest.raises(TypeError, match="get_dataset takes the name of a dataset"):
        get_dataset()
