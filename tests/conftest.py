from __future__ import annotations

from jaxtyping import install_import_hook

install_import_hook("offlinekit.algos.torch.functional", "beartype.beartype")
