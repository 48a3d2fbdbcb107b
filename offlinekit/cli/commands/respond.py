"""`offlinekit respond`: what a language model says next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, policy_argument
from offlinekit.cli.runs import find

if TYPE_CHECKING:
    from offlinekit.datasets.families.dialogue_columns import Turn


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit respond runs/ILQL_talks_... 'hot or cold?'",
        "offlinekit respond policy.okt 'hot or cold?' --beta 4 --method sample --seed 1",
        "offlinekit respond policy.okt --file talks.jsonl --method beam > answers.jsonl",
    ),
)
@policy_argument
@click.argument("prompts", metavar="[PROMPT]...", nargs=-1)
@click.option(
    "--file",
    "path",
    type=click.Path(exists=True, path_type=Path),
    show_default=False,
    help="JSON lines of prompts or dialogues; an utterance of the agent at their end is answered anew.",
)
@click.option("--method", default="greedy", help="greedy, sample or beam.")
@click.option("--beta", type=float, show_default=False, help="Weight of values.  [default: the model's]")
@click.option("--temperature", type=float, default=1.0, help="Divides the language model's logits.")
@click.option("--top-k", type=int, show_default=False, help="So many likely tokens may be chosen.")
@click.option("--top-p", type=float, default=1.0, help="Likely tokens of this probability may be chosen.")
@click.option("--n-beams", type=int, default=4, help="Beginnings that a beam search keeps.")
@click.option("--max-tokens", type=int, show_default=False, help="Of an utterance.")
@click.option("--seed", type=int, default=0, help="Of what is drawn.")
@click.option("--which", type=click.Choice(["last", "best"]), default="last", help="Policy of a run folder.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1.")
@debug_option
def command(
    run: Path,
    prompts: tuple[str, ...],
    path: Path | None,
    seed: int,
    which: str,
    device: str,
    **decoding: str | float | None,
) -> None:
    """Print what a language model says next, a line of JSON for each prompt.

    RUN_OR_POLICY is a run folder, or a policy file such as policy.okt, of TextBC or ILQL.
    """
    import offlinekit
    from offlinekit.core.bases.text_model import TextModel
    from offlinekit.datasets.sources.dialogues import read_turns_to_answer

    algo = offlinekit.load(find(run, which).policy, device=device)
    if not isinstance(algo, TextModel):
        raise click.UsageError(f"{type(algo).__name__} says nothing; respond is for TextBC and ILQL")
    dialogues: list[list[Turn]] = [[(prompt, None)] for prompt in prompts]
    dialogues += [] if path is None else read_turns_to_answer(path)
    if not dialogues:
        raise click.UsageError("give prompts, or a file of them by --file")
    algo.impl.random.generator.manual_seed(seed)
    for dialogue, text in zip(dialogues, algo.respond(dialogues, **decoding), strict=True):
        said = {"prompt": dialogue[0][0]} if len(dialogue) == 1 else {"dialogue": dialogue}
        click.echo(json.dumps({**said, "response": text}, ensure_ascii=False))
