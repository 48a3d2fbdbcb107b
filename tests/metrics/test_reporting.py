"""Run folders read, compared, put in tables and on a page."""

from __future__ import annotations

import csv
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_folders import write_run

from offlinekit.errors import FileFormatError
from offlinekit.metrics.reporting import page
from offlinekit.metrics.reporting.comparing import compare_runs
from offlinekit.metrics.reporting.counted_runs import counted_runs
from offlinekit.metrics.reporting.curves import read_curves
from offlinekit.metrics.reporting.figures import figures_of
from offlinekit.metrics.reporting.group_results import in_words, mean_interval
from offlinekit.metrics.reporting.markup import latex_text, markdown_text
from offlinekit.metrics.reporting.page import write_report
from offlinekit.metrics.reporting.report_tables import Table, tables_of
from offlinekit.metrics.reporting.results import by_group, find_runs, read_run, read_runs, score_matrix
from offlinekit.metrics.statistics.budget import Budget


def test_a_run_is_read_with_every_episode(tmp_path: Path) -> None:
    run = read_run(
        write_run(
            tmp_path / "a", [[1, 3], [8, 10], [4, 6]], seed=5, values=[1, 2, 3], reference_scores=[0, 10]
        )
    )
    assert (run.algo, run.dataset, run.seed, run.dataset_hash) == ("IQL", "cart", 5, "sha256:aa")
    np.testing.assert_array_equal(run.steps, [100, 200, 300])
    np.testing.assert_array_equal(run.times, [10, 20, 30])
    np.testing.assert_array_equal(run.returns, [2, 9, 5])
    np.testing.assert_array_equal(run.start_values, [1, 2, 3])
    assert [each.tolist() for each in run.episodes] == [[1, 3], [8, 10], [4, 6]]
    assert run.score() == 5
    assert run.score("best-over-training") == 9
    assert run.normalized() == 50
    assert run.budget == Budget(policies=1, updates=300, evaluations=3, episodes=6)
    assert run.system["versions"]["offlinekit"] == "0.1.0"


def test_a_run_of_before_is_read_too(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "old", [[2, 4], [6, 8]], hash=None)
    (folder / "returns.csv").unlink()
    (folder / "system.json").unlink()
    run = read_run(folder)
    assert run.episodes == ()
    assert run.budget.episodes == 4
    assert run.dataset_hash is None
    assert run.normalized() is None
    assert np.isnan(run.start_values).all()


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no run folder: it has no config\.json"):
        read_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds none"):
        find_runs([tmp_path])
    folder = write_run(tmp_path / "a", [[1.0]])
    (folder / "returns.csv").write_text("step,return\n100,x\n")
    with pytest.raises(FileFormatError, match=r"returns\.csv is damaged"):
        read_run(folder)
    assert find_runs([tmp_path, folder]) == [folder]


def test_groups_refuse_two_datasets_of_one_name(tmp_path: Path) -> None:
    one = read_run(write_run(tmp_path / "a", [[1.0]], seed=2))
    two = read_run(write_run(tmp_path / "b", [[1.0]], seed=1))
    assert by_group([one, two]) == {("cart", "IQL"): [two, one]}
    other = read_run(write_run(tmp_path / "c", [[1.0]], algo="BC", hash="sha256:bb"))
    with pytest.raises(ValueError, match="runs on 'cart' learned from 2 different datasets"):
        by_group([one, other])


def test_scores_of_several_tasks_take_as_many_runs_as_each_has(tmp_path: Path) -> None:
    # On x the seeds 0, 1, 2 score 10, 20, 30; on y the seeds 0, 1 score 50, 60.
    runs = [
        read_run(
            write_run(
                tmp_path / f"{task}{i}", [[value]], dataset=task, seed=i, reference_scores=[0, 100], hash=task
            )
        )
        for task, values in (("x", (10, 20, 30)), ("y", (50, 60)))
        for i, value in enumerate(values)
    ]
    groups = by_group(runs)
    np.testing.assert_array_equal(score_matrix(groups, "IQL", "final"), [[10, 50], [20, 60]])
    assert score_matrix(groups, "BC", "final") is None


def test_groups_are_compared_on_what_they_share(tmp_path: Path) -> None:
    def runs(algo: str, task: str, values: tuple[float, ...], **config: object) -> list:  # type: ignore[type-arg]
        return [
            read_run(
                write_run(
                    tmp_path / f"{algo}{task}{i}", [[v]], algo=algo, dataset=task, seed=i, hash=task, **config
                )
            )
            for i, v in enumerate(values)
        ]

    found, unit, tasks = compare_runs(runs("A", "x", (1, 2)) + runs("A", "y", (9,)), runs("B", "x", (3, 4)))
    assert (found.difference, unit, tasks) == (-2, "return", ["x"])
    with pytest.raises(ValueError, match="share no dataset: x against z"):
        compare_runs(runs("C", "x", (1,)), runs("C", "z", (1,)))
    one, two = (runs(algo, "x", (1,)) + runs(algo, "w", (1,)) for algo in ("D", "E"))
    with pytest.raises(ValueError, match="w, x has no reference returns"):
        compare_runs(one, two)
    scaled = {"reference_scores": [0, 10]}
    first = runs("F", "x", (1, 2), **scaled) + runs("F", "y", (3, 4), **scaled)
    second = runs("G", "x", (1, 2), **scaled) + runs("G", "y", (1, 2, 9), **scaled)
    # Scores 10, 20 and 30, 40 less 10, 20 and 10, 20.
    found, unit, tasks = compare_runs(first, second)
    assert (found.difference, unit, tasks) == (10, "normalised score", ["x", "y"])


class Addresses(HTMLParser):
    """Collects tags, and every address that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "data")]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    scaled = {"reference_scores": [0, 100], "behaviour_return": 12.0}
    for task in ("cart", "pend<ulum>"):
        for i in range(3):
            write_run(
                folder / "runs" / f"{task[0]}i{i}",
                [[i, 9.0], [40.0 + i, 50]],
                dataset=task,
                seed=i,
                values=[1, 2],
                **scaled,
            )
            write_run(
                folder / "runs" / f"{task[0]}b{i}",
                [[5.0, i], [10, 12]],
                algo="BC",
                dataset=task,
                seed=i,
                **scaled,
            )
    (folder / "runs" / "ci0" / "film.mp4").write_bytes(b"film of the policy")
    write_report([folder / "runs"], folder / "out", title="A & B")
    return folder / "out"


def test_the_page_holds_all_it_shows(reported: Path) -> None:
    text = (reported / "report.html").read_text()
    parser = Addresses()
    parser.feed(text)
    assert not {"script", "link", "iframe", "object", "img"} & set(parser.tags)
    assert all(a.startswith(("#", "data:video/mp4;base64,ZmlsbSBvZiB0aGUgcG9saWN5")) for a in parser.fetched)
    assert not re.search(r"url\((?!#)|@import", text)
    # Two tasks of five figures, one over both, one film; BC has no values, IQL has.
    assert parser.tags.count("svg") == 11
    assert parser.tags.count("video") == 1
    assert parser.tags.count("table") == 4
    assert "<h1>A &amp; B</h1>" in text
    assert "pend&lt;ulum&gt;" in text
    assert "pend<ulum>" not in text


def test_tables_say_the_scores_and_the_budget(reported: Path) -> None:
    text = (reported / "report.md").read_text()
    # Final returns of IQL: 45, 45.5, 46: mean 45.5, t 4.303 * 0.5 / sqrt(3) = 1.242.
    assert "| cart | IQL | 3 | 45.50 [44.26, 46.74] | 45.5 | 45.50 [44.26, 46.74] | 12 | 200 |" in text
    assert "| cart | BC | 3 | 11.00 [11.00, 11.00] | 11 |" in text
    assert text.count("Budget: 12 policies, 2,400 updates, 24 evaluations, 48 episodes.") == 4
    assert re.search(r"\| IQL \| 3 x 2 \| 45\.5 \[45\.\d, 45\.\d\] \| 45\.5 .* \| 54\.5 \[", text)
    rows = list(csv.DictReader((reported / "results.csv").read_text().splitlines()))
    assert [(row["dataset"], row["algorithm"]) for row in rows][:2] == [("cart", "BC"), ("cart", "IQL")]
    assert rows[0]["budget of the table"] == "12 policies, 2,400 updates, 24 evaluations, 48 episodes"
    # Returns 10 to 12 by 2, 11 each: mean (10 + 12) / 2; IQL as above, in full digits.
    assert [float(rows[0][f"return_{name}"]) for name in ("mean", "low", "high")] == [11.0, 11.0, 11.0]
    assert float(rows[1]["return_high"]) == pytest.approx(45.5 + 4.30265 * 0.5 / math.sqrt(3), abs=1e-4)
    assert float(rows[1]["score_mean"]) == 45.5
    assert (rows[1]["seeds"], rows[1]["return_of_the_data"]) == ("3", "12.0")
    assert rows[1]["rests_on"] == "seeds 0, 1, 2; 2 episodes each; data aa"
    # Algorithms by datasets, with the name of the second escaped.
    assert "| algorithm | cart | pend\\<ulum\\> |" in text
    assert "| IQL | 45.50 [44.26, 46.74] | 45.50 [44.26, 46.74] |" in text
    assert "With fewer than 20 runs x tasks bootstrap intervals are too narrow." in text
    assert r"algorithm & cart & pend\textless{}ulum\textgreater{} \\" in (reported / "report.tex").read_text()
    assert len((reported / "runs.csv").read_text().splitlines()) == 13


def test_the_best_over_training_is_called_flattered(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [[9.0], [1.0]])
    write_report([run], tmp_path / "final")
    write_report([run], tmp_path / "best", score="best-over-training")
    final, best = ((tmp_path / name / "report.md").read_text() for name in ("final", "best"))
    assert "## Results (final)" in final
    assert "| cart | IQL | 1 | 1 | 1 |" in final
    assert "chosen in the environment: flattered" in best
    assert "| cart | IQL | 1 | 9 | 9 |" in best


def test_equal_runs_give_equal_pages_and_seeds_of_the_choice_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", [[9.0], [1.0]], seed=4)
    pages = [write_report([run], tmp_path / f"r{i}", tuning_seeds=[0])[-1].read_text() for i in range(2)]
    assert pages[0] == pages[1]
    with pytest.raises(ValueError, match=r"chosen on seeds \[4\]"):
        write_report([run], tmp_path / "no", tuning_seeds=[4, 5])
    assert not (tmp_path / "no").exists()


def test_a_large_film_is_named_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "FILM_BYTES", 3)
    run = write_run(tmp_path / "a", [[9.0]])
    (run / "film.mp4").write_bytes(b"long")
    text = write_report([run], tmp_path / "r")[-1].read_text()
    assert "<video" not in text.split("</style>")[1]
    assert "too large for the page" in text


def svgs_and_captions(runs: list[Path]) -> dict[str, tuple[bool, str]]:
    """Returns {title: (whether there is a figure, caption)} of the report's figures."""
    found = figures_of([read_run(run) for run in runs], "final")
    return {title: (svg.startswith("<svg"), caption) for title, svg, caption in found}


def test_runs_of_one_evaluation_are_reported_without_curves(tmp_path: Path) -> None:
    # Of one algorithm, at 100 updates; of the other with no stretch in common: 100 and 100 to 200.
    runs = [write_run(tmp_path / f"a{i}", [[5.0 + i]], seed=i) for i in range(2)]
    runs += [write_run(tmp_path / f"b{n}", [[1.0]] * n, algo="BC", seed=n) for n in (1, 2)]
    report = write_report(runs, tmp_path / "out")[0].read_text()
    assert "| cart | IQL | 2 | 5.50 [-0.85, 11.85] | 5.5 | 100 |" in report
    found = svgs_and_captions(runs)
    assert found["cart: learning curves"] == (
        False,
        "No curve for BC, IQL: evaluated once, or at no common stretch of updates.",
    )
    assert found["cart: the best of k policies"][0]
    more = [write_run(tmp_path / f"c{i}", [[1.0], [2.0]], algo="CQL", seed=i) for i in range(2)]
    drawn, caption = svgs_and_captions([*runs, *more])["cart: learning curves by updates"]
    assert drawn
    assert caption.endswith("No curve for BC, IQL: evaluated once, or at no common stretch of updates.")


def test_runs_that_were_never_evaluated_are_listed(tmp_path: Path) -> None:
    silent = write_run(tmp_path / "s", [[0.0]], seed=7)
    (silent / "metrics.csv").write_text("step,time,actor_loss\n50,5.0,0.1\n150,14.0,0.1\n")
    (silent / "returns.csv").unlink()
    run = read_run(silent)
    assert (run.updates, run.seconds, run.is_evaluated) == (150, 14.0, False)
    assert run.budget == Budget(policies=1, updates=150)
    alone = write_report([silent], tmp_path / "alone")[0].read_text()
    assert "| cart | IQL | 1 | 150 |" in alone
    assert "1 run was never evaluated in an environment and so has no return" in alone
    assert figures_of([run], "final") == []
    other = write_run(tmp_path / "b", [[3.0], [4.0]], reference_scores=[0, 10])
    both = write_report([silent, other], tmp_path / "both")[0].read_text()
    assert "| cart | IQL | 1 of 2 | 4 | 4 | 40 | 150 to 200 |" in both
    with pytest.raises(ValueError, match=r"evaluated in an environment, got .*s without an evaluation"):
        compare_runs([run], [read_run(other)])


def test_runs_of_other_settings_are_no_seeds_of_one(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / f"{e}{i}", [[e], [e]], seed=i, hyperparameters={"expectile": e, "beta": 3.0, "seed": i}
        )
        for e in (0.7, 0.9)
        for i in range(2)
    ]
    assert list(by_group([read_run(run) for run in runs])) == [
        ("cart", "IQL, expectile=0.7"),
        ("cart", "IQL, expectile=0.9"),
    ]
    assert list(by_group([read_run(run) for run in runs[:2]])) == [("cart", "IQL")]
    page = write_report(runs, tmp_path / "out")[-1].read_text()
    assert "<p class=lead>4 training runs of 1 algorithm (IQL) on cart; seeds 0, 1.</p>" in page
    assert "<dt>IQL, expectile=0.9 on cart</dt><dd>expectile = 0.9, beta = 3.0</dd>" in page


CRITIC = {"objective": "critic", "alpha": 0.3, "beta": 0.4}


@pytest.mark.parametrize(
    ("how", "label"),
    [
        ({"max_steps": 20}, "max_steps=20"),
        ({"eval_interval": 7}, "eval_interval=7"),
        ({"precision": "bfloat16"}, "precision=bfloat16"),
        ({"priorities": "critic", "prioritised": CRITIC}, "priorities=critic"),
        ({"prioritised": CRITIC}, f"priorities={CRITIC}"),
        ({"loss_weights": {"hash": "ab"}}, "weights={'hash': 'ab'}"),
        ({"env_id": "CartPole-v0"}, "env_id=CartPole-v0"),
        ({"env_id": "CartPole-v1", "env_kwargs": {"a": 1}}, "env_kwargs={'a': 1}"),
        ({"env_id": None, "env_note": "Mine, which has no name"}, "env_id=Mine, which has no name"),
    ],
)
def test_settings_that_change_results_part_runs(how: dict[str, Any], label: str, tmp_path: Path) -> None:
    usual = {"env_id": "CartPole-v1"}
    folders = [write_run(tmp_path / "a", [[1.0]], **usual), write_run(tmp_path / "b", [[2.0]], **usual | how)]
    runs = [read_run(folder) for folder in folders]
    assert f"IQL, {label}" in {name for _, name in by_group(runs)}
    assert len(by_group(runs)) == 2
    assert counted_runs(runs).left_out == []
    assert len(read_curves(folders)) == 2


def test_settings_that_change_nothing_and_unknown_ones_part_no_runs(tmp_path: Path) -> None:
    more = {"env_id": "CartPole-v1", "progress": True, "run_name": "x", "max_steps": None, "n_steps": 7}
    folders = [write_run(tmp_path / "a", [[1.0]]), write_run(tmp_path / "b", [[2.0]], seed=1, **more)]
    assert list(by_group([read_run(folder) for folder in folders])) == [("cart", "IQL")]


def online(folder: Path, seed: int, updates: int | None = None, sha256: str = "") -> Path:
    """Writes an online run that began with a policy, or that is of an earlier version and does not say."""
    begun = {} if updates is None else {"began_with": {"updates": updates, "sha256": sha256}}
    run = write_run(folder, [[1.0]], seed=seed, online="Walk", hyperparameters={"seed": seed}, **begun)
    table = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text("\n".join([f"{table[0]},updates", *(f"{row},1" for row in table[1:])]))
    return run


def test_online_runs_of_other_beginnings_are_no_seeds_of_one(tmp_path: Path) -> None:
    first, second = online(tmp_path / "a", 0, 10, "aa"), online(tmp_path / "b", 1, 10, "bb")
    more, other = online(tmp_path / "c", 0, 200, "cc"), online(tmp_path / "d", 0, 10, "dd")
    before = online(tmp_path / "e", 2)

    def names(*folders: Path) -> list[str]:
        runs = [read_run(folder) for folder in folders]
        assert counted_runs(runs).left_out == []
        return [name for _, name in by_group(runs)]

    assert names(first, second, before) == ["IQL online"]
    assert names(first, more) == ["IQL online, began_after=10", "IQL online, began_after=200"]
    assert names(first, other) == ["IQL online, first_policy=aa", "IQL online, first_policy=dd"]


def test_tasks_of_other_units_stay_apart(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"{task}{i}", [[v], [v]], dataset=task, seed=i, hash=task, reference_scores=r)
        for task, v, r in (("cost", -1.5e6, None), ("hop", 50.0, [0, 100]))
        for i in range(2)
    ]
    titles = svgs_and_captions(runs)
    assert not any(title.startswith("All tasks") for title in titles)
    results, _, each = tables_of([read_run(run) for run in runs], "final")
    assert results.rows[0][3:6] == ("-1,500,000 [-1,500,000, -1,500,000]", "-1,500,000", "-")
    assert results.rows[1][3:6] == ("50.00 [50.00, 50.00]", "50", "50.00 [50.00, 50.00]")
    assert "<td>-1,500,000 <span>[-1,500,000, -1,500,000]</span></td>" in results.html()
    # The data differ, the versions do not.
    assert each.markdown().splitlines()[2].endswith("| best over training | data |")
    assert "All runs: versions offlinekit 0.1.0." in each.markdown()


def test_columns_that_say_nothing_are_not_shown_but_kept_as_csv() -> None:
    table = Table("T", ("a", "b", "c"), [("x", "-", "1 of 2"), ("y", "-", "12")], "Note.", Budget())
    assert "| a | c |" in table.markdown()
    assert table.csv().startswith("a,b,c,")
    assert "<th class=text>a</th><th>c</th>" in table.html()


def test_unequal_lengths_are_said(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"{n}", [[1.0 * k] for k in range(n)], seed=n) for n in (2, 4)]
    caption = svgs_and_captions(runs)["cart: learning curves by updates"][1]
    assert "Runs of unequal length are drawn as far as all of an algorithm's went." in caption
    assert "| cart | IQL | 2 |" in (report := write_report(runs, tmp_path / "out")[0].read_text())
    assert "| 200 to 400 |" in report


def test_twenty_algorithms_look_different_and_have_no_bands(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"{a}{i}", [[a, a], [a, i]], algo=f"A{a:02}", seed=i)
        for a in range(20)
        for i in range(2)
    ]
    found = svgs_and_captions(runs)
    assert "the table has the intervals" in found["cart: learning curves by updates"][1]
    assert found["cart: performance profile"][1].endswith("Without bands, which would cover each other.")
    page = write_report(runs, tmp_path / "out")[-1].read_text()
    assert "40 training runs of 20 algorithms on cart; seeds 0, 1." in page


def test_a_seed_counts_once_and_a_return_that_is_no_number_does_not(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_run(runs / "a", [[1.0]], seed=1)
    write_run(runs / "again", [[1.0]], seed=1)
    write_run(runs / "longer", [[5.0], [3.0]], seed=2)
    write_run(runs / "shorter", [[9.0]], seed=2)
    write_run(runs / "broken", [[math.nan]], seed=3)
    write_run(runs / "other", [[7.0]], seed=1, algo="BC")
    found = counted_runs([read_run(folder) for folder in find_runs([runs])])
    assert [run.folder.name for run in found.runs] == ["a", "longer", "other"]
    assert found.left_out == [
        "broken is left out: its return is nan, which is no finite number",
        "again is left out: the same seed twice, 1 as in a",
        "shorter is left out: the same seed twice, 2 as in longer",
    ]
    write_report([runs], tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "again is left out: the same seed twice" in text
    # 1 and 3: mean 2, t of one degree 12.7062 times sqrt(2) / sqrt(2).
    assert "| 2 | 2.00 [-10.71, 14.71] |" in text
    assert "broken is left out" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(ValueError, match="no run is left to report: broken is left out"):
        write_report([runs / "broken"], tmp_path / "none")


def test_other_references_are_not_averaged_under_one_name(tmp_path: Path) -> None:
    runs = [
        read_run(write_run(tmp_path / str(i), [[1.0]], seed=i, reference_scores=[0, top]))
        for i, top in enumerate((10, 20))
    ]
    with pytest.raises(
        ValueError, match=r"normalised by 2 different pairs of reference returns: \(0, 10\), \(0, 20\)"
    ):
        by_group(runs)


def test_small_numbers_keep_their_digits() -> None:
    assert in_words(0.00012, 0.0001, 0.00014) == "0.0001200 [0.0001000, 0.0001400]"
    assert in_words(45.5, 44.26, 46.74) == "45.50 [44.26, 46.74]"
    assert in_words(-0.5, -1.0, 0.0) == "-0.500 [-1.000, 0.000]"
    assert mean_interval(np.array([0.1, 0.3])) == pytest.approx((0.2, 0.2 - 1.27062, 0.2 + 1.27062), abs=1e-5)
    assert math.isnan(mean_interval(np.array([1.0]))[1])


def test_text_of_other_formats_is_shown_as_it_is() -> None:
    assert markdown_text("a|b <c>\n*d* [e](f) _g_ n_h [1, 2]") == (
        r"a\|b \<c\> \*d\* \[e](f) \_g\_ n_h [1, 2]"
    )
    assert latex_text("50% of a_b & {c} ~^") == (r"50\% of a\_b \& \{c\} \textasciitilde{}\textasciicircum{}")


def test_one_run_that_cannot_be_read_leaves_the_others(tmp_path):
    for seed in range(2):
        write_run(tmp_path / "runs" / str(seed), [[1.0 + seed]], seed=seed)
    damaged = write_run(tmp_path / "runs" / "damaged", [[9.0]], seed=5)
    (damaged / "config.json").write_text("{")
    silent = write_run(tmp_path / "runs" / "silent", [[9.0]], seed=6)
    (silent / "metrics.csv").write_text("step,time\n")
    runs, left_out = read_runs([tmp_path / "runs"])
    assert [run.seed for run in runs] == [0, 1]
    assert [line.split()[0] for line in left_out] == ["damaged", "silent"]
    with pytest.raises(ValueError, match="damaged"):
        read_runs([damaged])
