"""Text from the command line: learning from dialogues, evaluating, and answering prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import offlinekit
from offlinekit.algos import ILQL
from offlinekit.cli.main import main

TALKS = [
    {"prompt": "a", "response": "b", "reward": 1},
    {"dialogue": [["b", None], ["a", 0.5], ["a", None], ["ab", -0.5]]},
]
TINY = ("width=4", "n_heads=1", "n_layers=1", "max_length=20", "batch_size=4")
SIZES = [word for size in TINY for word in ("--set", size)]
RUN = [*SIZES, "--device", "cpu", "--seed", 0, "--quiet"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with dialogues and a run that learned from them."""
    made = tmp_path_factory.mktemp("text")
    (made / "talks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TALKS))
    options = ["--dataset", made / "talks.jsonl", "--steps", 2, "--out", made / "runs", "--eval-env", "none"]
    result = call("train", "--algo", "ilql", *options, *RUN)
    assert result.exit_code == 0, result.output
    (run,) = (made / "runs").iterdir()
    return run.rename(made / "run").parent


def test_prompts_and_files_are_answered_as_respond_does(folder: Path) -> None:
    algo = offlinekit.load(folder / "run", device="cpu")
    assert isinstance(algo, ILQL)
    result = call("respond", folder / "run", "a", "ba", "--file", folder / "talks.jsonl", "--max-tokens", 3)
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.output.splitlines()]
    second = [("b", None), ("a", 0.5), ("a", None)]
    wanted = algo.respond([[("a", None)], [("ba", None)], [("a", None)], second], max_tokens=3)
    assert [row["response"] for row in rows] == wanted
    assert [row.get("prompt") for row in rows] == ["a", "ba", "a", None]
    assert rows[3]["dialogue"] == [list(turn) for turn in second]


def test_a_line_may_be_a_prompt_alone_or_a_response_without_a_reward(folder: Path, tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [
        {"prompt": "a"},
        {"prompt": "ba", "response": "b"},
        {"dialogue": [["b", None]]},
    ]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = call("respond", folder / "run", "--file", path)
    assert result.exit_code == 0, result.output
    said = [json.loads(line) for line in result.output.splitlines()]
    assert [line["prompt"] for line in said] == ["a", "ba", "b"]
    algo = offlinekit.load(folder / "run", device="cpu")
    assert isinstance(algo, ILQL)
    assert algo.respond(lines) == [line["response"] for line in said]


def test_options_reach_decoding(folder: Path) -> None:
    drawn = [
        call("respond", folder / "run", *"aaaa", "--method", "sample", "--beta", 0, "--seed", seed).output
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert "did you mean 'beam'" in call("respond", folder / "run", "a", "--method", "beams").output


def test_what_says_nothing_is_refused(folder: Path, trained: tuple[Path, object]) -> None:
    result = call("respond", trained[0], "a")
    assert (result.exit_code, "DiscreteBC says nothing" in result.output) == (2, True)
    assert "give prompts, or a file" in call("respond", folder / "run").output


def test_a_task_is_learned_evaluated_and_exported(tmp_path: Path) -> None:
    options = ["--dataset", "random-walks", "--steps", 1, "--out", tmp_path]
    assert call("train", "--algo", "text_bc", *options, *RUN).exit_code == 0
    (run,) = tmp_path.iterdir()
    result = call("evaluate", run, "--episodes", 2, "--json")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.output)["returns"]) == 2
    assert call("export", run, "--format", "torchscript").exit_code == 0
