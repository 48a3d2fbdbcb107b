"""Policy files: what is written comes back; what is not ours is refused with its reason."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import offlinekit
from offlinekit.algos import BC, SAC, DiscreteCQL, register_encoder
from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.core.algo import Algo
from offlinekit.errors import FileFormatError, OfflineKitError
from offlinekit.testing import small_dataset
from offlinekit.training import policy_file
from offlinekit.training.run_folder import latest_checkpoint

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8, "seed": 0}


class Evil:
    def __reduce__(self):
        return (exec, ("import offlinekit; offlinekit.pwned = True",))


@pytest.fixture
def policy(tmp_path):
    return BC(**TINY).fit(small_dataset("continuous"), 2, out=None).save(tmp_path / "policy.okt")


def test_round_trip_of_tensors(tmp_path):
    tensors = {
        "a": torch.arange(3.0),
        "empty": torch.zeros(0),
        "number": torch.tensor(2),
        "b.c": torch.ones(2, 2),
    }
    policy_file.write(tmp_path / "x.okt", {"what": [1, None, "é"]}, tensors)
    header, read = policy_file.read(tmp_path / "x.okt", torch.device("cpu"))
    assert header["what"] == [1, None, "é"]
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)


FIRST_LOAD = """
import sys, offlinekit.algos
before = len(sys.modules)
offlinekit.load(sys.argv[1])
print(len(sys.modules) - before, "torch._dynamo" in sys.modules)
"""


def test_the_first_load_of_a_process_imports_no_compiler(policy):
    done = subprocess.run(
        [sys.executable, "-c", FIRST_LOAD, policy], capture_output=True, text=True, check=True
    )
    n_modules, compiler = done.stdout.split()
    assert compiler == "False"
    assert int(n_modules) < 20


def test_everything_of_a_policy_comes_back(tmp_path):
    data = small_dataset("continuous")
    algo = SAC(
        **TINY,
        observation_scaler="standard",
        reward_scaler={"type": "clip", "low": -0.5},
        target_entropy=-1.5,
    ).fit(data, 3, out=None)
    loaded = SAC.load(algo.save(tmp_path / "policy.okt"))
    assert loaded.config == algo.config
    assert loaded.seed == 0
    assert loaded.dataset_name == "small"
    assert loaded.impl.action_space == data.action_space
    np.testing.assert_array_equal(
        loaded.predict_value(data.observations), algo.predict_value(data.observations)
    )


def test_two_saves_of_an_algorithm_are_the_same_bytes(tmp_path):
    algo = SAC(**TINY, observation_scaler="standard").fit(small_dataset("continuous"), 2, out=None)
    first = algo.save(tmp_path / "0.okt").read_bytes()
    assert all(algo.save(tmp_path / f"{i}.okt").read_bytes() == first for i in range(1, 9))
    assert offlinekit.load(tmp_path / "0.okt").save(tmp_path / "again.okt").read_bytes() == first
    assert (8 + int.from_bytes(first[:8], "little")) % 8 == 0


def test_checkpoints_of_equal_runs_are_the_same_but_for_their_times(tmp_path):
    def content():
        algo = BC(**TINY).fit(small_dataset("continuous"), 4, out=tmp_path, log_interval=2, progress=False)
        header, tensors = policy_file.read(latest_checkpoint(algo.run_dir), torch.device("cpu"))
        header["run"]["elapsed"] = 0.0
        for row in header["run"]["history"]:
            row["time"] = 0.0
        policy_file.write(tmp_path / "timeless.okt", header, tensors)
        return (algo.run_dir / "policy.okt").read_bytes(), (tmp_path / "timeless.okt").read_bytes()

    assert content() == content()


def test_pickles_and_archives_are_refused_unread(tmp_path):
    (tmp_path / "pickle.okt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(FileFormatError, match="it is a pickle, which can run code and is never read"):
        offlinekit.load(tmp_path / "pickle.okt")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Evil()))
    (tmp_path / "torch.okt").write_bytes(archive.getvalue())
    with pytest.raises(FileFormatError, match=r"as torch\.save writes; those hold pickles"):
        offlinekit.load(tmp_path / "torch.okt")
    assert not hasattr(offlinekit, "pwned")


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_truncated(policy, length):
    content = policy.read_bytes()
    policy.write_bytes(content[:length])
    with pytest.raises(FileFormatError, match="truncated, damaged or of another format"):
        offlinekit.load(policy)


def test_flipped_bit_in_the_tensors(policy):
    content = bytearray(policy.read_bytes())
    content[-40] ^= 1
    policy.write_bytes(bytes(content))
    with pytest.raises(FileFormatError, match="do not match their hash"):
        offlinekit.load(policy)


def test_tensors_of_somebody_else(tmp_path):
    save_file({"weight": torch.zeros(2)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(FileFormatError, match="was not written by offlinekit"):
        offlinekit.load(tmp_path / "other.safetensors")


def test_later_format(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(policy_file, "FORMAT", 99)
        policy_file.write(tmp_path / "x.okt", {}, {})
    with pytest.raises(FileFormatError, match="format 99, this version reads up to 2"):
        offlinekit.load(tmp_path / "x.okt")


def test_a_header_that_was_changed(policy):
    content = policy.read_bytes()
    assert content.count(rb"\"grad_step\": 2,") == 1
    policy.write_bytes(content.replace(rb"\"grad_step\": 2,", rb"\"grad_step\": 9,"))
    with pytest.raises(FileFormatError, match="is damaged: its header does not match its hash"):
        offlinekit.load(policy)


def test_a_file_of_format_2_without_the_hash_of_its_header(policy):
    header, tensors = policy_file.read(policy, torch.device("cpu"))
    save_file(tensors, str(policy), metadata={"offlinekit": json.dumps({**header, "horizon": 99})})
    with pytest.raises(FileFormatError, match="is damaged: its header does not match its hash"):
        offlinekit.load(policy)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no policy file"):
        offlinekit.load(tmp_path / "none.okt")


def test_another_class_than_asked_for(policy):
    with pytest.raises(
        FileFormatError, match=r"holds BC, which is no DiscreteCQL; load it by BC.load, or by off"
    ):
        DiscreteCQL.load(policy)
    assert type(Algo.load(policy)) is type(BC.load(policy)) is BC


def test_custom_impl_loads_when_defined_or_passed(tmp_path):
    class Mine(SACImpl):
        pass

    path = SAC(**TINY, impl_class=Mine).fit(small_dataset("continuous"), 1, out=None).save(tmp_path / "p.okt")
    assert offlinekit.load(path).impl_class is Mine
    from offlinekit.core.impl import Impl

    del Impl.known["Mine"]
    with pytest.raises(
        FileFormatError, match="needs the impl_class 'Mine', which this process has not defined"
    ):
        offlinekit.load(path)
    assert SAC.load(path, impl_class=Mine).impl_class is Mine


def test_subclass_of_a_front_takes_its_impl_class_and_loads(tmp_path):
    class MineImpl(SACImpl):
        pass

    class MySAC(SAC):
        impl_class = MineImpl

    path = MySAC(**TINY).fit(small_dataset("continuous"), 1, out=None).save(tmp_path / "p.okt")
    loaded = offlinekit.load(path)
    assert type(loaded) is MySAC
    assert type(loaded.impl) is MineImpl
    assert type(SAC.load(path)) is MySAC


def test_user_encoder_loads_when_passed_or_registered(tmp_path):
    def features(space):
        return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh())

    data = small_dataset("continuous")
    algo = BC(encoder=features, seed=0).fit(data, 1, out=None)
    with pytest.warns(
        UserWarning, match=r"'features' is none that loading knows; .*load\(path, encoder=\.\.\.\)"
    ):
        path = algo.save(tmp_path / "p.okt")
    with pytest.raises(FileFormatError, match="registered by @register_encoder, got 'features'"):
        offlinekit.load(path)
    expected = algo.predict(data.observations)
    np.testing.assert_array_equal(
        offlinekit.load(path, encoder=features).predict(data.observations), expected
    )
    register_encoder("features")(features)
    np.testing.assert_array_equal(offlinekit.load(path).predict(data.observations), expected)


def test_failed_write_leaves_the_old_file(policy, monkeypatch):
    before = policy.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        offlinekit.load(policy).save(policy)
    assert policy.read_bytes() == before
    assert [path.name for path in policy.parent.iterdir()] == [policy.name]


def test_a_failure_of_the_users_code_is_no_damage(tmp_path):
    broken = []

    @register_encoder("breaks_later")
    def features(space):
        if broken:
            raise ValueError("my own bug")
        return torch.nn.Linear(4, 6)

    path = BC(encoder="breaks_later", seed=0).build(small_dataset("continuous")).save(tmp_path / "p.okt")
    broken.append(True)
    with pytest.raises(
        OfflineKitError, match=r"test_policy_file.py:\d+, in features: ValueError: my own bug"
    ) as raised:
        offlinekit.load(path)
    assert "damaged" not in str(raised.value)
    assert isinstance(raised.value.__cause__, ValueError)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_there_is_not_is_no_damage(tmp_path):
    path = BC(seed=0).build(small_dataset("continuous")).save(tmp_path / "p.okt")
    with pytest.raises(
        ValueError, match="needs a GPU that torch can use, and there is none; use 'cpu'"
    ) as raised:
        offlinekit.load(path, device="cuda")
    assert "damaged" not in str(raised.value)
