"""Reports of evolutions name the members that the runs ranked first."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from offlinekit.errors import FileFormatError
from offlinekit.metrics.reporting import lineage_figures
from offlinekit.metrics.reporting.lineage import Lineage, LineageRow
from offlinekit.metrics.reporting.lineage_tables import generations_table


def row(generation, member, fitness):
    parent = None if generation == 1 else member
    return LineageRow(generation, member, parent, "", fitness, fitness, 0.1, "", 5 * generation, "relu 8")


@pytest.fixture
def folder(tmp_path):
    """Member 0 has the mean of 9 and 2, member 1 that of 1 and 3."""
    Lineage([row(1, 0, 9.0), row(1, 1, 1.0), row(2, 0, 2.0), row(2, 1, 3.0)]).write(tmp_path)
    (tmp_path / "evolution.json").write_text(json.dumps({"scheduler": {"name": "PBT", "average": 2}}))
    return tmp_path


def test_the_best_members_are_those_of_the_averages_of_the_run(folder, monkeypatch):
    drawn = []

    def draw(lineage, winner):
        drawn.append(winner)
        return SimpleNamespace(savefig=lambda file, **_: file.write("<svg/>"))

    monkeypatch.setattr(lineage_figures, "draw_lineage", draw)
    for average, best in (({"average": 2}, 0), ({"average": 1}, 1), ({}, 1)):
        (folder / "evolution.json").write_text(json.dumps({"scheduler": average}))
        assert [line[1] for line in generations_table(folder).rows] == ["0", str(best)]
        lineage_figures.lineage_svg(folder)
        assert drawn.pop() == best
    lineage_figures.lineage_svg(folder, 1)
    assert drawn == [1]  # A winner that was judged stands.
    (folder / "evolution.json").unlink()  # Of a lineage alone.
    assert generations_table(folder).rows[1][1] == "1"


@pytest.mark.parametrize(
    "text", ["[", "[]", '{"scheduler": {"average": 0}}', '{"scheduler": {"average": "2"}}']
)
def test_a_damaged_file_is_told(folder, text):
    (folder / "evolution.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"evolution\.json is damaged"):
        generations_table(folder)
