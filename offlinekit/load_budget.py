"""Budgets of loads: bytes and operations so far, against the size of the files and a stated factor.

Who writes a file says how large its contents are. Readers believe that as far as the budget goes: each notes what it
is about to make before it makes it, and stops by name where it is too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from os import PathLike, fspath, stat
from pathlib import Path

from offlinekit.errors import FileFormatError
from offlinekit.io import check_plain

SPARE_BYTES = 1 << 29
"""Bytes that the contents of any files may take."""
BYTES_PER_BYTE = 256
"""Bytes that they may take beyond that for each of the files' own: gzip shrinks frames of Pong by 160, of Bowling where
nobody moves by 180."""
SPARE_OPERATIONS = 40_000_000
"""Small steps of reading, of half a microsecond or so, that any files may need."""
OPERATIONS_PER_BYTE = 4
"""Those beyond that for each byte of the files."""


class Budget:
    """Budget of a load of some files, and what of it is spent.

    Args:
        max_bytes: Bytes that their contents may take; None goes by the sizes of the files.
        spare: Bytes that may be taken in any case.
        factor: Bytes that may be taken for each byte of the files.
    """

    def __init__(
        self, max_bytes: int | None = None, *, spare: int = SPARE_BYTES, factor: int = BYTES_PER_BYTE
    ) -> None:
        self.max_bytes, self.spare, self.factor = max_bytes, spare, factor
        self.sizes: dict[str, int] = {}
        self.held = self.operations = 0

    def admit(self, path: str | PathLike[str]) -> Budget:
        """Counts the size of a file that is read, once, and returns the budget itself.

        Raises:
            FileFormatError: For a pipe or a device, which has no size.
        """
        place = fspath(path)
        if place not in self.sizes:
            check_plain(Path(place))
            self.sizes[place] = stat(place).st_size
        return self

    @property
    def limit(self) -> int:
        """Bytes that may be held."""
        return self.max_bytes or self.spare + self.factor * sum(self.sizes.values())

    @property
    def most_operations(self) -> int:
        """Operations that may be taken."""
        return SPARE_OPERATIONS + OPERATIONS_PER_BYTE * max(sum(self.sizes.values()), self.max_bytes or 0)

    def check(self, n_bytes: int, what: str) -> None:
        """Checks that bytes may be held for a while, beside those that were taken.

        Args:
            n_bytes: How many.
            what: Takes them, for the message.

        Raises:
            FileFormatError: For too many; says how many would do.
        """
        if n_bytes < 0 or self.held + n_bytes > self.limit:
            raise FileFormatError(
                f"{what} would take {n_bytes:,} bytes beside {self.held:,}, at most {self.limit:,} are taken for "
                f"{self._files}; if you trust where it is from, pass max_bytes={self.held + n_bytes} or more"
            )

    def take(self, n_bytes: int, what: str) -> None:
        """Counts bytes that are held from now on.

        Raises:
            FileFormatError: As `check`.
        """
        self.check(n_bytes, what)
        self.held += n_bytes

    def work(self, n_operations: int) -> None:
        """Counts small steps of reading.

        Raises:
            FileFormatError: For too many.
        """
        self.operations += n_operations
        if self.operations > self.most_operations:
            raise FileFormatError(
                f"reading {self._files} takes more than {self.most_operations:,} steps; if you trust where it is from, "
                f"pass max_bytes={4 * self.limit} or more"
            )

    @property
    def _files(self) -> str:
        places = list(self.sizes)
        return {0: "it", 1: "".join(places)}.get(len(places), f"{len(places)} files such as {places[:1]}")


_UNDER_WAY: ContextVar[Budget | None] = ContextVar("budget", default=None)


@contextmanager
def budgeted(max_bytes: int | None = None) -> Iterator[Budget]:
    """Sets one budget for what is read meanwhile; inside of another load it is that load's."""
    budget = _UNDER_WAY.get()
    if budget is not None:
        yield budget
        return
    budget = Budget(max_bytes)
    token = _UNDER_WAY.set(budget)
    try:
        yield budget
    finally:
        _UNDER_WAY.reset(token)


@contextmanager
def apart() -> Iterator[None]:
    """Sets a budget of its own for what is read meanwhile and not kept."""
    load = _UNDER_WAY.get()
    token = _UNDER_WAY.set(Budget(None if load is None else load.max_bytes))
    try:
        yield
    finally:
        _UNDER_WAY.reset(token)


def budget_of(path: str | PathLike[str] | None = None) -> Budget:
    """Returns the budget of the load under way, or a new one, with a file that is read counted in."""
    budget = _UNDER_WAY.get() or Budget()
    return budget if path is None else budget.admit(path)
