"""The command line: compare, train, evaluate, check, adapt, predict, export, serve, data."""

import os
import shlex
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from quickstudy.commands.check import check_command
from quickstudy.commands.compare import compare_command
from quickstudy.commands.console import err, out
from quickstudy.commands.data import data_command
from quickstudy.commands.export import export_command
from quickstudy.commands.serve import serve_command
from quickstudy.commands.tasks import adapt_command, predict_command
from quickstudy.commands.train import evaluate_command, train_command
from quickstudy.processes import ProcessLost
from quickstudy.progress import Stopped

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for name, command in {
    "compare": compare_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "check": check_command,
    "adapt": adapt_command,
    "predict": predict_command,
    "export": export_command,
    "serve": serve_command,
    "data": data_command,
}.items():
    app.command(name)(command)


def show_version(wanted: bool) -> bool:
    if wanted:
        out.print(f"quickstudy {version('quickstudy')}")
        raise typer.Exit
    return wanted


@app.callback()
def quickstudy(
    show: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Meta-learning: train over many small tasks, so that a new task is learned from a handful of examples."""


def main() -> None:
    """Runs a command: 0 is success, 1 a failed training or a check's findings, 2 wrong input, 130 an interruption."""
    try:
        app()
    except Stopped as stopped:
        command = [word for word in sys.argv[1:] if word != "--resume"]
        err.print(
            f"\n{stopped} Go on with: quickstudy {shlex.join([*command, '--resume'])}", soft_wrap=True, markup=False
        )
        sys.exit(130)
    except KeyboardInterrupt:
        err.print("\nstopped.")
        sys.exit(130)
    except ProcessLost as lost:
        command = [word for word in sys.argv[1:] if word != "--resume"]
        sys.stderr.write(f"quickstudy: {lost} Go on with: quickstudy {shlex.join([*command, '--resume'])}\n")
        sys.stderr.flush()
        os._exit(1)  # at once: what else there is to close would wait for the process that is gone
    except FloatingPointError as error:
        err.print(f"quickstudy: {error}", soft_wrap=True, markup=False)
        sys.exit(1)
    except (ValueError, OSError, ImportError) as error:
        err.print(f"quickstudy: {error}", soft_wrap=True, markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
