"""Hyperparameters under the type checker, in our implementations and in a user's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import offlinekit

SNIPPET = """
from typing import Annotated

from offlinekit.algos import CQL
from offlinekit.algos.torch.cql_impl import CQLImpl
from offlinekit.core.hyperparameters import Positive


class Unparametrised(CQLImpl):
    def build(self) -> None:
        print(self.config.alpha, self.config.alhpa)  # 11


class Careful(CQL):
    caution: Annotated[Positive, "Of a user's own."] = 0.1
    alpha = 2.0


class CarefulImpl(CQLImpl):
    config: Careful

    def weight(self) -> float:
        return self.config.caution + self.config.alpha


algo = Careful(caution=0.2, batch_size=64)
algo.alpha = 1.0
algo.bach_size = 3  # 28
Careful(cautoin=0.2)  # 29
Careful(caution="much")  # 30
"""


@pytest.mark.slow
def test_misspelt_hyperparameters_fail_and_a_users_classes_pass(tmp_path):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(tmp_path / "snippet.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(offlinekit.__file__).parents[1])
    found = [
        line.split(":", 2)[1] + line.rsplit(" ", 1)[1]
        for line in done.stdout.splitlines()
        if "error:" in line
    ]
    lines = SNIPPET.splitlines()
    marked = [number for number, line in enumerate(lines, 1) if line.rstrip()[-2:].isdigit()]
    wanted = ["[attr-defined]", "[attr-defined]", "[call-arg]", "[arg-type]"]
    assert found == [f"{number}{code}" for number, code in zip(marked, wanted, strict=True)], done.stdout
