"""`offlinekit datasets convert`, `merge`, `subsample` and `relabel`: a dataset in, a file out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from offlinekit.cli.datasets_info import describe, open_alike, open_dataset
from offlinekit.cli.options import debug_option, example, import_module, import_option, reader_options, usage

if TYPE_CHECKING:
    from offlinekit.datasets.mdp_dataset import MDPDataset

out_argument = click.argument("out", type=click.Path(path_type=Path))
plain_option = click.option(
    "--plain", is_flag=True, show_default=False, help="Uncompressed HDF5, which MDPDataset.open maps."
)
name_option = click.option("--name", help="Of the new dataset.  [default: from what it is made of]")


@click.command(
    epilog=example(
        "offlinekit datasets convert hopper-medium-v2 hopper.h5 --plain",
        "offlinekit datasets convert mine.npz mine.h5 --dataset-option observations=obs",
    )
)
@click.argument("name", metavar="IN")
@out_argument
@click.option("--format", help="Format to write.  [default: by the suffix of OUT]")
@plain_option
@reader_options()
@debug_option
def convert(name: str, out: Path, format: str | None, plain: bool, options: dict[str, Any]) -> None:
    """Write the dataset IN, a name or a path, as OUT in another format.

    HDF5 is read and written block by block, so that it may be larger than memory.
    """
    from offlinekit.datasets.editing.converting import convert as write

    with usage("OUT"):
        dataset = write(name, out, format=format, compress=not plain, reader_options=options)
    click.echo(f"Wrote {out}: {len(dataset):,} rows, {dataset.n_episodes:,} episodes")


@click.command(
    epilog=example(
        "offlinekit datasets merge cartpole-random cartpole-mixed both.h5",
        "offlinekit datasets merge cartpole-random cartpole-mixed part.h5 --weight 1 --weight 3 --rows 4000",
    )
)
@click.argument("names", metavar="IN...", nargs=-1, required=True)
@out_argument
@click.option("--weight", "weights", type=float, multiple=True, help="Share of each IN, repeatable.")
@click.option("--rows", type=click.IntRange(min=1), help="Rows in all, about; with weights.")
@click.option("--seed", type=int, default=0, help="Of the draw of episodes; with weights.")
@name_option
@plain_option
@reader_options()
@debug_option
def merge(
    names: tuple[str, ...],
    out: Path,
    options: dict[str, Any],
    weights: tuple[float, ...],
    rows: int | None,
    seed: int,
    name: str | None,
    plain: bool,
) -> None:
    """Write the episodes of several datasets as one.

    All of them; or with weights as many of each, drawn at random, as its share allows.
    """
    from offlinekit.datasets.editing.thinning import merge as join

    first = open_dataset("IN", names[0], options)
    parts = [first, *(open_alike("IN", each, first, options) for each in names[1:])]
    with usage("--weight"):
        joined = join(parts, weights or None, n_rows=rows, name=name, seed=seed)
    _write(joined, out, plain)


@click.command(
    epilog=example(
        "offlinekit datasets subsample cartpole-mixed best.h5 --top 0.1",
        "offlinekit datasets subsample cartpole-mixed some.h5 --fraction 0.25 --seed 1",
    )
)
@click.argument("source", metavar="IN")
@out_argument
@click.option("--fraction", type=float, help="Share of the rows, by episodes drawn at random.")
@click.option("--top", type=float, help="Share of the episodes, those of the highest returns.")
@click.option("--first", type=int, help="Number of episodes from the start.")
@click.option("--seed", type=int, default=0, help="Of the draw; with --fraction.")
@name_option
@plain_option
@reader_options()
@debug_option
def subsample(
    source: str, out: Path, name: str | None, plain: bool, options: dict[str, Any], **how: Any
) -> None:
    """Write some of the episodes of a dataset."""
    from offlinekit.datasets.editing.thinning import subsample as thin

    dataset = open_dataset("IN", source, options)
    with usage("--fraction"):
        part = thin(dataset, name=name, **how)
    _write(part, out, plain)


@click.command(
    epilog=example(
        "offlinekit datasets relabel cartpole-mixed scaled.h5 --reward shift=-1 --reward scale=0.1",
        "offlinekit datasets relabel cartpole-mixed mine.h5 --reward my_rewards:upright",
    )
)
@click.argument("source", metavar="IN")
@out_argument
@click.option(
    "--reward",
    "transforms",
    multiple=True,
    required=True,
    help="scale=X, shift=X, clip=X,Y, sign, sparse, dense, terminal=X, return-range, or MODULE:FUNCTION; repeatable.",
)
@name_option
@plain_option
@reader_options()
@import_option
@debug_option
def relabel(
    source: str,
    out: Path,
    transforms: tuple[str, ...],
    name: str | None,
    plain: bool,
    options: dict[str, Any],
) -> None:
    """Write a dataset with other rewards; transforms are applied in their order.

    MODULE:FUNCTION is a function of yours that takes the dataset and returns its rewards [N].
    """
    from offlinekit.datasets.editing.relabelling import relabel as change

    dataset = open_dataset("IN", source, options)
    with usage("--reward"):
        steps = [_function(step) if ":" in step else step for step in transforms]
        changed = change(dataset, *steps, name=name)
    _write(changed, out, plain)


def _function(text: str) -> Callable[..., Any]:
    """Returns the function behind MODULE:FUNCTION."""
    module, _, name = text.partition(":")
    try:
        function: Callable[..., Any] | None = getattr(import_module(module), name, None)
    except ImportError as error:
        raise ValueError(f"cannot import {module!r} ({error})") from error
    if not callable(function):
        raise ValueError(f"module {module!r} has no function {name!r}")
    return function


def _write(dataset: MDPDataset, out: Path, plain: bool) -> None:
    if out.exists():
        raise click.BadParameter(
            f"{out} is there already; remove it, or write to another file", param_hint="'OUT'"
        )
    dataset.save(out, compress=not plain)
    describe(dataset)
    click.echo(f"\nWrote {out}")
