"""The tables of a report: rows of text, written as Markdown, CSV or HTML."""

from __future__ import annotations

import csv
import html
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from offlinekit.datasets.fingerprint import digits
from offlinekit.metrics.reporting.group_results import group_results, in_words, mean_interval
from offlinekit.metrics.reporting.markup import csv_text, latex_text, markdown_text
from offlinekit.metrics.reporting.online_table import HEAD, NOTE, online_rows
from offlinekit.metrics.reporting.plots import readable
from offlinekit.metrics.reporting.results import RunResult, by_group, score_matrix
from offlinekit.metrics.statistics.aggregates import Floats, iqm, mean_score, median_score, optimality_gap
from offlinekit.metrics.statistics.budget import Budget
from offlinekit.metrics.statistics.stratified import stratified_interval

AGGREGATES: dict[str, Callable[[Floats], float]] = {
    "mean": mean_score,
    "median": median_score,
    "IQM": iqm,
    "optimality gap": optimality_gap,
}


NUMBER = re.compile(r"-?[\d.,]+(e[-+]\d+)?( \[.*\]| x \d+| (to|of) [\d,]+)?$|nan|-?inf")
WITH_COMMAS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?")
FEW = (
    20  # Runs x tasks below which bootstrap intervals are too narrow: of 3 x 1 they cover 76%, of 3 x 5 87%.
)
INTERVAL = re.compile(r" (\[[^\[]*\])$")


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, rows of text, what they are, and what they cost.

    Attributes:
        title: Above the table.
        head: Names of the columns.
        rows: Cells of each row; "-" if there is nothing to say.
        note: Below the table.
        budget: Of all its numbers.
        once: Columns that move to the note if all rows agree.
    """

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str
    budget: Budget
    once: tuple[str, ...] = ()

    def _shown(self) -> tuple[list[list[str]], str]:
        """Returns head and rows for a reader, without columns that say nothing or always the same, and the note."""
        columns, constant = [], []
        for column in zip(self.head, *self.rows, strict=True):
            values = set(column[1:])
            if column[0] in self.once and len(self.rows) > 1 and len(values) == 1 and values != {"-"}:
                constant.append(f"{column[0]} {column[1]}")
            elif values != {"-"}:
                columns.append(column)
        told = f" All runs: {', '.join(constant)}." if constant else ""
        return [list(row) for row in zip(*columns, strict=True)], f"{self.note}{told} {self.budget}."

    def markdown(self) -> str:
        """Returns the table in Markdown, with its note below."""
        (head, *rows), note = self._shown()
        lines = [head, ["---"] * len(head), *rows]
        body = "\n".join("| " + " | ".join(map(markdown_text, line)) + " |" for line in lines)
        return f"## {markdown_text(self.title)}\n\n{body}\n\n{markdown_text(note)}\n"

    def latex(self) -> str:
        """Returns the table in LaTeX, as the package booktabs sets it, with its note as the caption."""
        (head, *rows), note = self._shown()
        lines = [" & ".join(map(latex_text, line)) + r" \\" for line in (head, *rows)]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                f"\\caption{{{latex_text(f'{self.title}. {note}')}}}",
                f"\\begin{{tabular}}{{{'l' * len(head)}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def csv(self) -> str:
        """Returns head and rows as CSV, numbers without commas; the last column is the budget of the whole table."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow((*self.head, "budget of the table"))
        cells = (
            [c.replace(",", "") if WITH_COMMAS.fullmatch(c) else csv_text(c) for c in row]
            for row in self.rows
        )
        writer.writerows((*row, str(self.budget).removeprefix("Budget: ")) for row in cells)
        return out.getvalue()

    def html(self) -> str:
        """Returns the table as HTML; every cell is escaped, columns of numbers are set to the right."""
        (head, *rows), note = self._shown()
        kinds = ["" if all(map(_is_number, column)) else " class=text" for column in zip(*rows, strict=True)]
        top = "".join(f"<th{kind}>{html.escape(cell)}</th>" for kind, cell in zip(kinds, head, strict=True))
        body = "".join(
            f"<tr>{''.join(f'<td{kind}>{_cell(cell)}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>"
            for row in rows
        )
        return (
            f"<h2>{html.escape(self.title)}</h2><div class=wide><table><thead><tr>{top}</tr></thead>"
            f"<tbody>{body}</tbody></table></div><p class=note>{html.escape(note)}</p>"
        )


def tables_of(runs: list[RunResult], kind: str) -> list[Table]:
    """Returns the tables of a report: results, these by dataset if there are several, aggregates, and the runs."""
    budget = sum((run.budget for run in runs), Budget())
    tables = [
        _results(runs, kind, budget),
        _pivot(runs, kind, budget),
        _aggregates(runs, kind, budget),
        _online(runs, budget),
        _runs(runs, budget),
    ]
    return [table for table in tables if table is not None]


def _online(runs: list[RunResult], budget: Budget) -> Table | None:
    rows = online_rows(runs)
    return Table("Before and after going online", HEAD, rows, NOTE, budget) if rows else None


def _results(runs: list[RunResult], kind: str, budget: Budget) -> Table:
    rows = []
    for result in group_results(runs, kind):
        n, n_evaluated, returns = len(result.runs), len(result.evaluated), result.returns
        behaviour = result.behaviour_return
        rows.append(
            (
                result.dataset,
                result.algo,
                str(n) if n_evaluated in (0, n) else f"{n_evaluated} of {n}",
                _with_interval(returns),
                readable(float(np.median(returns))) if n_evaluated else "-",
                _with_interval(result.scores),
                "-" if behaviour is None else readable(behaviour),
                _range(sorted({run.updates for run in result.runs})),
                result.basis,
            )
        )
    heading = "final" if kind == "final" else "best over training, chosen in the environment: flattered"
    head = (
        "dataset",
        "algorithm",
        "seeds",
        "return [95% interval]",
        "median",
        "score [95% interval]",
        "return of the data",
        "updates",
        "rests on",
    )
    note = _explained(runs, kind)
    return Table(f"Results ({heading})", head, rows, note, budget)


def _pivot(runs: list[RunResult], kind: str, budget: Budget) -> Table | None:
    """Returns algorithms x datasets: scores if all have them, else returns; None of a single dataset."""
    results = group_results(runs, kind)
    tasks = sorted({each.dataset for each in results})
    if len(tasks) < 2:
        return None
    scored = all(len(each.scores) or not each.evaluated for each in results)
    cells = {
        (each.algo, each.dataset): _with_interval(each.scores if scored else each.returns) for each in results
    }
    rows = [
        (algo, *(cells.get((algo, task), "-") for task in tasks))
        for algo in sorted({each.algo for each in results})
    ]
    quantity = "normalised score" if scored else "return"
    note = f"Mean {quantity} of the {kind} evaluation over seeds, with its 95% interval (Student's t)."
    return Table("Algorithms by datasets", ("algorithm", *tasks), rows, note, budget)


def _aggregates(runs: list[RunResult], kind: str, budget: Budget) -> Table | None:
    groups = by_group(runs)
    tasks = sorted({dataset for dataset, _ in groups})
    rows = []
    for algo in sorted({algo for _, algo in groups}):
        scores = score_matrix(groups, algo, kind)
        if scores is None:
            continue
        cells = []
        for statistic in AGGREGATES.values():
            low, high = stratified_interval(statistic, scores)
            cells.append(_of_hundred(float(statistic(scores)), low, high))
        rows.append((algo, f"{scores.shape[0]} x {scores.shape[1]}", *cells))
    if not rows:
        return None
    few = any(int(row[1].split(" x ")[0]) * len(tasks) < FEW for row in rows)
    narrow = f" With fewer than {FEW} runs x tasks bootstrap intervals are too narrow." if few else ""
    note = (
        f"Normalised scores of the {kind} evaluation on {', '.join(tasks)}; 95% stratified bootstrap over runs x "
        f"tasks; the optimality gap is to 100, less is better.{narrow}"
    )
    return Table("Over all tasks", ("algorithm", "runs x tasks", *AGGREGATES), rows, note, budget)


def _runs(runs: list[RunResult], budget: Budget) -> Table:
    rows = []
    for run in (run for group in by_group(runs).values() for run in group):
        versions = run.system.get("versions") or {}
        rows.append(
            (
                run.folder.name,
                str(run.seed),
                f"{run.updates:,}",
                f"{run.seconds:,.0f}",
                readable(run.score()) if run.is_evaluated else "-",
                readable(run.score("best-over-training")) if run.is_evaluated else "-",
                digits(run.dataset_hash or "-", 12),
                " ".join(f"{name} {versions[name]}" for name in ("offlinekit", "torch") if name in versions)
                or "-",
            )
        )
    head = ("run", "seed", "updates", "seconds", "final return", "best over training", "data", "versions")
    note = "The best over training is chosen by the environment and flatters; it is here for the record."
    return Table("Runs", head, rows, note, budget, once=("data", "versions"))


def _explained(runs: list[RunResult], kind: str) -> str:
    """Returns what the columns of the results mean, in words."""
    judged = [run for run in runs if run.is_evaluated]
    counts = sorted({int(run.config.get("eval_episodes") or 0) for run in judged} - {0})
    of = f" of {_range(counts)} episode{'' if counts == [1] else 's'} each" if counts else ""
    parts = [f"Return: mean over seeds of the {kind} evaluation{of}."] if judged else []
    if max((len(group) for group in by_group(judged).values()), default=0) > 1:
        parts.append("In brackets the 95% interval of that mean over training seeds (Student's t).")
    if any(run.config.get("reference_scores") for run in judged):
        parts.append("Score: the return normalised, 0 a random policy and 100 an expert.")
    if any(run.config.get("behaviour_return") is not None for run in runs):
        parts.append("Return of the data: mean over the recorded episodes.")
    if silent := len(runs) - len(judged):
        parts.append(
            f"{silent} run{' was' if silent == 1 else 's were'} never evaluated in an environment and so "
            f"{'has' if silent == 1 else 'have'} no return; offlinekit ope estimates it from data."
        )
    return " ".join(parts)


def _range(values: list[int]) -> str:
    """Returns the one value, or "lowest to highest" of values in order."""
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"


def _is_number(cell: str) -> bool:
    return cell == "-" or NUMBER.match(cell) is not None


def _cell(text: str) -> str:
    """Returns a cell for HTML; its interval may go on a line of its own."""
    return INTERVAL.sub(r" <span>\1</span>", html.escape(text))


def _with_interval(values: Floats) -> str:
    """Returns "mean [low, high]", Student's t interval of the mean over seeds; the mean alone for one seed."""
    if len(values) == 0:
        return "-"
    mean, low, high = mean_interval(values)
    return readable(mean) if math.isnan(low) else in_words(mean, low, high)


def _of_hundred(value: float, low: float, high: float) -> str:
    """Returns a normalised score with its interval, in one decimal, or in more if all are small."""
    largest = max(abs(number) for number in (value, low, high) if not math.isnan(number))
    decimals = min(8, max(1, 1 - math.floor(math.log10(largest)))) if 0 < largest < math.inf else 1
    spread = "" if math.isnan(low) else f" [{low:.{decimals}f}, {high:.{decimals}f}]"
    return f"{value:.{decimals}f}{spread}"
