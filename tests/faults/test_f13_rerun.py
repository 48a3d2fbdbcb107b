"""F13: every algorithm, run again in another process with other string hashes, ends with the same bits.

The smaller count takes each sixth algorithm; the conformance suite runs all of them twice in one process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from catalogue_variants import SMALL
from fault_suite import FULL, Tally

SCRIPT = """
import hashlib, json, sys
import torch
torch.set_num_threads(1)
from offlinekit.algos import catalogue
from offlinekit.testing import small_dataset
small = json.loads(sys.argv[3])
found = {}
for name, front in list(catalogue().items())[:: int(sys.argv[2])]:
    given = {k: v for k, v in small.items() if k in front.hyperparameters()}
    algo = front(seed=0, batch_size=8, device="cpu", **given)
    algo.fit(small_dataset(algo.action_kind), int(sys.argv[1]), out=None, progress=False)
    digest = hashlib.sha256()
    for key, value in sorted(algo.impl.state_tensors().items()):
        digest.update(key.encode() + value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    found[name] = digest.hexdigest()
print(json.dumps(found))
"""


def test_equal_hashes(tally: Tally) -> None:
    runs = []
    for seed in ("1", "2", "3") if FULL else ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *(("50", "1") if FULL else ("4", "6")), json.dumps(SMALL)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        runs.append(json.loads(done.stdout))
    assert all(run == runs[0] for run in runs[1:])
    tally(len(runs) * len(runs[0]))
