"""Answers to options and arguments that a command does not take, by what is meant."""

from __future__ import annotations

from collections.abc import Sequence

import click

from offlinekit.ground.hints import answer


def answered(error: click.UsageError, given: Sequence[str]) -> click.UsageError:
    """Returns an error of usage that also says what is meant, if that can be known.

    Args:
        error: As click raised it.
        given: The words of the command line.
    """
    ctx = error.ctx
    if ctx is None:
        return error
    options = [option for parameter in ctx.command.params for option in parameter.opts]
    if isinstance(error, click.NoSuchOption):
        meant = _meant(error.option_name.lstrip("-"), options, given)
        return click.UsageError(f"No such option {error.option_name!r}{meant}", ctx) if meant else error
    if "unexpected extra argument" in error.message and "--algo" in options:
        example = "--algo iql --dataset pendulum-mixed"
        return click.UsageError(f"{error.message}; arguments have names, such as {example}", ctx)
    return error


def _meant(name: str, options: Sequence[str], given: Sequence[str]) -> str:
    """Returns "; ..." for an option that a command does not have; empty if nothing is known of it."""
    if found := answer("command-line option", name, options):
        return found
    if "hyperparameters" not in options and "--set" not in options:
        return ""
    words = [word for text in given for word in text.split("=", 1)]
    if "--algo" not in words[:-1]:
        return ""
    from offlinekit.algos import catalogue, get_algo  # Here: only a wrong option needs it.
    from offlinekit.core.catalogue import letters

    algo, field = words[words.index("--algo") + 1], name.replace("-", "_")
    if letters(algo) not in map(letters, catalogue()):
        return ""
    known = get_algo(algo).hyperparameters()
    if field in known:
        value = words[words.index(f"--{name}") + 1 :] or ["VALUE"]
        return f"; a hyperparameter is set by --set {field}={value[0]}"
    found = answer("hyperparameter", field, known)
    return f"{found} (--set NAME=VALUE)" if found else ""
