"""A report on runs: tables as Markdown and CSV, and one page that needs nothing beside itself."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from pathlib import Path

from offlinekit.errors import FileFormatError
from offlinekit.io import atomic_write
from offlinekit.metrics.reporting.counted_runs import counted_runs
from offlinekit.metrics.reporting.figures import figures_of
from offlinekit.metrics.reporting.group_results import results_csv
from offlinekit.metrics.reporting.lineage_figures import lineage_svg
from offlinekit.metrics.reporting.lineage_tables import CAPTION, find_evolutions, generations_table, winner_of
from offlinekit.metrics.reporting.markup import markdown_text
from offlinekit.metrics.reporting.report_tables import Table, tables_of
from offlinekit.metrics.reporting.results import RunResult, by_group, read_runs
from offlinekit.metrics.statistics.budget import check_seeds_apart
from offlinekit.training.manifest import check_inside

FILM_BYTES = 20 << 20
"""A larger film is named on the page instead of shown."""
STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 76rem; margin: 2rem auto;
  padding: 0 1.2rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.lead { margin-top: 0; max-width: 60rem; } .note { max-width: 60rem; }
.note, figcaption { color: #555; font-size: .87rem; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #e4e4e4; }
td.text, td span { white-space: nowrap; }
th { border-bottom: 1px solid #888; font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { padding-left: 0; } .text { text-align: left; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(28rem, 1fr)); gap: 1.5rem 2rem;
  align-items: start; }
figure { margin: 0; break-inside: avoid; } figure svg, figure video { width: 100%; max-width: 38rem; height: auto; }
figure h2 { margin-top: .5rem; } dt { font-weight: 600; } dd { margin: 0 0 .6rem; }
@media (max-width: 48rem) {
  body { margin: 1rem auto; padding: 0 .8rem; } .figures { grid-template-columns: 1fr; } table { font-size: .8rem; }
  th, td { padding: .2rem .45rem; } td.text { white-space: normal; } }
@media print { :root { font-size: 11px; } video { display: none; }
  body { margin: 0; font-size: 11px; max-width: none; } table { font-size: 9px; }
  th, td { padding: .15rem .4rem; } td.text { white-space: normal; } tr { break-inside: avoid; }
  .figures { grid-template-columns: 1fr 1fr; } h2 { break-after: avoid; } }
"""


def write_report(
    runs: Iterable[str | Path],
    out: str | Path = "report",
    *,
    score: str = "final",
    tuning_seeds: Iterable[int] = (),
    title: str = "Report",
) -> list[Path]:
    """Writes report.md, report.tex, results.csv, runs.csv and report.html of runs.

    A seed counts once, and a run whose return is no finite number is named and left out.

    Args:
        runs: Run folders and folders of evolutions, or folders of them.
        out: Folder for the files; of evolutions alone report.md and report.html.
        score: What counts for a run: "final", or "best-over-training", which the tables then call flattered.
        tuning_seeds: Seeds that chose the hyperparameters; runs of theirs are refused.
        title: Of the page.

    Returns:
        The files written, the page last.

    Raises:
        FileNotFoundError: For a path without runs.
        ValueError: For seeds of the choice, runs on other data of one name, or no run that counts.
    """
    evolutions, runs = find_evolutions(runs)
    if evolutions and not runs:
        return _evolutions_alone(evolutions, Path(out), title)
    results, unread = read_runs(runs)
    counted, left_out = counted_runs(results)
    left_out = [*unread, *left_out]
    check_seeds_apart(tuning_seeds, (run.seed for run in counted if run.seed is not None))
    by_group(counted)
    if not counted:
        why = f"no run is left to report: {'; '.join(left_out)}" if left_out else "there is no run to report"
        raise ValueError(why)
    tables, out = tables_of(counted, score), Path(out)
    said = [f"{markdown_text(line)}\n" for line in (lead(counted), *(f"{line}." for line in left_out))]
    files = {
        "report.md": "\n".join(
            [
                f"# {markdown_text(title)}\n",
                *said,
                *(table.markdown() for table in [*tables, *map(generations_table, evolutions)]),
            ]
        ),
        "report.tex": "\n".join(table.latex() for table in tables[:-1]),
        "results.csv": results_csv(counted, score),
        "runs.csv": tables[-1].csv(),
        "report.html": _page(title, tables, counted, score, left_out, evolutions),
    }
    return _written(files, out)


def _written(files: dict[str, str], out: Path) -> list[Path]:
    for name, text in files.items():
        with atomic_write(out / name) as beside:
            beside.write_text(text, encoding="utf-8")
    return [out / name for name in files]


def _evolutions_alone(folders: list[Path], out: Path, title: str) -> list[Path]:
    """Writes report.md and report.html of evolutions beside which there are no runs."""
    named = ", ".join(folder.name for folder in folders)
    said = f"{_count(len(folders), 'evolution')}: {named}."
    tables = [generations_table(folder).markdown() for folder in folders]
    text = f"{_head(title, said)}{_evolutions(folders)}</body></html>\n"
    heading = [f"# {markdown_text(title)}\n", f"{markdown_text(said)}\n"]
    return _written({"report.md": "\n".join([*heading, *tables]), "report.html": text}, out)


def _evolutions(folders: list[Path]) -> str:
    """Returns tables and pictures of evolutions as HTML."""
    parts = []
    for folder in folders:
        picture = lineage_svg(folder, winner_of(folder))
        parts += [generations_table(folder).html(), _figure(f"Lineage of {folder.name}", picture, CAPTION)]
    return "".join(parts)


def _head(title: str, said: str) -> str:
    return (
        f"<!doctype html>\n<html lang=en><head><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style></head><body>"
        f"<h1>{html.escape(title)}</h1><p class=lead>{html.escape(said)}</p>"
    )


def _page(
    title: str,
    tables: list[Table],
    runs: list[RunResult],
    score: str,
    left_out: list[str],
    evolutions: list[Path],
) -> str:
    """Returns the page: no scripts, no addresses, images and films inside it."""
    figures = [_figure(name, svg, caption) for name, svg, caption in figures_of(runs, score)]
    films = [_film(path) for run in runs for path in sorted(run.folder.glob("*.mp4"))]
    *summaries, each = tables
    return (
        f"{_head(title, lead(runs))}"
        f"{''.join(f'<p class=note>{html.escape(line)}.</p>' for line in left_out)}"
        f"{''.join(table.html() for table in summaries)}<div class=figures>{''.join([*figures, *films])}</div>"
        f"{_evolutions(evolutions)}{each.html()}{_settings(runs)}</body></html>\n"
    )


def lead(runs: list[RunResult]) -> str:
    """Returns what a report is on, in a sentence."""
    algos, datasets = sorted({run.algo for run in runs}), sorted({run.dataset for run in runs})
    seeds = sorted({run.seed for run in runs if run.seed is not None})
    named = f" ({', '.join(algos)})" if len(algos) <= 8 else ""
    noted = f"; seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}" if seeds else ""
    return (
        f"{_count(len(runs), 'training run')} of {_count(len(algos), 'algorithm')}{named} on "
        f"{', '.join(datasets)}{noted}."
    )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _settings(runs: list[RunResult]) -> str:
    """Returns the hyperparameters of each group."""
    parts = []
    for (dataset, algo), (first, *_) in by_group(runs).items():
        held = ", ".join(f"{k} = {json.dumps(v)}" for k, v in first.hyperparameters.items() if k != "seed")
        if held:
            parts.append(f"<dt>{html.escape(f'{algo} on {dataset}')}</dt><dd>{html.escape(held)}</dd>")
    return f"<h2>Hyperparameters</h2><dl class=note>{''.join(parts)}</dl>" if parts else ""


def _figure(name: str, body: str, caption: str) -> str:
    return (
        f"<figure><h2>{html.escape(name)}</h2>{body}<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _film(path: Path) -> str:
    name = f"{path.parent.name}: {path.name}"
    try:
        check_inside(path)
    except FileFormatError as error:
        return _figure(name, "", f"The film is left out: {error}.")
    if not path.is_file():
        return ""
    if path.stat().st_size > FILM_BYTES:
        return _figure(name, "", f"The film is too large for the page: see {path}")
    data = base64.b64encode(path.read_bytes()).decode()
    return _figure(name, f"<video controls muted src='data:video/mp4;base64,{data}'></video>", "One episode.")
