"""Policy cards: what a policy is, what it learned from, what it is worth and where it ends, for people."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import TypedDict, Unpack

from offlinekit.core.sharing.beside import card_path, remove_outdated, rule_path
from offlinekit.core.sharing.seen_rows import SeenRows, is_image_tree
from offlinekit.datasets.download import sha256_of
from offlinekit.datasets.fingerprint import fingerprint
from offlinekit.envs.legal_actions import has_legal_actions, space_of_rest
from offlinekit.errors import FileFormatError
from offlinekit.io import atomic_write
from offlinekit.training import run_folder
from offlinekit.training.policy_file import hash_of_networks
from offlinekit.training.run_config import Check, is_object, is_text, is_whole, read

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.datasets import MDPDataset

ESTIMATES = "ope.json"
"""File of a run folder with the off-policy estimates of its policy."""
POLICY = "policy_sha256"
"""Entry of that file: hash of the networks that they are of."""
NO_ESTIMATES = (
    "No off-policy estimate was recorded. Make one on episodes that it has not learned from, then export again: "
    "`offlinekit ope RUN --dataset HELD_OUT`."
)
OF_ANOTHER = (
    "The estimates that the run folder holds are of another of its policies{}, and left out. Make them anew: "
    "`offlinekit ope RUN --dataset HELD_OUT`, with the same `--which` as the export."
)
UNKNOWN_POLICY = "an earlier version made the estimates and did not note of which policy of the run"
NO_USE = "Not stated. State it with `intended_use=` (`--intended-use`) before others use the policy."
OFFLINE = (
    "It has learned from recorded data alone. What it does at observations unlike these data is not known."
)
ONLINE = (
    "It has acted and learned in an environment{}. What it does at observations unlike those that it met is not known, "
    "nor what it does elsewhere."
)
ACTING = ("n_envs", "mixing", "updates_per_step", "random_steps", "exploration", "noise", "epsilon")
"""Settings of an online run that a card states."""
LIMITS = (
    "Estimates of its value are those of the recorded population; another population may differ.",
    "It returns an action for every row it is given. Who serves it has to refuse rows unlike the data.",
    "It was tested by nobody but those named here; where people may be harmed, a person decides.",
)


class Reported(Protocol):
    """Off-policy estimates, such as the `Report` of `offlinekit.metrics.ope.estimate`."""

    def to_json(self) -> Mapping[str, Any]:
        """Returns them as plain data."""


class CardFacts(TypedDict, total=False):
    """What a card says beside what the policy itself holds.

    Attributes:
        dataset: What it learned from: for a hash where no run folder has one, and for the rule of seen rows.
        report: Off-policy estimates; None takes those of this policy that `offlinekit ope` left in the run folder.
        intended_use: By whom, for what and where; a paragraph.
        run: Folder of the run that it learned in; None is that of the algorithm's last `fit`.
    """

    dataset: MDPDataset | None
    report: Reported | None
    intended_use: str | None
    run: Path | None


def write_card(path: Path, algo: Algo, **facts: Unpack[CardFacts]) -> Path:
    """Writes the card of a policy file, and given its dataset the rule of seen rows, beside it.

    Args:
        path: Of the policy file, such as policy.onnx.
        algo: The policy itself.
        facts: Those of `CardFacts`.

    Returns:
        The path of the card, such as policy.onnx.md. A rule of the file that was there before is removed.
    """
    dataset, run = facts.get("dataset"), facts.get("run") or algo.run_dir
    config = run_folder.read_config(run) if run is not None and (run / "config.json").is_file() else {}
    given = facts.get("report")
    estimates = _recorded(run, algo) if given is None else _estimates(given.to_json())
    limits, use = [_learned_from(algo, config), *LIMITS], facts.get("intended_use")
    has_rule = dataset is not None and not is_image_tree(dataset.observations)
    if dataset is not None and has_rule:
        seen = SeenRows.of(dataset)
        limits.append(f"Rule of `{seen.save(rule_path(path), path).name}`: {seen}.")
    parts = [
        _front_matter(algo),
        f"# {type(algo).__name__} on {_cell(algo.dataset_name)}",
        algo.summary(),
        _section("File", _table(_file(path))),
        _section("Policy", _table(_policy(algo))),
        _section("Data", _table(_data(algo, config, dataset, run))),
        _section("Settings", _table(_settings(algo, config))),
        _section("Estimated value", estimates),
        _section("Intended use", use.strip() if use else NO_USE),
        _section("Limits", "\n".join(f"- {limit}" for limit in limits)),
    ]
    card = card_path(path)
    with atomic_write(card) as beside:
        beside.write_text("\n\n".join(parts) + "\n")
    remove_outdated(path, has_rule=has_rule)
    return card


def _recorded(run: Path | None, algo: Algo) -> str:
    """Returns what a card says of the estimates that a run folder holds, if they are of this policy."""
    if run is None or not (run / ESTIMATES).is_file():
        return NO_ESTIMATES
    entries: dict[str, tuple[Check, str]] = {
        "estimates": (is_object, "an object"),
        POLICY: (is_text, "a hash"),
    }
    report = read(run / ESTIMATES, entries)
    if report.get(POLICY) is None:
        report = {**report, "warnings": [*report.get("warnings", ()), UNKNOWN_POLICY]}
    elif report[POLICY] != hash_of_networks(algo.impl):
        updates = report.get("updates")
        return OF_ANOTHER.format(f", of {updates:,} updates" if is_whole(updates) else "")
    return _estimates(report)


def _file(path: Path) -> list[tuple[str, str]]:
    return [
        ("name", path.name),
        ("bytes", f"{path.stat().st_size:,}"),
        ("SHA-256", f"`{sha256_of(path)}`"),
    ]


def _front_matter(algo: Algo) -> str:
    """Returns what hubs read of a card: YAML."""
    tags = ["reinforcement-learning", "offline-reinforcement-learning", type(algo).__name__]
    return f"---\nlibrary_name: offlinekit\ntags: {json.dumps(tags)}\n---"


def _policy(algo: Algo) -> list[tuple[str, str]]:
    from offlinekit.version import __version__

    observed, acted = algo.impl.observation_space, algo.impl.action_space
    legal = "needed with each row" if has_legal_actions(observed) else "none: every action is always allowed"
    return [
        ("algorithm", f"{type(algo).__name__} ({algo.paper})" if algo.paper else type(algo).__name__),
        ("updates", f"{algo.grad_step:,}"),
        ("observations", str(space_of_rest(observed))),
        ("actions", str(acted)),
        *([("legal actions", legal)] if algo.action_kind == "discrete" else []),
        ("written by", f"offlinekit {__version__}"),
    ]


def _is_online(algo: Algo, config: Mapping[str, Any]) -> bool:
    """Returns whether its run was one in an environment, or the algorithm itself has played without a folder."""
    return bool(config.get("online")) if config else algo.experience is not None


def _known(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a run noted of its recorded data."""
    known = config.get("dataset") or {}
    return known if isinstance(known, dict) else {"name": known}


def _learned_from(algo: Algo, config: Mapping[str, Any]) -> str:
    if not _is_online(algo, config):
        return OFFLINE
    return ONLINE.format(", beside recorded data" if _known(config).get("hash") else "")


def _data(
    algo: Algo, config: Mapping[str, Any], dataset: MDPDataset | None, run: Path | None
) -> list[tuple[str, str]]:
    known, is_online = _known(config), _is_online(algo, config)
    digest = known.get("hash") or (None if dataset is None else fingerprint(dataset))
    returned = config.get("behaviour_return")
    without = "not recorded: it learned without a run folder; pass dataset="
    if is_online:
        without = "none: the run had no recorded data, it learned from what it played"
    elif config:
        without = "not recorded in the run folder; pass dataset="
    return [
        ("name", str(known.get("name") or algo.dataset_name)),
        *([("source", str(known["source"]))] if known.get("source") else []),
        ("hash", f"`{digest}`" if digest else without),
        *([("mean return of the data", f"{returned:.6g}")] if returned is not None else []),
        *([("rows", f"{len(dataset):,} in {dataset.n_episodes:,} episodes")] if dataset is not None else []),
        *(_online(algo, config, run) if is_online else []),
    ]


def _online(algo: Algo, config: Mapping[str, Any], run: Path | None) -> list[tuple[str, str]]:
    """Returns where and how long a policy has acted while it learned."""
    environment = (
        config.get("env_note")
        or config.get("env_id")
        or config.get("online")
        or "not recorded: it learned without a run folder"
    )
    played = None if algo.experience is None else f"{len(algo.experience):,} rows"
    n_steps = config.get("n_steps")
    where = "" if run is None else f"; rows in `experience` of the run folder `{run.name}`"
    steps = f"{n_steps:,} environment steps" if isinstance(n_steps, int) else played
    return [("environment", str(environment)), ("online experience", f"{steps or 'not recorded'}{where}")]


def _settings(algo: Algo, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    drawn = " (drawn)" if algo.seed_was_drawn and not config else ""
    steps = str(config.get("n_steps", algo.grad_step))
    is_online = bool(config.get("online"))
    rows = [
        ("seed", f"{algo.seed}{drawn}"),
        ("n_steps", f"{steps} of the environment" if is_online else steps),
        *((name, json.dumps(config[name])) for name in ACTING if is_online and name in config),
    ]
    return rows + [
        (name, json.dumps(value)) for name, value in algo.config.items() if name not in ("seed", "device")
    ]


def _estimates(report: Mapping[str, Any]) -> str:
    """Returns estimates with their intervals and every warning.

    Raises:
        FileFormatError: For a file that is none of estimates.
    """
    try:
        return _estimate_table(report)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileFormatError(
            f"{ESTIMATES} holds no off-policy estimates ({error!r}); make it anew with offlinekit ope"
        ) from error


def _estimate_table(report: Mapping[str, Any]) -> str:
    lines = ["| estimator | value | interval | of the return | warnings |", "|---|---|---|---|---|"]
    for name, estimate in report["estimates"].items():
        low, high = estimate["interval"]
        between = f"{_number(low)} to {_number(high)} ({estimate['confidence']:.0%})"
        warned = "; ".join(estimate["warnings"]) or "none"
        cells = (name, _number(estimate["value"]), between, estimate["estimand"], warned)
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    facts = [(key, str(report[key])) for key in ("dataset", "policy", "gamma", "support") if key in report]
    behaviour = [("mean return of these data", _number(report["behaviour_value"]))]
    warnings = [f"- **Warning:** {_cell(warning)}." for warning in report.get("warnings", ())]
    return "\n".join([_table([*facts, *behaviour]), "", *lines, *([""] if warnings else []), *warnings])


def _number(value: float | None) -> str:
    return "none" if value is None or math.isnan(value) else f"{value:.4g}"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = ["| | |", "|---|---|", *(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows)]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Returns a text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
