"""The entry point: finds the commands and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import keyword
import pkgutil
import sys
import traceback
import warnings

import click

from offlinekit.cli import commands
from offlinekit.cli.options import DEBUG, SETTINGS, debug_option, import_option
from offlinekit.cli.wrong_usage import answered
from offlinekit.errors import OfflineKitError, Preempted
from offlinekit.ground.hints import hint

FAILED, PREEMPTED, INTERRUPTED = 1, 75, 130


class Commands(click.Group):
    """The commands of `offlinekit/cli/commands/`, imported when they are called.

    The file of one whose name is a word of Python has an underscore behind it: `import_.py`.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names of the files."""
        return sorted(module.name.removesuffix("_") for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns the `command` of a file; None if there is no such file."""
        if cmd_name not in self.list_commands(ctx):
            return None
        file = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = importlib.import_module(f"{commands.__name__}.{file}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that is called; suggests the nearest if there is none."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(
                f"No such command {name!r}{hint('command', name, self.list_commands(ctx))}", ctx
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Runs a command; what a user can cause becomes a line on stderr and an exit code."""
        words = [*ctx._protected_args, *ctx.args]
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("default", "'.*' of .* is now ", DeprecationWarning)  # Else unseen.
                warnings.showwarning = _show_warning  # type: ignore[assignment]  # Takes the rest as *_.
                return super().invoke(ctx)
        except click.ClickException as error:
            if ctx.meta.get(DEBUG):
                traceback.print_exc()
            raise answered(error, words) if isinstance(error, click.UsageError) else error from None
        except KeyboardInterrupt as error:
            said = str(error)
            click.echo(f"Interrupted{said if said.startswith(';') else f' {said}'}".rstrip(), err=True)
            sys.exit(PREEMPTED if isinstance(error, Preempted) else INTERRUPTED)
        except BrokenPipeError:  # The reader of the output, such as head, has seen enough.
            sys.stdout = None  # Nothing is left to flush at exit.
            sys.exit(0)
        except (OfflineKitError, ValueError, TypeError, LookupError, OSError) as error:
            if ctx.meta.get(DEBUG):
                raise
            click.echo(f"Error: {_one_line(error)}", err=True)
            if not isinstance(error, OfflineKitError):
                click.echo("(--debug shows where it came from)", err=True)
            sys.exit(FAILED)


@click.group(
    cls=Commands,
    context_settings=SETTINGS,
    epilog="""\b
Examples:
  offlinekit algos
  offlinekit train --algo discrete_cql --dataset cartpole-mixed --steps 10000
  offlinekit evaluate runs/DiscreteCQL_cartpole-mixed_...

\b
Exit codes:
  0    done
  1    the job failed, such as damaged data or a diverged loss
  2    wrong usage, such as an unknown option, algorithm or dataset
  75   `train`, `finetune`, `sweep` or `evolve` was stopped (SIGTERM, SIGUSR1) and has saved: start it again
  130  interrupted by Ctrl-C; these have saved then, too
""",
)
@click.version_option(package_name="offlinekit")
@import_option
@debug_option
def main() -> None:
    """Offline reinforcement learning: learn a policy from a fixed dataset and evaluate it."""


def _one_line(error: BaseException) -> str:
    """Returns an error's message without line breaks; its class if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message: Warning | str, *_: object) -> None:
    """Prints a warning as a line on stderr, without the place in the code."""
    click.echo(f"Warning: {' '.join(str(message).split())}", err=True)
