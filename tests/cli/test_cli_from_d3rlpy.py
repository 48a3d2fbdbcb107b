"""`offlinekit import`: files of d3rlpy become policy files, or are refused with the reason."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import offlinekit
from offlinekit.cli.main import main

GOLDEN = Path(__file__).parents[1] / "d3rlpy"


def call(*words):
    return CliRunner().invoke(main, ["import", *map(str, words)])


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "mine.d3"
    path.write_bytes(gzip.decompress((GOLDEN / "DiscreteCQL.d3.gz").read_bytes()))
    return path


def test_the_file_becomes_a_policy_beside_it(policy):
    done = call(policy)
    assert done.exit_code == 0, done.output
    assert "DiscreteCQL" in done.output
    assert "float32[2]" in done.output
    assert "Discrete(3)" in done.output
    taken = offlinekit.load(policy.with_suffix(".okt"), device="cpu")
    seen = np.array([[0.5, -1.0], [2.0, 0.25]], np.float32)
    np.testing.assert_array_equal(taken.predict(seen), offlinekit.from_d3rlpy(policy).predict(seen))
    again = call(policy)
    assert again.exit_code == 2
    assert "is there already" in again.output
    assert call(policy, "--out", policy.with_name("other.okt")).exit_code == 0


def test_what_is_no_file_of_d3rlpy_is_refused(policy, tmp_path):
    (tmp_path / "other.d3").write_bytes(b"no policy")
    done = call(tmp_path / "other.d3")
    assert done.exit_code != 0
    assert "Traceback" not in done.output
    assert not (tmp_path / "other.okt").exists()
    networks = tmp_path / "model_1.pt"
    networks.write_bytes(b"PK")
    done = call(networks)
    assert "params.json" in done.output
    assert done.exit_code != 0


def test_it_is_listed_by_its_name():
    listed = CliRunner().invoke(main, ["--help"]).output
    assert "  import " in listed
    assert "import_" not in listed
