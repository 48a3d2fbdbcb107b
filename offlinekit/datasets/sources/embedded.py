"""Small datasets that come with offlinekit, recorded from policies it trained itself."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.source import Source
from offlinekit.errors import FileFormatError

FOLDER = Path(__file__).resolve().parent.parent / "embedded"
NAMES = {
    "cartpole-mixed": "CartPole-v1, episodes of policies from random to good.",
    "cartpole-random": "CartPole-v1, a random policy.",
    "pendulum-mixed": "Pendulum-v1, episodes of policies from random to good.",
    "lunarlander-mixed": "LunarLander-v3, episodes of policies from random to good.",
}


def names() -> dict[str, str]:
    """Returns the embedded datasets, each with one line."""
    return NAMES


@functools.cache
def manifest() -> dict[str, dict[str, Any]]:
    """Returns what is known of each file: sha256, env_id, seed, rows, episodes, behaviour_return_mean..."""
    path = FOLDER / "manifest.json"
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def load(name: str) -> MDPDataset:
    """Reads an embedded dataset after checking its SHA-256 against the manifest.

    Raises:
        FileNotFoundError: If the installation lacks the file.
        FileFormatError: If the file is not the recorded one.
    """
    path, facts = FOLDER / f"{name}.h5", manifest().get(name)
    if facts is None or not path.is_file():
        raise FileNotFoundError(f"{path} is missing from this installation; install offlinekit again")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != facts["sha256"]:
        raise FileFormatError(
            f"{path} has SHA-256 {digest}, expected {facts['sha256']}; install offlinekit again"
        )
    return MDPDataset.load(path).with_options(name=name, metadata={"env_id": facts["env_id"]})


SOURCE = Source(summary="Comes with offlinekit.", names=names, load=load)
