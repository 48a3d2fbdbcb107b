"""`offlinekit algos`: the catalogue of algorithms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from offlinekit.cli.options import (
    SETTINGS,
    complete_algos,
    complete_datasets,
    debug_option,
    example,
    reader_options,
    usage,
)
from offlinekit.cli.output import pairs, table

if TYPE_CHECKING:
    from offlinekit.core.presets import Preset


@click.command(
    context_settings=SETTINGS,
    epilog=example("offlinekit algos", "offlinekit algos td3+bc", "offlinekit algos --for hopper-medium-v2"),
)
@click.argument("name", required=False, shell_complete=complete_algos)
@click.option(
    "--for",
    "dataset",
    help="Dataset, by name or path: where to begin, and why.",
    shell_complete=complete_datasets,
)
@click.option(
    "--goal", type=click.Choice(["offline", "online", "imitate"]), default="offline", help="Of --for."
)
@reader_options()
@debug_option
def command(name: str | None, dataset: str | None, goal: str, options: dict[str, Any]) -> None:
    """List the algorithms, describe one, or say where to begin with a dataset.

    With NAME in any spelling: its paper, its hyperparameters, their defaults and meaning.
    """
    from offlinekit.algos import catalogue, get_algo
    from offlinekit.core.catalogue import FAMILIES

    if dataset is not None:
        from offlinekit.cli.advice import advise
        from offlinekit.datasets import get_dataset

        with usage("--for"):
            data, _ = get_dataset(dataset, **options)
        click.echo(f"{data!r}\n\nBegin with, in this order:\n")
        pairs(advise(data, goal))
        return
    if name is None:
        listed = [(k, a.family, a.action_kind, a.summary()) for k, a in catalogue().items()]
        table(("algorithm", "family", "actions", "what it does"), sorted(listed), left=4)
        click.echo(f"\nFamilies: {', '.join(f'{key} ({name})' for key, name in FAMILIES.items())}.")
        return
    with usage("NAME"):
        algo = get_algo(name)
    facts = [("family", algo.family), ("actions", algo.action_kind), ("paper", algo.paper)]
    click.echo(f"{algo.__name__}: {algo.summary()}\n")
    pairs(facts)
    click.echo("\nHyperparameters (--set name=value):\n")
    hyperparameters = [h for h in algo.hyperparameters().values() if h.name != "impl_class"]
    rows = [(each.name, str(each.default), each.kind, each.meaning) for each in hyperparameters]
    table(("name", "default", "type", "meaning"), rows, left=4)
    if presets := algo.presets().values():
        click.echo("\nPresets (--preset DATASET):\n")
        published = sorted((p.dataset, f"{p.n_steps:,}", _settings(p)) for p in presets)
        table(("dataset", "steps", "settings"), published, left=3)
        click.echo("\nSources of the presets:\n")
        for source in dict.fromkeys(source for preset in presets for source in preset.sources):
            click.echo(f"  {source}")


def _settings(preset: Preset) -> str:
    """Returns what a preset sets, as `--set` would take it, the options of its dataset's reader and of `finetune`."""
    reader = [f"--dataset-option {name}={value}" for name, value in preset.dataset_options.items()]
    chosen = [
        f"{name}={json.dumps(value, separators=(',', ':')) if isinstance(value, dict) else value}"
        for name, value in preset.hyperparameters.items()
    ]
    online = {
        ("steps" if name == "n_steps" else name.replace("_", "-")): v for name, v in preset.online.items()
    }
    then = [f"; finetune {' '.join(f'--{name} {value}' for name, value in online.items())}"] if online else []
    return " ".join([*(chosen or ["the defaults"]), *reader, *then])
