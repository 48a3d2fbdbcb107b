"""What an online run has played: datasets of whole episodes, in parts in the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from offlinekit.datasets.editing.concatenation import concatenate
from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import FileFormatError

FOLDER = "experience"


class Experience:
    """The parts so far, each written once, before the checkpoint that counts it.

    Args:
        run: Folder of the run, or None to keep all in memory.
        n_parts: How many a run that goes on has; what was written later is played again.
        stretches: Of each part, as `stretches` below; None for a run of an earlier version, which did not note them.

    Attributes:
        parts: What was played.
        stretches: How many episodes of each part began between two moments at which none ran.

    Raises:
        FileFormatError: If a part is missing, or has another number of episodes.
    """

    def __init__(
        self, run: Path | None, n_parts: int = 0, stretches: Sequence[Sequence[int]] | None = None
    ) -> None:
        self.folder: Path | None = None
        self.parts: list[MDPDataset] = []
        self.keep_in(run)
        files: list[Path] = [] if self.folder is None else sorted(self.folder.glob("*.h5"))
        if len(files) < n_parts:
            raise FileFormatError(
                f"{self.folder} holds {len(files)} parts of the {n_parts} that the run has played; restore the others "
                "from a copy"
            )
        self.parts = [MDPDataset.load(path) for path in files[:n_parts]]
        for path in files[n_parts:]:
            path.unlink()
        sizes = [part.n_episodes for part in self.parts]
        self.stretches = (
            [[size] for size in sizes] if stretches is None else [list(each) for each in stretches]
        )
        if list(map(sum, self.stretches)) != sizes:
            raise FileFormatError(
                f"{self.folder} holds parts of {sizes} episodes, and the run has played {self.stretches}; restore them "
                "from a copy"
            )

    def keep_in(self, run: Path | None) -> None:
        """Writes later parts to a run folder."""
        if run is not None:
            self.folder = run / FOLDER
            self.folder.mkdir(exist_ok=True)

    def add(self, played: tuple[MDPDataset, list[int]] | None, name: str, *, is_written: bool = True) -> None:
        """Adds a part, if there is one; it comes with its stretches, and may stay in memory alone."""
        if played is None:
            return
        part, stretches = played
        named = part.with_options(name=name)
        self.parts.append(named)
        self.stretches.append(stretches)
        if self.folder is not None and is_written:
            named.save(self.folder / f"{len(self.parts) - 1:05d}.h5")

    def dataset(self) -> MDPDataset | None:
        """Returns all parts as one dataset; None without any."""
        return concatenate(self.parts) if self.parts else None


def load_experience(run: str | Path) -> MDPDataset:
    """Returns what an online run has played, as one dataset.

    Args:
        run: Folder of the run.

    Raises:
        FileNotFoundError: If the run has played nothing.
    """
    files = sorted((Path(run) / FOLDER).glob("*.h5"))
    if not files:
        raise FileNotFoundError(f"{run} holds no {FOLDER}/*.h5; give the folder of a run of fit_online")
    dataset: MDPDataset = concatenate([MDPDataset.load(path) for path in files])
    return dataset
