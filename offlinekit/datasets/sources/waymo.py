"""Waymo Open Motion Dataset: the logged vehicles of its Scenario records as trajectories.

Alignment: SAR. Nothing in the data is an action or a reward: the action of row t is what took the vehicle from its
state t to its state t + 1, an acceleration and a turn, and the reward is the way it made. If a state is invalid
the trajectory ends, as a timeout, and another begins after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from offlinekit.datasets.editing.concatenation import join
from offlinekit.datasets.formats.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field, as_double, fields
from offlinekit.datasets.formats.tfrecord import is_tfrecord, read_parsed, read_records
from offlinekit.datasets.schema import Columns
from offlinekit.datasets.source import Source
from offlinekit.errors import FileFormatError
from offlinekit.load_budget import budget_of
from offlinekit.types import Array

OBSERVATION = ("x", "y", "cos", "sin", "forward_speed", "sideways_speed", "length", "width")
ACTIONS = {"yaw_rate": ("acceleration", "yaw_rate"), "curvature": ("acceleration", "curvature")}
VEHICLES = ("all", "sdc", "predict")
SLOWEST = 0.5
"""Metres a second below which a path has no curvature worth telling."""

# Numbers of fields of waymo_open_dataset/protos/scenario.proto.
TIMESTAMPS, TRACKS, SCENARIO_ID, SDC_TRACK, TO_PREDICT = 1, 2, 5, 6, 11
OBJECT_TYPE, STATES = 2, 3
VALID = 11
STATE_FIELDS = {2: 0, 3: 1, 5: 2, 6: 3, 8: 4, 9: 5, 10: 6}
"""Number of a field of ObjectState to its place among x, y, length, width, heading, velocity x and y."""
TYPE_VEHICLE = 1


STATE_BYTES = 128
"""That a row of a trajectory takes."""


class Track(NamedTuple):
    """The logged states of one vehicle at T times."""

    states: Array  # float64 [T, 7]: x, y, length, width, heading, velocity x and y.
    valid: Array  # bool [T]


class Scenario(NamedTuple):
    """One record: the vehicles that were chosen."""

    times: Array  # float64 [T], seconds.
    tracks: list[Track]


def read(
    path: Path, *, vehicles: str = "all", steering: str = "yaw_rate", limit: int | None = None
) -> Columns:
    """Reads the trajectories of vehicles.

    An observation is where the vehicle is, in metres from where its trajectory began and in that heading, the
    cosine and sine of how far it has turned since, its speed forwards and to the left in metres a second, and its
    length and width. An action is an acceleration in metres a second squared, and a turn to the left. The reward is
    the way forwards in metres until the next state.

    Args:
        path: A TFRecord of Scenario records.
        vehicles: "all" of them, "sdc", the recording car alone, or "predict", those of `tracks_to_predict`.
        steering: The turn: "yaw_rate" in radians a second, or "curvature" of the path in 1 / metres, 0 below
            0.5 metres a second.
        limit: The most records to read.

    Raises:
        ValueError: For another word.
        FileFormatError: For a damaged file or other records.
        DatasetError: For data that cannot be a dataset.
    """
    for option, value, known in (("vehicles", vehicles, VEHICLES), ("steering", steering, tuple(ACTIONS))):
        if value not in known:
            raise ValueError(f"{option} must be one of {', '.join(known)}, got {value!r}")
    parts: list[dict[str, Array]] = []
    for record, scenario in read_parsed(path, lambda data: parse_scenario(data, vehicles)):
        if record.number == limit:
            break
        for track in scenario.tracks:
            parts += [transitions(*piece, steering) for piece in pieces(track, scenario.times)]
            budget_of(path).take(STATE_BYTES * len(track.states), "all trajectories")
    if not parts:
        raise FileFormatError(f"{path} holds no vehicle ({vehicles}) with two valid states in a row")
    columns = join(parts)
    metadata = {"observation_names": OBSERVATION, "action_names": ACTIONS[steering]}
    return {**columns, "terminals": np.zeros(len(columns["rewards"]), np.bool_), "metadata": metadata}


def parse_scenario(data: bytes, vehicles: str) -> Scenario:
    """Returns the times and the vehicles of a serialised Scenario; `read` documents `vehicles`.

    Raises:
        FileFormatError: For bytes that are no Scenario; says at which byte.
    """
    times: list[Array] = []
    tracks: list[Field] = []
    wanted: list[int] = []
    for field in fields(data):
        if field.number == TIMESTAMPS and field.wire in (BYTES, FIXED64):
            times.append(_doubles(data, field))
        elif field.number == TRACKS and field.wire == BYTES:
            tracks.append(field)
        elif field.number == SDC_TRACK and field.wire == VARINT and vehicles == "sdc":
            wanted = [field.value]
        elif field.number == TO_PREDICT and field.wire == BYTES and vehicles == "predict":
            inner = fields(data, field.start, field.stop)
            wanted.append(next((f.value for f in inner if f.number == 1 and f.wire == VARINT), 0))
    seconds = np.concatenate(times) if times else np.zeros(0)
    if (np.diff(seconds) <= 0).any():
        raise FileFormatError("timestamps must grow from step to step")
    chosen = range(len(tracks)) if vehicles == "all" else sorted(set(wanted))
    if any(i >= len(tracks) for i in chosen):
        raise FileFormatError(f"tracks {wanted} are asked for, but there are {len(tracks)}")
    chosen_tracks = [_track(data, tracks[i], len(seconds)) for i in chosen]
    return Scenario(seconds, [track for track in chosen_tracks if track is not None])


def _doubles(data: bytes, field: Field) -> Array:
    if (field.stop - field.start) % 8:
        raise FileFormatError(f"the doubles at byte {field.start} do not come in eights of bytes")
    return np.frombuffer(data, "<f8", (field.stop - field.start) // 8, field.start)


def _track(data: bytes, track: Field, n_steps: int) -> Track | None:
    """Returns the states of a track, or None where it is no vehicle."""
    inner = list(fields(data, track.start, track.stop))
    if not any(f.number == OBJECT_TYPE and f.value == TYPE_VEHICLE for f in inner):
        return None
    messages = [field for field in inner if field.number == STATES and field.wire == BYTES]
    if len(messages) != n_steps:
        raise FileFormatError(
            f"the track at byte {track.start} has {len(messages)} states, expected one for each of {n_steps} times"
        )
    states, valid = np.zeros((n_steps, len(STATE_FIELDS))), np.zeros(n_steps, np.bool_)
    for row, message in enumerate(messages):
        for field in fields(data, message.start, message.stop):
            if field.number in STATE_FIELDS and field.wire in (FIXED32, FIXED64):
                states[row, STATE_FIELDS[field.number]] = as_double(data, field)
            elif field.number == VALID:
                valid[row] = field.value != 0
    return Track(states, valid)


def pieces(track: Track, times: Array) -> Iterator[tuple[Array, Array]]:
    """Yields the states and times of each stretch of at least two valid states."""
    edges = np.diff(np.concatenate([[False], track.valid, [False]]).astype(np.int8))
    for start, stop in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if stop - start > 1:
            yield track.states[start:stop], times[start:stop]


@np.errstate(over="ignore", invalid="ignore")  # What is not finite then, MDPDataset names.
def transitions(states: Array, times: Array, steering: str) -> dict[str, Any]:
    """Returns n states of a vehicle as columns of n - 1 transitions; `read` documents their meaning.

    Args:
        states: [n, 7], as in `Track`.
        times: [n], seconds.
        steering: "yaw_rate" or "curvature".
    """
    position, size, heading, velocity = states[:, :2], states[:, 2:4], states[:, 4], states[:, 5:]
    turned = heading - heading[0]
    ahead = np.stack([np.cos(heading), np.sin(heading)], 1)
    left = np.stack([-ahead[:, 1], ahead[:, 0]], 1)
    way = position - position[0]
    forward, sideways = (velocity * ahead).sum(1), (velocity * left).sum(1)
    features = [way @ ahead[0], way @ left[0], np.cos(turned), np.sin(turned), forward, sideways, *size.T]
    observations = np.stack(features, 1).astype(np.float32)
    seconds = np.diff(times)
    yaw_rate = (np.diff(heading) + np.pi) % (2 * np.pi) - np.pi  # The short way round.
    yaw_rate /= seconds
    turn = yaw_rate if steering == "yaw_rate" else _curvature(yaw_rate, (forward[:-1] + forward[1:]) / 2)
    last = np.zeros(len(seconds), np.bool_)
    last[-1] = True
    return {
        "observations": observations[:-1],
        "actions": np.stack([np.diff(forward) / seconds, turn], 1).astype(np.float32),
        "rewards": (np.diff(position, axis=0) * ahead[:-1]).sum(1),
        "timeouts": last,
        "final_observations": observations[-1:],
    }


def _curvature(yaw_rate: Array, speed: Array) -> Array:
    moves = np.abs(speed) >= SLOWEST
    return np.where(moves, yaw_rate / np.where(moves, speed, 1.0), 0.0)


def recognises(path: Path) -> bool:
    """Returns whether the first record of a file has tracks and the name of a scenario."""
    if not is_tfrecord(path):
        return False
    try:
        record = next(iter(read_records(path)), None)
        numbers = set() if record is None else {f.number for f in fields(record.data) if f.wire == BYTES}
    except FileFormatError:
        return False
    return {TRACKS, SCENARIO_ID} <= numbers


SOURCE = Source(
    summary="Waymo Open Motion: scenarios of logged traffic, its vehicles as trajectories.",
    suffixes=(".tfrecord", "-of-01000", "-of-00150"),
    recognises=recognises,
    read=read,
)
