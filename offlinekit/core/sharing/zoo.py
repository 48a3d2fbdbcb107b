"""Trained policies that come with the package, by names such as `zoo:cartpole-mixed/discrete_cql`."""

from __future__ import annotations

from pathlib import Path

from offlinekit.errors import did_you_mean

PREFIX = "zoo:"
EXAMPLE = "zoo:cartpole-mixed/discrete_cql"
FOLDER = Path(__file__).parents[2] / "algos" / "zoo"
"""A folder a policy, TASK/ALGORITHM, as a run has it: policy, config and card."""


def names() -> list[str]:
    """Returns the names of the policies, such as "zoo:cartpole-mixed/discrete_cql"."""
    return sorted(
        f"{PREFIX}{path.parent.relative_to(FOLDER).as_posix()}" for path in FOLDER.glob("*/*/policy.okt")
    )


def placed(path: Path) -> Path:
    """Returns the folder of a policy that is named, and another path as it is.

    Raises:
        FileNotFoundError: For a name that is none of theirs.
    """
    name = path.as_posix()
    if not name.startswith(PREFIX):
        return path
    if name not in names():
        raise FileNotFoundError(
            f"there is no policy {name!r}{did_you_mean(name, names())}; known: {', '.join(names())}"
        )
    return FOLDER / name.removeprefix(PREFIX)
