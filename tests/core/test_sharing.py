"""Cards of policies, the rule of seen rows, and policies pushed to and pulled from folders, servers and hubs."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from http_server import serving

import offlinekit
from offlinekit.algos import SAC, DiscreteBC
from offlinekit.core.sharing import SeenRows, card_of, pull, push, write_card
from offlinekit.core.sharing.beside import describes
from offlinekit.core.sharing.card import ESTIMATES, POLICY
from offlinekit.datasets import MDPDataset
from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.errors import DownloadError, FileFormatError, UnsupportedError
from offlinekit.metrics import ope
from offlinekit.testing import small_dataset
from offlinekit.training.policy_file import hash_of_networks

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "seed": 3, "batch_size": 16}
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def data():
    return small_dataset("discrete")


@pytest.fixture(scope="module")
def policy(data, tmp_path_factory):
    """An exported policy with its card and its rule."""
    folder = tmp_path_factory.mktemp("policy")
    algo = DiscreteBC(**TINY).fit(data, 5, out=None, **QUIET)
    return algo.export(folder / "ward.safetensors", dataset=data, intended_use="A test | of cards.")


# Cards.


def test_a_card_says_what_the_policy_is(policy, data):
    text = card_of(policy).read_text()
    assert hashlib.sha256(policy.read_bytes()).hexdigest() in text
    assert f"| hash | `{fingerprint(data)}` |" in text
    for line in (
        "# DiscreteBC on",
        "| seed | 3 |",
        "| updates | 5 |",
        "A test | of cards.",
        "| batch_size | 16 |",
    ):
        assert line in text
    assert "No off-policy estimate was recorded" in text
    assert "Rule of `ward.safetensors.seen.safetensors`: a row is like the data if" in text


@pytest.mark.parametrize("form", ["numpy", "onnx", "torch-export", "torchscript"])
def test_every_format_has_a_card_beside(form, data, tmp_path):
    path = DiscreteBC(**TINY).build(data).export(tmp_path / "policy", form)
    assert {file.name for file in tmp_path.iterdir()} == {"policy", "policy.md"}
    assert hashlib.sha256(path.read_bytes()).hexdigest() in (tmp_path / "policy.md").read_text()


def test_a_run_gives_its_hash_and_its_estimates_with_warnings(data, tmp_path):
    algo = DiscreteBC(**TINY).fit(data, 5, out=tmp_path, **QUIET)
    report = ope.estimate(algo, data, ["is"])
    assert [*report.warnings, *report["is"].warnings]
    card = write_card(algo.run_dir / "policy.okt", algo, report=report)
    text = card.read_text()
    config = json.loads((algo.run_dir / "config.json").read_text())
    assert f"`{config['dataset']['hash']}`" in text
    assert f"| is | {report['is'].value:.4g} |" in text
    for warning in (*report.warnings, *report["is"].warnings):
        assert " ".join(warning.split()).replace("|", "\\|").replace("<", "&lt;") in text
    warned = {**report.to_json(), "warnings": ["of all"]}
    (algo.run_dir / ESTIMATES).write_text(json.dumps(warned, default=str))
    again = write_card(algo.run_dir / "policy.okt", algo)
    assert f"| is | {report['is'].value:.4g} |" in again.read_text()
    assert "- **Warning:** of all." in again.read_text()
    (algo.run_dir / ESTIMATES).write_text('{"estimates": {"is": 3}, "behaviour_value": 1}')
    with pytest.raises(FileFormatError, match=r"ope\.json holds no off-policy estimates"):
        write_card(algo.run_dir / "policy.okt", algo)


class Walk(gymnasium.Env):
    """Ends after 5 steps; three numbers are seen."""

    observation_space = gymnasium.spaces.Box(-9, 9, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return self.np_random.normal(size=3).astype(np.float32), {}

    def step(self, action):
        self.left -= 1
        return self.np_random.normal(size=3).astype(np.float32), 1.0, self.left == 0, False, {}


def test_a_card_of_an_online_run_says_where_it_has_learned(tmp_path):
    online = {"n_steps": 20, "out": tmp_path, "progress": False, "updates_per_step": 0.2, "noise": 0.25}
    algo = SAC(**{**TINY, "batch_size": 4}).fit_online(Walk(), **online)
    text = write_card(algo.save(tmp_path / "a.okt"), algo).read_text()
    again = write_card(tmp_path / "a.okt", offlinekit.load(tmp_path / "a.okt"), run=algo.run_dir).read_text()
    for card in (text, again):
        assert "| environment | Walk" in card
        assert (
            f"| 20 environment steps; rows in `experience` of the run folder `{algo.run_dir.name}` |" in card
        )
        assert "| hash | none: the run had no recorded data, it learned from what it played |" in card
        assert "| n_steps | 20 of the environment |" in card
        assert "| noise | 0.25 |" in card
        assert "It has acted and learned in an environment. What" in card
        assert "recorded data alone" not in card
    # Offline, then online beside the data.
    rng = np.random.default_rng(0)
    data = MDPDataset(
        rng.normal(size=(40, 3)).clip(-9, 9),
        rng.uniform(-1, 1, (40, 2)),
        np.ones(40),
        np.arange(40) % 10 == 9,
        action_space=Walk.action_space,
    )
    algo = SAC(**TINY).fit(data, 2, out=tmp_path, **QUIET)
    assert "It has learned from recorded data alone" in write_card(tmp_path / "a.okt", algo).read_text()
    algo.fit_online(Walk(), dataset=data, **online)
    text = write_card(tmp_path / "a.okt", algo).read_text()
    assert "It has acted and learned in an environment, beside recorded data." in text
    assert f"| hash | `{fingerprint(data)}` |" in text
    # Without a folder.
    algo = SAC(**{**TINY, "batch_size": 4}).fit_online(Walk(), **{**online, "out": None})
    text = write_card(algo.save(tmp_path / "a.okt"), algo).read_text()
    assert "| environment | not recorded: it learned without a run folder |" in text
    assert "| online experience | 20 rows |" in text


def test_estimates_of_another_policy_stay_out_of_the_card(data, tmp_path):
    algo = DiscreteBC(**TINY).fit(data, 5, out=tmp_path, **QUIET)
    noted = {POLICY: hash_of_networks(algo.impl), "updates": 5}
    plain = {**ope.estimate(algo, data, ["is"]).to_json(), **noted}
    (algo.run_dir / ESTIMATES).write_text(json.dumps(plain, default=str))
    policy = algo.run_dir / "policy.okt"
    loaded = offlinekit.load(policy)
    assert "| is |" in write_card(policy, loaded, run=algo.run_dir).read_text()
    (algo.run_dir / ESTIMATES).write_text(json.dumps({**plain, POLICY: None}, default=str))
    assert "did not note of which policy" in write_card(policy, loaded, run=algo.run_dir).read_text()
    (algo.run_dir / ESTIMATES).write_text(json.dumps(plain, default=str))
    DiscreteBC(**TINY).fit(data, 6, resume=algo.run_dir, **QUIET)
    text = write_card(policy, offlinekit.load(policy), run=algo.run_dir).read_text()
    assert "are of another of its policies, of 5 updates, and left out" in text
    assert "| is |" not in text


def test_no_text_leaves_its_cell(data, tmp_path):
    data = MDPDataset(
        data.observations, data.actions, data.rewards, data.terminals, name="a | b\n\n# <script>"
    )
    algo = DiscreteBC(**TINY).fit(data, 1, out=None, **QUIET)
    card = write_card(algo.save(tmp_path / "p.okt"), algo).read_text()
    assert "# DiscreteBC on a \\| b # &lt;script>" in card
    assert "<script>" not in card
    assert "\n# &lt;" not in card


# The rule of seen rows.


def rows(*values):
    n = len(values)
    return MDPDataset(np.array(values, np.float32), np.arange(n) % 2, np.ones(n), np.arange(n) == n - 1)


def test_distances_by_hand():
    """Of 0, 2, 4 (deviation sqrt(8 / 3) = 1.63299) and a constant 5: neighbours are 2 / 1.63299 = 1.22474 apart.

    3 lies 1 / 1.63299 = 0.61237 from 2; 8 lies 4 / 1.63299 = 2.44949 from 4; another constant is infinitely far.
    """
    seen = SeenRows.of(rows([0, 5], [2, 5], [4, 5]))
    assert seen.radius == pytest.approx(1.22474, abs=1e-5)
    asked = np.array([[3, 5], [8, 5], [2, 6], [6, 5]])
    np.testing.assert_allclose(seen.distances(asked), [0.61237, 2.44949, np.inf, 1.22474], atol=1e-4)
    assert seen.refused(asked).tolist() == [False, True, True, False]


def test_legal_actions_and_the_order_of_names_do_not_count():
    a, b = np.arange(6.0)[:, None], np.arange(6.0)[::-1, None] * 3
    given = {"observations": {"a": a, "b": b}, "actions": np.arange(6) % 2, "rewards": np.ones(6)}
    data = MDPDataset(**given, terminals=np.arange(6) == 5, legal_actions=np.ones((6, 2)))
    seen = SeenRows.of(data)
    assert seen.rows.shape == (6, 2)
    assert not seen.refused({"b": b, "a": a}).any()
    assert seen.refused({"b": a, "a": b * 9}).all()


def test_rows_are_kept_in_a_file(policy, data):
    seen = SeenRows.beside(policy)
    assert not seen.refused(data.observations).any() or seen.refused(data.observations).mean() < 0.01
    assert seen.refused(data.observations + 1e3).all()
    with pytest.raises(FileFormatError, match="holds no rows that a policy has seen"):
        SeenRows.load(policy)
    with pytest.raises(ValueError, match="must have 4 numbers, got 3"):
        seen.distances(data.observations[:, :3])


def test_images_and_single_rows_have_no_rule(tmp_path):
    with pytest.raises(UnsupportedError, match="distances of images"):
        SeenRows.of(
            MDPDataset(np.zeros((4, 1, 9, 9), np.uint8), np.arange(4) % 2, np.ones(4), np.arange(4) == 3)
        )
    with pytest.raises(UnsupportedError, match="two rows or more"):
        SeenRows.of(rows([0, 5]))


# What lies beside a file.


def exported(folder, seed, data, **facts):
    return DiscreteBC(**{**TINY, "seed": seed}).build(data).export(folder / "p.safetensors", **facts)


def as_by_an_earlier_version(policy, data):
    """Renames card and rule to the names, and writes the rule without the hash, that earlier versions gave them."""
    card_of(policy).rename(policy.with_suffix(".md"))
    policy.with_name(f"{policy.name}.seen.safetensors").unlink()
    SeenRows.of(data).save(policy.with_suffix(".seen.safetensors"))


def test_each_format_has_a_card_and_a_rule_of_its_own(data, tmp_path):
    algo = DiscreteBC(**TINY).build(data)
    first = algo.export(tmp_path / "p.safetensors", dataset=data)
    write_card(second := algo.save(tmp_path / "p.okt"), algo)
    for policy in (first, second):
        assert describes(card_of(policy), policy)
        push(policy, str(tmp_path / policy.suffix))
    assert (SeenRows.beside(first) is None, SeenRows.beside(second) is None) == (False, True)


def test_the_rule_of_another_policy_is_neither_sent_nor_taken(data, tmp_path):
    rule = (policy := exported(tmp_path, 1, data, dataset=data)).with_name("p.safetensors.seen.safetensors")
    kept = rule.read_bytes()
    with pytest.warns(
        UserWarning, match=r"p\.safetensors\.seen\.safetensors was the rule of the policy that"
    ):
        exported(tmp_path, 2, data)
    assert not rule.exists()
    rule.write_bytes(kept)
    for read in (lambda: push(policy, str(tmp_path / "there")), lambda: SeenRows.beside(policy)):
        with pytest.raises(FileFormatError, match=r"is the rule of another policy than p\.safetensors"):
            read()
    rule.unlink()
    push(policy, str(tmp_path / "there"))
    (tmp_path / "there" / rule.name).write_bytes(kept)
    facts = {"bytes": len(kept), "sha256": hashlib.sha256(kept).hexdigest()}
    changed(tmp_path / "there", **{rule.name: facts})
    with pytest.raises(FileFormatError, match="is the rule of another policy than"):
        pull(str(tmp_path / "there"), tmp_path / "got")


def test_files_of_earlier_versions_are_sent_taken_and_replaced(data, tmp_path):
    policy = exported(tmp_path, 1, data, dataset=data)
    as_by_an_earlier_version(policy, data)
    assert not SeenRows.beside(policy).refused(data.observations).all()
    got = pull(push(policy, str(tmp_path / "there")), tmp_path / "got")
    names = {"p.safetensors", "p.md", "p.seen.safetensors"}
    assert {path.name for path in got.parent.iterdir()} == {*names, "files.json"}
    assert SeenRows.beside(got) is not None
    with pytest.warns(UserWarning, match=r"p\.seen\.safetensors was the rule of the policy"):
        exported(tmp_path, 2, data)
    assert {path.name for path in tmp_path.glob("p.*")} == {"p.safetensors", "p.safetensors.md"}


# Folders and servers.


def test_a_folder_there_and_back(policy, data, tmp_path):
    where = push(policy, str(tmp_path / "shared"))
    assert push(policy, where) == where  # Again, in place.
    got = pull(where, tmp_path / "got")
    assert got == tmp_path / "got" / "ward.safetensors"
    names = {"ward.safetensors", "ward.safetensors.md", "ward.safetensors.seen.safetensors", "files.json"}
    assert {path.name for path in got.parent.iterdir()} == names
    assert got.read_bytes() == policy.read_bytes()
    with pytest.raises(FileExistsError, match="is there already"):
        pull(where, tmp_path / "got")
    (tmp_path / "shared" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds 'mine\.txt' besides"):
        push(policy, where)


def changed(folder, **entries):
    listed = json.loads((folder / "files.json").read_text())
    listed["files"].update(entries)
    (folder / "files.json").write_text(json.dumps(listed))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: (f / "ward.safetensors").write_bytes(b"other"), "is damaged, or was changed"),
        (
            lambda f: (f / "ward.safetensors.md").write_text("# Best of all"),
            "more than the|is damaged, or was changed",
        ),
        (
            lambda f: changed(f, **{"../x.okt": {"bytes": 1, "sha256": ""}}),
            r"names '\.\./x\.okt', expected plain",
        ),
        (
            lambda f: changed(f, **{"run.py": {"bytes": 1, "sha256": ""}}),
            r"names 'run\.py', expected plain names",
        ),
        (
            lambda f: changed(f, **{"a.pt2": {"bytes": 1, "sha256": ""}}),
            r"names 'a\.pt2', expected plain names",
        ),
        (
            lambda f: changed(f, **{"a.okt": {"bytes": 1 << 40, "sha256": ""}}),
            r"at most 1,073,741,824 are taken",
        ),
        (lambda f: changed(f, **{"a.okt": {"bytes": -1, "sha256": ""}}), "with their bytes"),
        (
            lambda f: (f / "files.json").unlink(),
            r"shared has no files\.json; give what offlinekit push has made",
        ),
        (lambda f: (f / "ward.safetensors").unlink(), r"shared has no ward\.safetensors; give what"),
        (lambda f: (f / "files.json").write_text("[]"), "lists no policy"),
        (lambda f: (f / "files.json").write_text('{"format": 2}'), "format 2, this version reads 1"),
    ],
)
def test_what_is_not_as_listed_is_refused(harm, message, policy, tmp_path):
    push(policy, str(tmp_path / "shared"))
    harm(tmp_path / "shared")
    with pytest.raises(FileFormatError, match=message):
        pull(str(tmp_path / "shared"), tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_a_folder_that_there_is_not_is_wrong_usage(tmp_path):
    from click.testing import CliRunner

    from offlinekit.cli.main import main

    told = CliRunner().invoke(main, ["pull", str(tmp_path / "none"), "--out", str(tmp_path / "got")])
    assert told.exit_code == 2
    assert f"there is no folder {tmp_path / 'none'}; give one that" in " ".join(told.output.split())
    assert not [*tmp_path.iterdir()]


def test_a_trusted_hash_is_compared(policy, tmp_path):
    push(policy, str(tmp_path / "shared"))
    right = hashlib.sha256(policy.read_bytes()).hexdigest()
    with pytest.raises(FileFormatError, match="expected 00"):
        pull(str(tmp_path / "shared"), tmp_path / "got", sha256="00")
    assert pull(str(tmp_path / "shared"), tmp_path / "got", sha256=right.upper()).is_file()


def test_archives_that_may_run_code_and_policies_without_card_stay_here(data, tmp_path):
    algo = DiscreteBC(**TINY).build(data)
    with pytest.raises(FileFormatError, match="not of a kind that is data alone"):
        push(algo.export(tmp_path / "p.pt2"), str(tmp_path / "there"))
    bare = algo.save(tmp_path / "bare.okt")
    with pytest.raises(FileNotFoundError, match=r"has no card bare\.okt\.md beside it"):
        push(bare, str(tmp_path / "there"))
    write_card(bare, algo)
    push(bare, str(tmp_path / "there"))
    got = offlinekit.load(pull(str(tmp_path / "there"), tmp_path / "got"))
    np.testing.assert_array_equal(got.predict(data.observations), algo.predict(data.observations))
    DiscreteBC(**{**TINY, "seed": 4}).build(data).save(bare)
    with pytest.raises(FileFormatError, match=r"describes another file than bare\.okt"):
        push(bare, str(tmp_path / "there"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_a_web_server(policy, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    push(policy, str(tmp_path / "shared"))
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        url = f"http://127.0.0.1:{server.server_port}/shared/"
        got = pull(url, tmp_path / "got")
        assert {path.suffix for path in got.parent.iterdir()} == {".safetensors", ".md", ".json"}
        assert got.read_bytes() == policy.read_bytes()
        (tmp_path / "shared" / "ward.safetensors.md").write_text("x" * 1_000_000)
        with pytest.raises(DownloadError, match=r"it has more than [\d,]+ bytes"):
            pull(url, tmp_path / "other")
        with pytest.raises(
            DownloadError, match=r"has no files\.json \(HTTP Error 404.*\); give what offlinekit push"
        ):
            pull(url.replace("shared", "nothing"), tmp_path / "other")
        with pytest.raises(ValueError, match="takes no files"):
            push(policy, url)
    with pytest.raises(ValueError, match="only http, https and hf:owner/name"):
        pull("ftp://127.0.0.1/x", tmp_path / "other")


# A hub, as `huggingface_hub` speaks to it.


class Hub(BaseHTTPRequestHandler):
    """Keeps the files of one repository in memory: what the API does for small files."""

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        files = self.server.files
        if self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        upload = [
            {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
            for f in (json.loads(body).get("files", []) if "/preupload/" in self.path else [])
        ]
        url = f"http://127.0.0.1:{self.server.server_port}/me/ward"
        answer = {"url": url, "files": upload, "errors": [], "warnings": []}
        commit = {"success": True, "commitUrl": f"{url}/commit/{'a' * 40}", "commitOid": "a" * 40}
        self.answer(200, json.dumps({**answer, **commit}).encode())

    def do_HEAD(self):
        self.do_GET(True)

    def do_GET(self, head=False):
        content = self.server.files.get(self.path.rpartition("/")[2])
        self.answer(404 if content is None else 200, content or b"", head)

    def answer(self, status, content, head=False):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "a" * 40)
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()
        if not head:
            self.wfile.write(content)


def test_a_hub(policy, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files = {}
    with serving(server):
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        assert push(policy, "hf:me/ward") == "hf:me/ward"
        assert server.files["README.md"] == card_of(policy).read_bytes()
        got = pull("hf:me/ward", tmp_path / "got")
        assert got.read_bytes() == policy.read_bytes()
        assert {path.suffix for path in got.parent.iterdir()} == {".safetensors", ".md", ".json"}
        server.files["ward.safetensors.md"] += b"better"
        with pytest.raises(FileFormatError, match=r"ward\.safetensors\.md has [\d,]+ bytes, more than"):
            pull("hf:me/ward", tmp_path / "other")
        del server.files["files.json"]
        with pytest.raises(DownloadError, match=r"hf:me/ward has no files\.json"):
            pull("hf:me/ward", tmp_path / "other")
    with pytest.raises(ValueError, match="a repository of a hub is hf:owner/name"):
        pull("hf:ward", tmp_path / "other")


# The command line.


def test_push_and_pull_on_the_command_line(data, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from offlinekit.cli.main import main

    monkeypatch.chdir(tmp_path)
    run = DiscreteBC(**TINY).fit(data, 5, out=tmp_path / "runs", **QUIET).run_dir
    data.save(tmp_path / "data.h5")
    for command, told in (
        (("ope", run, "--dataset", "data.h5", "--estimator", "wis", "--greedy"), "wis"),
        (
            ("export", run, "--out", "p.safetensors", "--dataset", "data.h5", "--intended-use", "Here."),
            "Card: p.safetensors.md",
        ),
        (("push", run, "there"), "fetch it with: offlinekit pull there"),
        (("pull", "there", "--out", "got"), "Load it: offlinekit.load('got/policy.okt')"),
        (("push", "p.safetensors", "other"), "Pushed p.safetensors to other"),
    ):
        result = CliRunner().invoke(main, [str(part) for part in command])
        assert result.exit_code == 0, result.output
        assert told in result.output
    assert "| wis |" in Path("p.safetensors.md").read_text()
    assert "| wis |" in Path("got/policy.okt.md").read_text()
    assert Path("other/p.safetensors.seen.safetensors").is_file()
    result = CliRunner().invoke(main, ["pull", "there", "--out", "got"])
    assert result.exit_code == 2
    assert "is there already" in result.output
