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
    """Rows to act on: a list of rows, of a table as objects with its columns; a dict of such for dict observations."""

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
        labels: Names of the actions, in order; None for those of the table that it learned from, if it did.
    """

    def __init__(self, path: Path, labels: list[str] | None = None) -> None:
        self.policy = NumpyPolicy.load(path)
        self.table = self.policy.schema
        known = self.table.labels if self.table is not None and self.table.is_discrete else ()
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
            rows = self.table.encode(given) if self.table is not None and is_table else _arrays(given)
            legal = None if request.legal_actions is None else np.asarray(request.legal_actions)
            n_rows = len(leaves(rows)[0])
            if n_rows > MOST_ROWS:
                raise ValueError(f"at most {MOST_ROWS} rows are taken at once, got {n_rows}")
            actions = self.policy.predict(rows, legal_actions=legal)
            distances = self.seen.distances(rows)
        except (ValueError, TypeError, IndexError) as error:
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
            return self.labels[int(action)]
        if self.table is None or not self.table.is_discrete:
            return None
        return ", ".join(np.atleast_1d(self.table.decode(action)))


def _arrays(observations: Any) -> Any:
    if isinstance(observations, dict):
        return {key: _arrays(part) for key, part in observations.items()}
    return np.asarray(observations, np.float32)


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
    """Returns an observation of zeros, all actions legal."""
    if space["kind"] == "leaf":
        return np.zeros(space["shape"]).tolist()
    return {key: zeros(part) for key, part in space["items"] if key != "legal_actions"}


def measure(url: str, n_requests: int = 500) -> list[float]:
    """Prints how long one row takes from here to the service and back, and returns the milliseconds."""
    observed = call(f"{url}/schema")["observations"]
    row = zeros(observed)
    parts = dict(observed.get("items", []))
    if "legal_actions" in parts:
        row = row["observations"] if parts.keys() == {"observations", "legal_actions"} else row
    rows = {key: [part] for key, part in row.items()} if isinstance(row, dict) else [row]
    body: dict[str, Any] = {"observations": rows}
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
