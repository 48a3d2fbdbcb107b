"""A clinic whose truth is known: a decision process, and the messy table that its staff wrote.

Patients have a fever of six grades and may be allergic. At each visit they wait, take tablets or get an infusion;
tablets are not given to the allergic, and infusions not to those whose fever is mild. Every grade costs a point a
visit, an infusion two more, tablets a half. Well patients leave with 10 points; a fever beyond grade 5 ends the
stay with -20.

    python examples/clinic.py clinic.csv       # the table
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas

TREATMENTS = ("wait", "tablets", "infusion")
COSTS = (0.0, 0.5, 2.0)
GRADES = ("none", "mild", "raised", "high", "severe", "critical")
CHANGES = (-2, -1, 0, 1)
CHANCES = np.array([[0.0, 0.15, 0.45, 0.4], [0.05, 0.5, 0.3, 0.15], [0.5, 0.35, 0.1, 0.05]])
"""Of each change of the grade, by treatment."""
ALLERGIC = 0.3
LONGEST = 12
"""Visits after which a patient is sent elsewhere, whatever the fever."""
GAMMA = 0.95

Choose = Callable[[list[dict[str, Any]]], Any]
"""Rows of the table -> treatments, by their labels."""


def allowed(grade: int, allergic: bool) -> tuple[bool, bool, bool]:
    """Returns which treatments are possible."""
    return True, not allergic, grade >= 2


def behaviour(grade: int, allergic: bool, rng: np.random.Generator) -> str:
    """Returns what the staff do: they wait too often, and spare infusions."""
    wishes = np.array([0.5, 0.35, 0.15]) * allowed(grade, allergic)
    return str(rng.choice(TREATMENTS, p=wishes / wishes.sum()))


def observed(grade: int, allergic: bool, visit: int, ward: str, rng: np.random.Generator) -> dict[str, Any]:
    """Returns a row as it is written down: labels, texts, and a temperature that is forgotten now and then."""
    temperature = f"{36.8 + 0.6 * grade + rng.normal(0, 0.15):.1f}" if rng.random() > 0.1 else ""
    may = dict(zip((f"may {t}" for t in TREATMENTS), allowed(grade, allergic), strict=True))
    flags = {name: "yes" if possible else "no" for name, possible in may.items()}
    row = {"visit": visit, "fever": GRADES[grade], "temperature": temperature, "ward": ward}
    return {**row, "allergic": "yes" if allergic else "no", **flags}


def stays(n_patients: int, choose: Choose | None, seed: int) -> Iterator[list[dict[str, Any]]]:
    """Yields all patients' rows at each visit, side by side; None chooses as the staff do.

    Args:
        n_patients: How many begin.
        choose: Treatments by their labels, for the rows of all that are still there.
        seed: Of the patients and their luck.
    """
    rng = np.random.default_rng(seed)
    grades = rng.integers(1, 6, n_patients)
    allergic, wards = rng.random(n_patients) < ALLERGIC, rng.choice(["north", "south", "annex"], n_patients)
    here = np.arange(n_patients)
    for visit in range(LONGEST):
        rows = [observed(int(grades[i]), bool(allergic[i]), visit, wards[i], rng) for i in here]
        if choose is None:
            labels = [behaviour(int(grades[i]), bool(allergic[i]), rng) for i in here]
        else:
            labels = [str(label) for label in choose(rows)]
        staying = []
        for i, row, label in zip(here, rows, labels, strict=True):
            action = TREATMENTS.index(label)
            if not allowed(int(grades[i]), bool(allergic[i]))[action]:
                raise ValueError(f"{label} is not allowed for {row}")
            grade = int(grades[i]) + int(rng.choice(CHANGES, p=CHANCES[action]))
            points = -float(grades[i]) - COSTS[action] + 10.0 * (grade <= 0) - 20.0 * (grade > 5)
            over = grade <= 0 or grade > 5
            row |= {"patient": int(i), "treatment": label, "points": round(points, 2)}
            row |= {
                "left": "yes" if over else "no",
                "moved": "yes" if visit == LONGEST - 1 and not over else "no",
            }
            grades[i] = grade
            staying += [] if over else [i]
        yield rows
        here = np.array(staying, int)
        if not len(here):
            return


def table(n_patients: int, seed: int = 0) -> pandas.DataFrame:
    """Returns what the staff wrote about patients who came one after another, by date."""
    frame = pandas.DataFrame([row for rows in stays(n_patients, None, seed) for row in rows])
    first = pandas.Timestamp("2023-01-02 08:00")
    dates = first + pandas.to_timedelta(frame["patient"], "h") + pandas.to_timedelta(6 * frame["visit"], "h")
    frame.insert(0, "date", dates.dt.strftime("%d.%m.%Y %H:%M"))
    return frame.sort_values(["patient", "visit"]).drop(columns="visit").reset_index(drop=True)


def true_value(choose: Choose | None, n_patients: int = 2_000, seed: int = 1) -> tuple[float, float]:
    """Returns the mean discounted points of a stay, by playing it, and its standard error; None is the staff."""
    totals = np.zeros(n_patients)
    for visit, rows in enumerate(stays(n_patients, choose, seed)):
        for row in rows:
            totals[row["patient"]] += GAMMA**visit * row["points"]
    return float(totals.mean()), float(totals.std() / np.sqrt(n_patients))


def best_treatments() -> dict[tuple[str, str], str]:
    """Returns the best treatment of each fever and allergy, by iterating values of the true process."""
    values = np.zeros((6, 2))
    for _ in range(500):
        outcomes = {key: _outcomes(*key, values) for key in np.ndindex(6, 2)}
        values = np.array([[max(outcomes[grade, sick]) for sick in range(2)] for grade in range(6)])
    return {
        (GRADES[grade], ("no", "yes")[sick]): TREATMENTS[int(np.argmax(outcomes[grade, sick]))]
        for grade, sick in outcomes
    }


def _outcomes(grade: int, allergic: int, values: np.ndarray) -> list[float]:
    """Returns the value of each treatment, minus infinity for one that is not allowed."""
    found = []
    for action, possible in enumerate(allowed(grade, bool(allergic))):
        value = -grade - COSTS[action]
        for change, chance in zip(CHANGES, CHANCES[action], strict=True):
            later = grade + change
            known = 10.0 if later <= 0 else -20.0 if later > 5 else GAMMA * values[later, allergic]
            value += chance * known
        found.append(value if possible else -np.inf)
    return found


def best(rows: list[dict[str, Any]]) -> list[str]:
    """Returns the best treatments of rows, as only who knows the truth can."""
    known = best_treatments()
    return [known[row["fever"], row["allergic"]] for row in rows]


if __name__ == "__main__":
    table(1_000).to_csv(sys.argv[1], index=False)
