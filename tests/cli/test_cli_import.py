"""`offlinekit --import MODULE`: the user's own datasets and algorithms on the command line."""

from __future__ import annotations

import os
import subprocess
import sys

MODULE = '''
import numpy as np
from offlinekit.algos import DiscreteBC
from offlinekit.datasets import MDPDataset, register_dataset

class MyCloning(DiscreteBC):
    """Clones as the others do."""

@register_dataset("mine-{size}")
def mine(size):
    n = int(size)
    return MDPDataset(np.zeros((n, 2)), np.arange(n) % 2, np.ones(n), np.arange(n) % 5 == 4)
'''


def run(folder, *arguments):
    command = [sys.executable, "-m", "offlinekit", *arguments]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_own_module(tmp_path):
    (tmp_path / "my_things.py").write_text(MODULE)
    words = ("train", "--algo", "my_cloning", "--dataset", "mine-20", "--steps", "5")
    done = run(tmp_path, "--import", "my_things", *words)
    assert done.returncode == 0, done.stderr
    assert "on mine-20: 20 rows, 4 episodes, mean return 5" in done.stdout


def test_module_that_is_not_there(tmp_path):
    done = run(tmp_path, "--import", "my_thing", "algos")
    assert done.returncode == 2
    assert "cannot import 'my_thing' (No module named 'my_thing')" in done.stderr
