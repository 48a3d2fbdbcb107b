"""`offlinekit evolve`: from options or a file to a winner."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from offlinekit.metrics.reporting.lineage import Lineage
from offlinekit.sweeps import EvaluatorFitness

WORDS = ("--algo", "discrete-cql", "--set", "batch_size=4", "--set", "learning_rate=0.001", "--device", "cpu")
SEARCH = ("--search", 'learning_rate={"low": 1e-4, "high": 1e-2, "log": true}', "--fitness", "td_error")
SMALL = ("--set", 'encoder={"type": "mlp", "hidden_sizes": [16]}', "--steps", 2, "--population", 2)


@pytest.fixture(scope="module")
def finished(call, data_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("evolved")
    done = call("evolve", "--dataset", data_file, *WORDS, *SEARCH, *SMALL, "--generations", 2, "--out", out)
    assert done.exit_code == 0, done.output
    (folder,) = out.iterdir()
    return folder, done.stdout


def test_it_prints_each_generation_and_the_winner(finished):
    folder, output = finished
    lines = output.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["generation 1", "generation 2"]
    assert "learning_rate=" in lines[0]
    assert "td_error on 1 episodes that chose nothing" in output
    assert f"Folder: {folder}" in output
    assert Lineage.read(folder).last == 2


def test_a_run_goes_on_with_more_generations(finished, call):
    folder, _ = finished
    done = call("evolve", "--resume", folder, "--generations", 3, "--quiet")
    assert done.exit_code == 0, done.output
    assert "generation" not in done.output
    assert Lineage.read(folder).last == 3
    assert json.loads((folder / "command.json").read_text())["generations"] == 3
    over = call("evolve", "--resume", folder)
    assert over.exit_code == 2
    assert "give generations=4 or more" in " ".join(over.output.split())


def test_a_run_of_a_relative_path_goes_on_from_another_folder(call, data_file, tmp_path, monkeypatch):
    shutil.copy(data_file, tmp_path / "data.h5")
    monkeypatch.chdir(tmp_path)
    words = ("--dataset", "data.h5", *WORDS, *SEARCH, *SMALL, "--generations", 1, "--out", "runs")
    assert call("evolve", *words).exit_code == 0
    (folder,) = (tmp_path / "runs").iterdir()
    monkeypatch.chdir(folder)
    done = call("evolve", "--resume", folder, "--generations", 2)
    assert done.exit_code == 0, done.output
    assert json.loads((folder / "evolution.json").read_text())["dataset"]["source"] == str(
        tmp_path / "data.h5"
    )


def test_a_folder_asks_for_no_other_number_of_members(finished, call, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "x")
    options = json.loads((folder / "command.json").read_text())
    (folder / "command.json").write_text(json.dumps({**options, "population": 3}))
    done = call("evolve", "--resume", folder, "--generations", 9)
    assert done.exit_code == 1, done.output
    assert "asks for 3 members, and the run has 2" in " ".join(done.output.split())


def test_a_population_has_an_end(call, data_file):
    done = call("evolve", "--dataset", data_file, *WORDS, *SEARCH, *SMALL, "--population", 10**12)
    assert done.exit_code == 2, done.output
    assert "a population has 1 to 10,000 members, got 1000000000000" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("stop", "said"), [(1, "no generation was complete"), (2, "offlinekit evolve --resume")]
)
def test_a_run_that_is_interrupted_says_how_to_go_on(call, data_file, tmp_path, monkeypatch, stop, said):
    judge = EvaluatorFitness.judge

    def interrupted(self, members, generation):
        if generation == stop:
            raise KeyboardInterrupt
        return judge(self, members, generation)

    monkeypatch.setattr(EvaluatorFitness, "judge", interrupted)
    cut = call(
        "evolve", "--dataset", data_file, *WORDS, *SEARCH, *SMALL, "--generations", 3, "--out", tmp_path
    )
    assert cut.exit_code == 130
    assert said in cut.stderr
    monkeypatch.undo()
    (folder,) = tmp_path.iterdir()
    if stop == 2:
        done = call("evolve", "--resume", folder)
        assert done.exit_code == 0, done.output
        assert Lineage.read(folder).last == 3


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_signals_save_and_say_how_to_go_on(call, data_file, tmp_path, monkeypatch, number, code):
    judge = EvaluatorFitness.judge

    def signalled(self, members, generation):
        if generation == 2:
            signal.raise_signal(number)
        return judge(self, members, generation)

    monkeypatch.setattr(EvaluatorFitness, "judge", signalled)
    words = ("evolve", "--dataset", data_file, *WORDS, *SEARCH, *SMALL, "--generations", 3, "--out", tmp_path)
    before = signal.signal(number, signal.SIG_IGN)  # In place of one that ends the process of the tests.
    try:
        cut = call(*words)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
    (folder,) = tmp_path.iterdir()
    assert cut.exit_code == code, cut.output
    assert cut.stderr.splitlines()[-1] == f"Interrupted; go on with: offlinekit evolve --resume {folder}"
    assert Lineage.read(folder).last == 2  # The judgement under way came to its end.


def test_a_file_holds_the_options_and_the_command_line_wins(call, data_file, tmp_path):
    (tmp_path / "evolution.yaml").write_text(
        f"algo: discrete_cql\ndataset: {data_file}\nsteps: 999999\npopulation: 2\nscheduler: pbt\n"
        "set: {batch_size: 4, encoder: {type: mlp, hidden_sizes: [8]}}\nfitness: td_error\ngenerations: 1\n"
    )
    words = ("--config", tmp_path / "evolution.yaml", "--steps", 2, "--out", tmp_path / "out")
    done = call("evolve", *words)
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name.startswith("PBT_")


def test_the_command_line_adds_to_what_a_file_sets_and_a_zero_is_given(call, data_file, tmp_path):
    (tmp_path / "evolution.yaml").write_text(
        f"algo: discrete_cql\ndataset: {data_file}\nset: {{batch_size: 4, learning_rate: 0.01}}\nseed: 5\ntarget: 3\n"
        "fitness: td_error\nfitness_settings: {held_out: 0.5}\nsettings: {tournament_size: 2}\npopulation: 2\n"
        "search: {learning_rate: [0.01, 0.1]}\n"
    )
    more = (
        "--set",
        "batch_size=8",
        "--setting",
        "elitism=false",
        "--search",
        "tau=[0.1]",
        "--seed",
        0,
        "--target",
        0,
    )
    done = call(
        "evolve", "--config", tmp_path / "evolution.yaml", *more, "--set", "tau=0.1", "--print-config"
    )
    assert done.exit_code == 0, done.output
    fields = json.loads(done.stdout)
    assert fields["set"] == {"batch_size": 8, "learning_rate": 0.01, "tau": 0.1}
    assert fields["search"] == {"learning_rate": [0.01, 0.1], "tau": [0.1]}
    assert fields["settings"] == {"tournament_size": 2, "elitism": False}
    assert (fields["seed"], fields["target"]) == (0, 0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("search: 3", "its search must be an object, got 3"),
        ("population: four", "its population must be a whole number, got 'four'"),
        ("eval_env: null", None),
        ("search: {learning_rate: {low: 1e-4, high: 1e-2}}", None),
    ],
)
def test_a_file_holds_options_of_their_kinds(call, data_file, tmp_path, line, message):
    head = f"algo: discrete_cql\ndataset: {data_file}\nset: {{learning_rate: 1e-3}}\nfitness: td_error\n"
    (tmp_path / "evolution.yaml").write_text(head + line)
    done = call("evolve", "--config", tmp_path / "evolution.yaml", "--dry-run")
    assert done.exit_code == (0 if message is None else 1), done.output
    assert message is None or f"evolution.yaml: {message}; mend the file" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--algo", "bc"), "Missing option '--dataset'"),
        ((*WORDS, "--scheduler", "pbt3"), "scheduler must be one of"),
        ((*WORDS, "--setting", "tournament_sise=3"), "did you mean 'tournament_size'"),
        ((*WORDS, "--search", "learning_rate=0.1"), "for '--search': learning_rate must vary over a list"),
        ((*WORDS, "--search", 'learning_rate={"low": 1}'), "for '--search': a range needs low and high"),
        ((*WORDS, "--fitness", "td_error"), 'on the command line --search \'learning_rate={"low": 1e-4'),
        ((*WORDS, "--fitness", "td_error", "--scheduler", "cma-es"), "on the command line --search"),
        ((*WORDS, *SEARCH, "--fitness", "td_eror"), "td_error"),
        ((*WORDS, "--search", "n_critics=[1,2]"), "stays as it is"),
        (("--resume", "."), "it has no lineage.csv"),
        (("--resume", ".", "--steps", 3), "leave out ['steps']"),
    ],
)
def test_wrong_usage_is_refused(call, data_file, words, message):
    given = ("--dataset", data_file, *SMALL) if "--algo" in words and words != ("--algo", "bc") else ()
    done = call("evolve", *words, *given)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
