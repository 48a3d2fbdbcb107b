"""Serve an exported policy over HTTP, refusing rows unlike its data, and measure how long an answer takes.

    offlinekit export RUN --format numpy --out ward.safetensors --dataset DATA    # its rule beside it
    python examples/serve.py serve ward.safetensors --port 8000
    python examples/serve.py client http://127.0.0.1:8000 --requests 500

    curl -s http://127.0.0.1:8000/schema
    curl -s -H 'Content-Type: application/json' http://127.0.0.1:8000/predict -d '{"observations": [[0.1, 0.2]]}'

Needs `pip install 'offlinekit[serve]'`. Put it behind a server that encrypts and knows who may call.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from offlinekit.core.sharing import SeenRows, card_of
from offlinekit.deploy import NumpyPolicy
from offlinekit.errors import FileFormatError
from offlinekit.types import leaves

MOST_ROWS = 1_000


class Request(BaseModel):
    """Rows to act on: a list of rows, of a table as objects with its columns; an object or a list of such for parts."""

    observations: Any
    legal_actions: list[list[int]] | None = None


class Answer(BaseModel):
    """What to do at a row; no action, and the reason, if the row is refused."""

    action: Any = None
    label: str | None = None
    distance: float | None = None
    refused: str | None = None


class Service:
    """A policy with the rule by which it refuses rows.

    Args:
        path: Of a policy in the numpy format; the rule and the card lie beside it.
        labels: Names of the actions, in order from the first one; None for those of the table that it learned from, if
            it did.

    Raises:
        SystemExit: Without the rule, and for another number of labels than the policy has actions.
    """

    def __init__(self, path: Path, labels: list[str] | None = None) -> None:
        self.policy = NumpyPolicy.load(path)
        self.table = self.policy.schema
        known = self.table.labels if self.table is not None and self.table.is_discrete else ()
        self.first = checked_start(self.policy, labels) if labels else 0
        self.labels = labels or (list(known[0]) if len(known) == 1 else None)
        try:
            seen = SeenRows.beside(path)
        except FileFormatError as error:
            raise SystemExit(str(error)) from error
        if seen is None:
            raise SystemExit(
                f"{path} has no rule of seen rows; export the policy with --dataset, so that rows can be refused"
            )
        card = card_of(path)
        self.seen, self.card = seen, card.read_text() if card.is_file() else ""

    def schema(self) -> dict[str, Any]:
        """Returns what a request holds and when a row is refused."""
        facts = {
            key: self.policy.description[key] for key in ("algorithm", "updates", "observations", "sha256")
        }
        table = None if self.table is None else self.table.to_json()
        return {
            **facts,
            "table": table,
            "labels": self.labels,
            "rule": str(self.seen),
            "most_rows": MOST_ROWS,
        }

    def predict(self, request: Request) -> list[Answer]:
        """Returns an answer for each row.

        Raises:
            HTTPException: 422 for observations that the policy does not take.
        """
        try:
            given = request.observations
            is_table = self.table is not None and self.table.is_table(given)
            space = self.policy.description["observations"]
            rows = self.table.encode(given) if self.table is not None and is_table else arrays(given, space)
            legal = None if request.legal_actions is None else np.asarray(request.legal_actions)
            n_rows = len(leaves(rows)[0])
            if n_rows > MOST_ROWS:
                raise ValueError(f"at most {MOST_ROWS} rows are taken at once, got {n_rows}")
            actions = self.policy.predict(rows, legal_actions=legal)
            distances = self.seen.distances(rows)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            raise HTTPException(422, str(error)) from error
        return [self._answer(action, float(d)) for action, d in zip(actions, distances, strict=True)]

    def _answer(self, action: Any, distance: float) -> Answer:
        shown = distance if np.isfinite(distance) else None
        if distance > self.seen.limit:
            why = f"{distance:.4g} standard deviations from the nearest row of the data, at most {self.seen.radius:.4g}"
            return Answer(distance=shown, refused=why)
        return Answer(action=action.tolist(), label=self._label(action), distance=shown)

    def _label(self, action: Any) -> str | None:
        """Returns the name of an action, those of its parts in a row; None without names."""
        if self.labels is not None and np.ndim(action) == 0:
            return self.labels[int(action) - self.first]
        if self.table is None or not self.table.is_discrete:
            return None
        return ", ".join(np.atleast_1d(self.table.decode(action)))


def checked_start(policy: NumpyPolicy, labels: list[str]) -> int:
    """Returns the number of the first action, if there are as many labels as actions."""
    space = policy.description.get("actions")
    if space is None:
        raise SystemExit(
            "the file does not say what its actions are; export the policy again to name them by --labels"
        )
    if space["kind"] != "discrete" or "sizes" in space:
        raise SystemExit(
            f"--labels names the actions of one discrete choice, got actions {space}; leave it out"
        )
    if len(labels) != space["n"]:
        raise SystemExit(
            f"--labels must name each of the {space['n']} actions in order, got {len(labels)}: {', '.join(labels)}"
        )
    return int(space.get("start", 0))


def arrays(given: Any, space: dict[str, Any]) -> Any:
    """Returns observations of JSON as arrays, lists of parts as tuples where the policy sees tuples.

    Raises:
        ValueError: For another structure, and for numbers that float64 cannot hold.
    """
    if space["kind"] == "dict":
        parts = {str(key): part for key, part in space["items"] if key != "legal_actions"}
        if not isinstance(given, dict) and parts.keys() == {"observations"}:
            return arrays(given, parts["observations"])
        if not isinstance(given, dict) or given.keys() - {"legal_actions"} != parts.keys():
            raise ValueError(
                f"observations must be an object with the keys {sorted(parts)}, each a list of rows"
            )
        legal = {"legal_actions": np.asarray(given["legal_actions"])} if "legal_actions" in given else {}
        return {key: arrays(given[key], part) for key, part in parts.items()} | legal
    if space["kind"] == "tuple":
        parts = [part for _, part in space["items"]]
        if not isinstance(given, list) or len(given) != len(parts):
            raise ValueError(f"observations must be a list of {len(parts)} parts, each a list of rows")
        return tuple(arrays(one, part) for one, part in zip(given, parts, strict=True))
    shape = ["rows", *space["shape"]]
    if not isinstance(given, list):
        raise ValueError(f"observations must be a list of rows {shape}, got {given!r:.100}")
    try:
        array = np.asarray(given, np.float64)
    except OverflowError as error:
        raise ValueError("observations must be numbers that float64 can hold, got a larger one") from error
    if array.ndim == len(space["shape"]):
        raise ValueError(
            f"observations must have shape {shape}, a list of rows, got {list(array.shape)}; put one row in a list"
        )
    return array


def application(service: Service) -> FastAPI:
    """Returns the HTTP API of a service: /schema, /card and /predict."""
    app = FastAPI(title=f"{service.policy.description['algorithm']} by offlinekit")
    app.get("/schema")(service.schema)
    app.get("/card")(lambda: {"card": service.card})
    app.post("/predict", response_model=list[Answer])(service.predict)
    return app


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    """Returns what the service answers to a GET, or to a POST of a body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def zeros(space: dict[str, Any]) -> Any:
    """Returns one row of observations of zeros, without legal actions."""
    if space["kind"] == "leaf":
        return np.zeros([1, *space["shape"]]).tolist()
    if space["kind"] == "tuple":
        return [zeros(part) for _, part in space["items"]]
    return {key: zeros(part) for key, part in space["items"] if key != "legal_actions"}


def measure(url: str, n_requests: int = 500) -> list[float]:
    """Prints how long one row takes from here to the service and back, and returns the milliseconds."""
    observed = call(f"{url}/schema")["observations"]
    row = zeros(observed)
    parts = dict(observed.get("items", []))
    if "legal_actions" in parts:
        row = row["observations"] if parts.keys() == {"observations", "legal_actions"} else row
    body: dict[str, Any] = {"observations": row}
    if "legal_actions" in parts:
        body["legal_actions"] = [[1] * parts["legal_actions"]["shape"][0]]
    times = []
    for _ in range(n_requests):
        begin = time.perf_counter()
        call(f"{url}/predict", body)
        times.append(1e3 * (time.perf_counter() - begin))
    times.sort()
    late = times[int(0.99 * len(times))]
    print(
        f"{n_requests} requests of one row: median {statistics.median(times):.2f} ms, 99% within {late:.2f} ms"
    )
    return times


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_subparsers(dest="mode", required=True)
    serve = modes.add_parser("serve", help="answer over HTTP")
    serve.add_argument("policy", type=Path)
    serve.add_argument("--labels", help="names of the actions, by commas")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8000)
    client = modes.add_parser("client", help="measure how long answers take")
    client.add_argument("url")
    client.add_argument("--requests", type=int, default=500)
    given = parser.parse_args(arguments)
    if given.mode == "client":
        measure(given.url.rstrip("/"), given.requests)
        return
    service = Service(given.policy, given.labels.split(",") if given.labels else None)
    uvicorn.run(application(service), host=given.host, port=given.port, log_level="warning", ws="none")


if __name__ == "__main__":
    main()
