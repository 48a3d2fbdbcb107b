"""What an online run has played: datasets of whole episodes, in parts in the run folder."""

from __future__ import annotations

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

    Raises:
        FileFormatError: If a part is missing.
    """

    def __init__(self, run: Path | None, n_parts: int = 0) -> None:
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

    def keep_in(self, run: Path | None) -> None:
        """Writes later parts to a run folder."""
        if run is not None:
            self.folder = run / FOLDER
            self.folder.mkdir(exist_ok=True)

    def add(self, part: MDPDataset | None, name: str) -> None:
        """Writes a part, if there is one."""
        if part is None:
            return
        named = part.with_options(name=name)
        self.parts.append(named)
        if self.folder is not None:
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
