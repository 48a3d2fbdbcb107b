"""`offlinekit algos`: the catalogue of algorithms."""

from __future__ import annotations

import click

from offlinekit.cli.output import pairs, table
from offlinekit.cli.parts import SETTINGS, debug_option, example, usage


@click.command(context_settings=SETTINGS, epilog=example("offlinekit algos", "offlinekit algos td3+bc"))
@click.argument("name", required=False)
@debug_option
def command(name: str | None) -> None:
    """List the algorithms, or describe one.

    With NAME in any spelling: its hyperparameters, their defaults and meaning.

    Families: IL imitation, PC policy constraint, VR value regularisation, U uncertainty, MB model-based,
    Off2On offline to online, SEQ sequence model, online.
    """
    from offlinekit.algos import catalogue, get_algo

    if name is None:
        rows = [(key, algo.family, algo.action_kind, algo.summary()) for key, algo in catalogue().items()]
        table(("algorithm", "family", "actions", "what it does"), sorted(rows), left=4)
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
