"""Every command and every Python block of the documents runs, with fewer updates and episodes."""

from __future__ import annotations

import pytest
from click import ClickException
from pages import PAGES, REPO, SHOWN, blocks, check_extras, commands, expanded, run_command, run_page

import offlinekit.algos  # All of them, before a test hides what others registered.
import offlinekit.metrics
from offlinekit.core import algo
from offlinekit.core.algo import Algo
from offlinekit.core.impl import Impl
from offlinekit.core.populations import population
from offlinekit.core.populations.kept_stacks import KeptStacks
from offlinekit.core.populations.program import NotStackable
from offlinekit.datasets import registry
from offlinekit.nn import encoders
from offlinekit.sampling.scalers import Scaler

UPDATES, EPISODES = 4, 2
SHORT = 30  # Runs of so many updates stay as they are.
FAST = {
    "CONTRIBUTING.md",
    *(f"docs/{name}.md" for name in ("datasets", "tables", "training", "formats", "algos/bc", "algos/iql")),
}


@pytest.fixture
def few(monkeypatch):
    """Cuts every run to a few updates and evaluations to a few episodes.

    Names are those of a new process: what other tests registered is hidden, what a page registers is forgotten.
    """
    start_run, evaluate = algo.start_run, offlinekit.metrics.evaluate

    def start(learner, dataset, n_steps, **settings):
        settings["eval_episodes"] = min(settings.get("eval_episodes", EPISODES), EPISODES)
        return start_run(learner, dataset, cut(n_steps), **settings)

    start_online = algo.start_online

    def act(learner, env, n_steps, **settings):
        settings["eval_episodes"] = min(settings.get("eval_episodes", EPISODES), EPISODES)
        return start_online(learner, env, cut(n_steps), **settings)

    def judge(policy, env, n_episodes=10, **settings):
        return evaluate(policy, env, min(n_episodes, EPISODES), **settings)

    def apart(*arguments):
        raise NotStackable("so few updates do not repay the recording of their program")

    monkeypatch.setattr(KeptStacks, "stack", apart)
    for module in (algo, population):
        monkeypatch.setattr(module, "start_run", start)
        monkeypatch.setattr(module, "start_online", act)
    monkeypatch.setattr(offlinekit.metrics, "evaluate", judge)
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    for owner, attribute in ((Algo, "known"), (Impl, "known"), (encoders, "_FACTORIES"), (Scaler, "kinds")):
        monkeypatch.setattr(owner, attribute, built_in(getattr(owner, attribute)))


def cut(n_steps):
    return n_steps if n_steps <= SHORT else UPDATES


def built_in(known):
    """Returns the entries of a registry, or of several by kind, that are the package's own."""
    return {
        name: built_in(entry) if isinstance(entry, dict) else entry
        for name, entry in known.items()
        if isinstance(entry, dict) or entry.__module__.startswith("offlinekit.")
    }


def _marked(page):
    name = str(page.relative_to(REPO))
    return pytest.param(page, id=name, marks=[] if name in FAST else [pytest.mark.slow])


@pytest.mark.filterwarnings("ignore:this run ends at update")  # Cut as it is, it may end within a warm-up.
@pytest.mark.parametrize("page", [_marked(page) for page in PAGES])
def test_what_a_page_shows_runs(page, few, hopper_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(hopper_file.parent)
    (tmp_path / hopper_file.name).symlink_to(hopper_file)
    (tmp_path / "ENV" / "bin").mkdir(parents=True)
    (tmp_path / "ENV" / "bin" / "python").touch()
    run_page(page, recorded=hopper_file.is_symlink())


def test_what_is_left_out_has_a_reason():
    shown = [block for page in PAGES for block in blocks(page) if block.language not in SHOWN]
    left_out = [block for block in shown if block.reason]
    assert all(len(block.reason.split()) > 3 for block in left_out)
    assert len(left_out) <= 0.1 * len(shown), [block.where for block in left_out]
    assert {block.language for block in shown} <= {"python", "console"}


def test_a_broken_page_is_seen(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    monkeypatch.setattr("pages.REPO", tmp_path)
    page.write_text("<!-- before: a = 1 -->\n```python\nb = a + 1\n```\n\n```python\nassert b == 3\n```\n")
    with pytest.raises(AssertionError):
        run_page(page, recorded=False)
    page.write_text("```fish\nls\n```\n")
    with pytest.raises(AssertionError, match=r"page.md:2 is in 'fish'"):
        run_page(page, recorded=False)
    page.write_text("<!-- not run: nobody has it -->\n```python\n1 / 0\n```\n```text\noutput\n```\n")
    assert run_page(page, recorded=False) == 0


@pytest.mark.parametrize(
    "command",
    [
        "offlinekit trian",
        "offlinekit algos no_such",
        "make tea",
        "pip install '.[no_such]'",
        "python examples/no_such.py",
        "python benchmarks/updates.py --no-such",
        "rm -rf runs",
    ],
)
def test_a_wrong_command_is_seen(command):
    with pytest.raises((AssertionError, ClickException)):
        run_command(command, "page.md:1")


def test_commands_and_folders_of_another_day(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert commands("$ offlinekit algos\nAWAC\n$ make demo\n") == ["offlinekit algos", "make demo"]
    assert commands("make demo  # all\n\nmake test\n") == ["make demo  # all", "make test"]
    (tmp_path / "runs" / "BC_hopper-medium-v2_20300101-000000_abcdef").mkdir(parents=True)
    today = "runs/BC_hopper-medium-v2_20300101-000000_abcdef"
    assert expanded("runs/BC_hopper-medium-v2_20261121-015613_002176") == [today]
    assert expanded("runs/BC_hopper-medium-v2_...") == expanded("runs/BC_*") == [today]
    assert expanded("nothing_*") == ["nothing_*"]
    check_extras(["-c", "constraints.txt", ".[mujoco,box2d]"], "page.md:1")
