"""Learning curves: reading, grouping, averaging over seeds, and the figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.errors import FileFormatError
from offlinekit.metrics import plot_learning_curves
from offlinekit.metrics.reporting.curves import behaviour_return, dataset_name, read_column, read_curves
from offlinekit.metrics.reporting.plots import _limits


def write_run(
    folder: Path, points: dict[int, Any], algo: str = "CQL", dataset: Any = "cart", **config: Any
) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"algo": algo, "dataset": dataset, **config}))
    lines = [f"{step},{step / 10},{value}" for step, value in points.items()]
    (folder / "metrics.csv").write_text("\n".join(["step,time,eval/return_mean", *lines]) + "\n")
    return folder


def test_rows_without_a_measurement_are_left_out_and_a_repeated_step_keeps_the_last(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {200: 2.0, 100: "", 300: 3.0})
    with (run / "metrics.csv").open("a") as file:
        file.write("200,21.0,2.5\n")
    x, y = read_column(run, "step", "eval/return_mean")
    np.testing.assert_array_equal(x, [200, 300])
    np.testing.assert_array_equal(y, [2.5, 3.0])
    np.testing.assert_array_equal(read_column(run / "metrics.csv", "time", "step")[0], [10, 20, 21, 30])


def test_runs_are_grouped_by_algorithm_and_dataset(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / "a", {1: 1.0}),
        write_run(tmp_path / "b", {1: 2.0}),
        write_run(tmp_path / "c", {1: 3.0}, algo="BC"),
    ]
    curves = read_curves(runs)
    assert [(curve.label, curve.y.tolist()) for curve in curves] == [("CQL", [[1.0], [2.0]]), ("BC", [[3.0]])]
    other = write_run(tmp_path / "d", {1: 4.0}, dataset="pend")
    assert [curve.label for curve in read_curves([*runs, other])] == ["CQL, cart", "BC, cart", "CQL, pend"]
    assert [curve.label for curve in read_curves({"mine": runs})] == ["mine"]


def test_the_return_of_the_data_is_known_where_all_runs_agree(tmp_path: Path) -> None:
    data = {"name": "cart", "source": "cart.npz"}
    first = write_run(tmp_path / "a", {1: 1.0}, dataset=data, behaviour_return=63)
    second = write_run(tmp_path / "b", {1: 1.0}, algo="BC", dataset=data, behaviour_return=63)
    assert dataset_name([first, second]) == "cart"
    assert behaviour_return([first, second]) == 63
    assert behaviour_return([first, write_run(tmp_path / "c", {1: 1.0}, behaviour_return=20)]) is None
    assert behaviour_return([write_run(tmp_path / "d", {1: 1.0})]) is None


def test_a_table_without_config_is_labelled_by_its_folder(tmp_path: Path) -> None:
    run = write_run(tmp_path / "old", {1: 1.0})
    (run / "config.json").unlink()
    assert read_curves([run / "metrics.csv"])[0].label == "old"


def test_seeds_measured_at_other_steps_are_interpolated_where_all_have_data(tmp_path: Path) -> None:
    # Common stretch 10..30; the second line goes 0 at 10 to 20 at 30, so 10 at 20.
    runs = [
        write_run(tmp_path / "a", {0: 5, 10: 1, 20: 2, 30: 3}),
        write_run(tmp_path / "b", {10: 0, 30: 20}),
    ]
    (curve,) = read_curves(runs)
    np.testing.assert_array_equal(curve.x, [10, 20, 30])
    np.testing.assert_array_equal(curve.y, [[1, 2, 3], [0, 10, 20]])


def test_band_is_the_standard_error_or_the_range() -> None:
    # 1, 2, 6: mean 3, standard error sqrt(7 / 3).
    y = np.array([[1.0], [2.0], [6.0]])
    low, high = _limits(y, "standard_error")
    np.testing.assert_allclose([low[0], high[0]], [3 - (7 / 3) ** 0.5, 3 + (7 / 3) ** 0.5])
    low, high = _limits(y, "range")
    assert (low[0], high[0]) == (1, 6)


def test_the_interval_is_students() -> None:
    # 1, 2, 6: mean 3, standard error sqrt(7 / 3); t of two degrees of freedom 4.3027.
    low, high = _limits(np.array([[1.0], [2.0], [6.0]]), "interval")
    np.testing.assert_allclose(
        [low[0], high[0]], [3 - 4.3027 * (7 / 3) ** 0.5, 3 + 4.3027 * (7 / 3) ** 0.5], rtol=1e-4
    )


def figure_of(runs: list[Path], x: str, theme: str) -> Any:
    from offlinekit.metrics.reporting.plots import draw_curves
    from offlinekit.metrics.reporting.themes import get_theme

    return draw_curves(
        read_curves(runs, x), x, "eval/return_mean", {"data": 1.0}, "interval", get_theme(theme), ""
    )


def test_wall_time_is_written_in_a_fitting_unit(tmp_path: Path) -> None:
    # Steps / 10 are seconds: 600, 36,000.
    minutes = figure_of([write_run(tmp_path / "a", {0: 1, 6_000: 2})], "time", "screen").axes[0]
    hours = figure_of([write_run(tmp_path / "b", {0: 1, 360_000: 2})], "time", "screen").axes[0]
    assert minutes.get_xlabel() == "wall time (minutes)"
    assert minutes.xaxis.get_major_formatter()(600) == "10"
    assert hours.get_xlabel() == "wall time (hours)"
    assert hours.xaxis.get_major_formatter()(5_400) == "1.5"


def test_in_print_curves_differ_by_line_style_and_greys_are_grey(tmp_path: Path) -> None:
    from matplotlib.colors import to_rgb

    runs = [write_run(tmp_path / f"{a}{i}", {0: i, 9: 1}, algo=a) for a in ("A", "B", "C") for i in range(2)]
    for theme in ("paper", "grey"):
        lines = [
            line
            for line in figure_of(runs, "step", theme).axes[0].lines
            if "(2 runs)" in str(line.get_label())
        ]
        assert len({str(line._unscaled_dash_pattern) for line in lines}) == 3  # type: ignore[attr-defined]
        assert len({line.get_marker() for line in lines}) == 3
    assert all(len(set(to_rgb(line.get_color()))) == 1 for line in lines)
    with pytest.raises(ValueError, match=r"theme must be one of .*got 'papper'; did you mean 'paper'"):
        plot_learning_curves(runs, tmp_path / "c.png", theme="papper")


def test_figure_is_written_and_leaves_no_trace_in_pyplot(tmp_path: Path) -> None:
    import sys

    runs = [write_run(tmp_path / f"{i}", {0: 1.0 + i, 10: 2.0 * i}) for i in range(3)]
    path = plot_learning_curves(runs, tmp_path / "figures" / "curve.png", baselines={"behaviour": 1.5})
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [entry.name for entry in path.parent.iterdir()] == ["curve.png"]
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    svg = plot_learning_curves({"mine": runs}, tmp_path / "curve.svg", band="range", title="A title")
    assert "<svg" in svg.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"y": "eval/return_men"},
            r"no column 'eval/return_men'; did you mean 'eval/return_mean'\?",
        ),
        ({"x": "epoch"}, "no column 'epoch'; it has: step, time, eval/return_mean"),
        ({"band": "sd"}, "band must be one of 'standard_error', 'interval', 'range', got 'sd'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {1: 1.0})
    with pytest.raises(ValueError, match=message):
        plot_learning_curves([run], tmp_path / "curve.png", **arguments)
    assert not (tmp_path / "curve.png").exists()


def test_runs_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {1: "oops"})
    with pytest.raises(FileFormatError, match=r"metrics.csv is damaged: expected a number, got 'oops'"):
        read_curves([run])
    with pytest.raises(ValueError, match="holds no value of 'eval/return_mean' yet"):
        read_curves([write_run(tmp_path / "empty", {1: ""})])
    with pytest.raises(FileNotFoundError, match="expected a run folder with"):
        read_curves([tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="at least one run"):
        read_curves([])
    apart = [write_run(tmp_path / "early", {1: 1, 2: 2}), write_run(tmp_path / "late", {5: 1, 6: 2})]
    with pytest.raises(ValueError, match="'CQL' have no common stretch"):
        read_curves(apart)
    (run / "config.json").write_text("{")
    with pytest.raises(FileFormatError, match="is not JSON"):
        read_curves([run])
    (run / "config.json").write_text("[]")
    with pytest.raises(FileFormatError, match=r"is not (of a run|the config of a run)"):
        read_curves([run])


def test_wall_time_puts_each_step_at_its_mean_time(tmp_path: Path) -> None:
    # Steps at time / 10: of the first run 10, 20 s; of the second, twice as slow, 20, 40 s.
    runs = [write_run(tmp_path / "a", {100: 1, 200: 3}), write_run(tmp_path / "b", {100: 2, 200: 5})]
    table = runs[1] / "metrics.csv"
    table.write_text(table.read_text().replace("100,10.0", "100,20.0").replace("200,20.0", "200,40.0"))
    (curve,) = read_curves(runs, "time")
    np.testing.assert_array_equal(curve.x, [15, 30])
    np.testing.assert_array_equal(curve.y, [[1, 3], [2, 5]])


@pytest.mark.parametrize("name", ["screen", "paper", "grey"])
def test_no_two_of_forty_curves_look_alike(name: str) -> None:
    from offlinekit.metrics.reporting.themes import get_theme, marker

    looks = {(str(get_theme(name).line(i)), marker(i)) for i in range(40)}
    assert len(looks) == 40
    assert len({str(get_theme(name).line(i)) for i in range(40)}) == 40


def test_a_long_legend_leaves_the_axes_their_height(tmp_path: Path) -> None:
    heights = []
    for n in (2, 20):
        runs = [write_run(tmp_path / f"{n} {i}", {0: i, 9: 1}, algo=f"algorithm{i}") for i in range(n)]
        figure = figure_of(runs, "step", "screen")
        figure.draw_without_rendering()
        heights.append(figure.axes[0].get_position().height * figure.get_figheight())
    assert heights[1] > 0.8 * heights[0]


def test_an_algorithm_has_the_colour_of_its_place(tmp_path: Path) -> None:
    from offlinekit.metrics.reporting.plots import draw_curves
    from offlinekit.metrics.reporting.themes import COLOURS, get_theme

    curves = read_curves([write_run(tmp_path / "a", {0: 1, 9: 1}, algo="IQL")])
    figure = draw_curves(curves, "step", "eval/return_mean", {}, None, get_theme("screen"), "", ["BC", "IQL"])
    assert figure.axes[0].lines[0].get_color() == COLOURS[1]


def test_settings_that_differ_are_in_the_label(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / f"{tau}", {1: 1.0}, hyperparameters={"tau": tau, "seed": 10 * tau})
        for tau in (0.1, 0.2)
    ]
    assert [curve.label for curve in read_curves(runs)] == ["CQL, tau=0.1", "CQL, tau=0.2"]
    assert [curve.label for curve in read_curves(runs[:1])] == ["CQL"]
