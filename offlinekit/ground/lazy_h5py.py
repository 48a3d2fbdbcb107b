"""h5py, which is imported when it is used first: that takes a tenth of a second, and most runs need no HDF5."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py as h5py
else:

    class _OnFirstUse:
        def __getattr__(self, name: str) -> object:
            return getattr(importlib.import_module("h5py"), name)

    h5py = _OnFirstUse()
