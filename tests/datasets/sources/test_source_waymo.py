from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.datasets.formats.protobuf import encode
from offlinekit.datasets.formats.tfrecord import write_records
from offlinekit.errors import FileFormatError, OfflineKitError

VEHICLE, PEDESTRIAN = 1, 2


def state(x: float, y: float, heading: float, vx: float, vy: float, valid: bool = True) -> bytes:
    """An ObjectState, its fields in the order of their numbers."""
    if not valid:
        return encode((11, 0))
    sizes = [(5, np.float32(4.5)), (6, np.float32(2.0)), (7, np.float32(1.5))]
    moving = [(8, np.float32(heading)), (9, np.float32(vx)), (10, np.float32(vy))]
    return encode((2, x), (3, y), (4, 0.5), *sizes, *moving, (11, 1))


def track(number: int, kind: int, states: list[bytes]) -> bytes:
    return encode((1, number), (2, kind), *((3, one) for one in states))


def scenario(tracks: list[bytes], n_steps: int, predict: tuple[int, ...] = (), **changes: Any) -> bytes:
    times = changes.get("times", [0.1 * i for i in range(n_steps)])
    stamps: list[Any] = [(1, float(time)) for time in times]
    if changes.get("packed"):
        stamps = [(1, np.array(times, "<f8").tobytes())]
    return encode(
        *stamps,
        *((2, one) for one in tracks),
        (4, 7),  # objects_of_interest
        (5, b"a1b2"),
        (6, changes.get("sdc", 0)),
        (7, b""),  # dynamic_map_states
        (8, encode((1, 3))),  # map_features
        (10, 10),
        *((11, encode((1, i), (2, 1))) for i in predict),
    )


def straight(n_steps: int, y: float = 0.0) -> list[bytes]:
    """East along y at 10 m/s, faster by 1 m/s with each step; x is read from the speeds."""
    return [state(1000.0 + i, y, 0.0, 10.0 + i, 0.0) for i in range(n_steps)]


def north_and_left() -> list[bytes]:
    """Towards the north at 5 m/s, turning left by 0.02 with each step, through the point where headings wrap."""
    headings = [np.pi / 2 + 0.02 * i for i in range(4)]
    return [
        state(3.0, 7.0 + 0.5 * i, h, 5 * float(np.cos(h)), 5 * float(np.sin(h)))
        for i, h in enumerate(headings)
    ]


def write(tmp_path: Path, *records: bytes, name: str = "x.tfrecord-00000-of-01000") -> Path:
    return write_records(tmp_path / name, records, packed=False)


@pytest.mark.parametrize("packed", [False, True])
def test_a_straight_way(tmp_path: Path, packed: bool) -> None:
    path = write(tmp_path, scenario([track(4, VEHICLE, straight(4, y=50.0))], 4, packed=packed))
    dataset, env = get_dataset(path)
    assert env is None
    assert (len(dataset), dataset.n_episodes) == (3, 1)
    expected = [[i, 0, 1, 0, 10 + i, 0, 4.5, 2.0] for i in range(4)]
    np.testing.assert_allclose(dataset.observations, expected[:3], atol=1e-6)
    np.testing.assert_allclose(dataset.final_observations, expected[3:], atol=1e-6)
    np.testing.assert_allclose(dataset.actions, [[10.0, 0.0]] * 3, rtol=1e-5)  # 1 m/s in 0.1 s.
    np.testing.assert_allclose(dataset.rewards, [1.0, 1.0, 1.0])
    assert (dataset.timeouts.sum(), dataset.terminals.sum()) == (1, 0)
    assert dataset.metadata["action_names"] == ["acceleration", "yaw_rate"]


def test_a_turn_in_the_vehicles_own_frame(tmp_path: Path) -> None:
    path = write(tmp_path, scenario([track(4, VEHICLE, north_and_left())], 4))
    dataset, _ = get_dataset(path)
    # It began towards the north, so the way north is x.
    np.testing.assert_allclose(dataset.observations[:, 0], [0.0, 0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(dataset.observations[:, 1], 0.0, atol=1e-6)
    np.testing.assert_allclose(dataset.observations[:, 3], np.sin([0.0, 0.02, 0.04]), atol=1e-6)
    np.testing.assert_allclose(dataset.observations[:, 4:6], [[5.0, 0.0]] * 3, atol=1e-5)
    np.testing.assert_allclose(dataset.actions, [[0.0, 0.2]] * 3, atol=1e-4)  # 0.02 in 0.1 s.
    bent, _ = get_dataset(path, steering="curvature")
    np.testing.assert_allclose(bent.actions[:, 1], 0.2 / 5, atol=1e-4)
    # After the first step the way north is no longer quite ahead.
    np.testing.assert_allclose(dataset.rewards, 0.5 * np.cos([0.0, 0.02, 0.04]), atol=1e-6)


def test_left_is_positive(tmp_path: Path) -> None:
    # Heading east while sliding to the north, which is on the left.
    states = [state(0.1 * i, 0.2 * i, 0.0, 1.0, 2.0) for i in range(3)]
    dataset, _ = get_dataset(write(tmp_path, scenario([track(4, VEHICLE, states)], 3)))
    np.testing.assert_allclose(dataset.observations[1], [0.1, 0.2, 1, 0, 1, 2, 4.5, 2], atol=1e-6)
    np.testing.assert_allclose(dataset.rewards, [0.1, 0.1], atol=1e-6)


def test_headings_that_wrap_and_a_car_that_stands(tmp_path: Path) -> None:
    headings = [3.13, -3.13, 3.13]
    states = [state(0.0, 0.0, h, 0.0, 0.0) for h in headings]
    path = write(tmp_path, scenario([track(4, VEHICLE, states)], 3))
    short = 2 * np.pi - 6.26
    np.testing.assert_allclose(get_dataset(path)[0].actions[:, 1], [short / 0.1, -short / 0.1], rtol=1e-3)
    assert get_dataset(path, steering="curvature")[0].actions[:, 1].tolist() == [0.0, 0.0]


def test_invalid_states_split_trajectories(tmp_path: Path) -> None:
    states = straight(9)
    for gap in (0, 4, 6):
        states[gap] = state(0, 0, 0, 0, 0, valid=False)
    dataset, _ = get_dataset(write(tmp_path, scenario([track(4, VEHICLE, states)], 9)))
    # Valid are 1-3, 5 alone, and 7-8: two transitions, none, and one.
    assert dataset.episode_lengths().tolist() == [2, 1]
    assert dataset.observations[:, 4].tolist() == [11.0, 12.0, 17.0]
    assert dataset.observations[:, 0].tolist() == [0.0, 1.0, 0.0]
    assert dataset.final_observations[:, 4].tolist() == [13.0, 18.0]
    assert dataset.timeouts.tolist() == [False, True, True]


def test_which_vehicles(tmp_path: Path) -> None:
    tracks = [
        track(7, PEDESTRIAN, straight(3)),
        track(8, VEHICLE, straight(3)),
        track(9, VEHICLE, north_and_left()[:3]),
    ]
    path = write(tmp_path, scenario(tracks, 3, predict=(0, 2), sdc=1), scenario(tracks[1:2], 3))
    assert get_dataset(path)[0].observations[::2, 4].tolist() == pytest.approx([10, 5, 10], abs=1e-5)
    assert get_dataset(path, limit=1)[0].n_episodes == 2
    assert get_dataset(path, vehicles="sdc")[0].observations[::2, 4].tolist() == [10, 10]
    assert get_dataset(path, vehicles="predict")[0].observations[::2, 4].tolist() == pytest.approx([5])
    with pytest.raises(ValueError, match="vehicles must be one of all, sdc, predict, got 'bus'"):
        get_dataset(path, vehicles="bus")
    with pytest.raises(ValueError, match="steering must be one of yaw_rate, curvature"):
        get_dataset(path, steering="wheel")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (scenario([track(4, VEHICLE, straight(3))], 4), "has 3 states, expected one for each of 4 times"),
        (scenario([track(4, VEHICLE, straight(2))], 2, times=[0.1, 0.1]), "timestamps must grow"),
        (scenario([track(4, VEHICLE, straight(2))], 2)[:-30], "bytes"),
        (encode((1, bytes(9)), (5, b"a")), "do not come in eights"),
        (scenario([], 2, sdc=3), r"tracks \[3\] are asked for, but there are 0"),
    ],
)
def test_wrong_records_are_named(tmp_path: Path, record: bytes, message: str) -> None:
    path = write(tmp_path, scenario([track(4, VEHICLE, straight(2))], 2), record)
    with pytest.raises(FileFormatError, match=f"record 1, at byte .*{message}"):
        get_dataset(path, vehicles="sdc")


def test_a_file_without_vehicles(tmp_path: Path) -> None:
    path = write(tmp_path, scenario([track(4, PEDESTRIAN, straight(3))], 3))
    with pytest.raises(FileFormatError, match=r"no vehicle \(all\) with two valid states"):
        get_dataset(path)


def test_any_damage_is_an_error_of_ours_or_other_values(tmp_path: Path) -> None:
    whole = scenario([track(4, VEHICLE, straight(3)), track(5, VEHICLE, north_and_left()[:3])], 3)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path = write(tmp_path, whole, bytes(damaged))
        with contextlib.suppress(OfflineKitError):
            get_dataset(path, format="waymo")
