"""`offlinekit pull`: a policy with its card from a folder, a web server or a hub."""

from __future__ import annotations

from pathlib import Path

import click

from offlinekit.cli.options import SETTINGS, debug_option, example, usage


@click.command(
    context_settings=SETTINGS,
    epilog=example(
        "offlinekit pull https://example.org/ward-policy --out ward",
        "offlinekit pull hf:owner/ward-policy --revision v1 --sha256 9f86d081...",
    ),
)
@click.argument("source")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default=False,
    help="Folder to make.  [default: the last name of SOURCE]",
)
@click.option("--revision", help="Branch, tag or commit of a hub.")
@click.option("--sha256", help="Expected hash of the policy file, from a way that you trust.")
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=1 << 30, help="That its files may have together."
)
@debug_option
def command(source: str, out: Path | None, revision: str | None, sha256: str | None, max_bytes: int) -> None:
    """Fetch a policy with its card from SOURCE: a folder, a URL of one, or hf:owner/name.

    Each file is checked against the bytes and the SHA-256 of files.json; files that could hold code are refused.
    """
    from offlinekit.core.sharing import card_of, pull

    with usage("SOURCE"):
        policy = pull(
            source,
            out or Path(source.rstrip("/").rpartition("/")[2] or "policy"),
            revision=revision,
            sha256=sha256,
            max_bytes=max_bytes,
        )
    click.echo(f"Fetched {policy}, checked against its SHA-256; read its card: {card_of(policy)}")
    loads = "offlinekit.load" if policy.suffix == ".okt" else "see docs/deploy.md"
    click.echo(f"Load it: {loads}({str(policy)!r})" if policy.suffix == ".okt" else f"Act with it: {loads}")
