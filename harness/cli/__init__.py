"""The command line: a thin skin over the library, one small file per verb; the only place that prints or exits."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from harness.errors import HarnessError
from harness.version import __version__

__all__ = ["cli", "main"]

#: Verb -> the line that `harness --help` shows. The module harness.cli.<verb> is imported only when the verb is used.
VERBS = {
    "bench": "Measure what methods cost, and what limits them.",
    "compare": "Say whether one run is really better than another.",
    "data": "Make, list, check, describe and convert data sets.",
    "doctor": "Explain this environment and name the fix for known trouble.",
    "eval": "Run a method on a data set: predictions, scores, record, table and plots.",
    "export": "Write predictions as a PoseTrack submission, or check one.",
    "lift": "Lift joints to 3D on synthtrack (outside PoseTrack): train, eval.",
    "methods": "List the methods, or show what one is.",
    "notebook": "Write a notebook bound to stored runs.",
    "predict": "Run a method and write its predictions, without scoring.",
    "probe": "Ask causal questions of methods by changing what they are shown.",
    "report": "Render plots from records.",
    "runs": "List the stored runs, or show one.",
    "score": "Score prediction files against label files, as the official evaluators do.",
    "table": "Print a comparison of stored runs.",
    "train": "Train a method (or fit mean_pose) and write its weights.",
    "verify": "Check that stored runs are what they say.",
    "weights": "List and check the shipped weights, convert checkpoints.",
}


class Verbs(click.Group):
    """A group that imports a verb's module on first use, and suggests the nearest verb for a wrong one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs by name."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb, imported now."""
        if cmd_name not in VERBS:
            near = get_close_matches(cmd_name, VERBS, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"no such command '{cmd_name}'{hint}", ctx)
        module = importlib.import_module(f"harness.cli.{cmd_name}")
        command: click.Command = module.command
        _mirror_in_environment(command, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from VERBS, so that help imports none of them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))


def _mirror_in_environment(command: click.Command, words: str) -> None:
    """Let HARNESS_<VERB>_<OPTION>, or HARNESS_<OPTION> for every verb, stand for an option that is not given."""
    for option in command.params:
        if isinstance(option, click.Option):
            flag = max(option.opts, key=len).lstrip("-")
            names = [f"HARNESS_{words}_{flag}", f"HARNESS_{flag}"]
            option.envvar = [name.upper().replace("-", "_") for name in names]
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            _mirror_in_environment(child, f"{words}_{name}")


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
def cli() -> None:
    """Evaluate video-based 2D human pose estimation, from one command to a record that can be re-verified.

    Start with:  harness eval --method hrnet --split val

    Environment variables stand for options that are not given: HARNESS_EVAL_METHOD, or HARNESS_DATASET for every verb.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; exit codes as in the README."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; user errors become one or two lines on stderr."""
    try:
        Path.cwd()
    except FileNotFoundError:  # libraries end the process over this, and do not say so
        click.echo("harness: the current folder was removed; change to one that is there (cd)", err=True)
        return 1
    try:
        outcome: Any = cli.main(args=arguments, prog_name="harness", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as problem:
        _named_by_variable(problem).show()
        return 2 if isinstance(problem, click.UsageError) else problem.exit_code
    except HarnessError as problem:
        click.echo(f"harness: {problem}", err=True)
        return problem.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:
        if isinstance(stop.__cause__, EOFError):  # click takes a file that ends too early for somebody's control-D
            click.echo(f"harness: a file ends before its content does ({stop.__cause__})", err=True)
            return 1
        click.echo("harness: interrupted; the same command resumes where it stopped", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UnicodeEncodeError as problem:
        text = ascii(problem.object[max(problem.start - 20, 0) : problem.end + 20])
        click.echo(f"harness: {text} cannot be written in {problem.encoding}; set PYTHONUTF8=1", err=True)
        return 1
    except MemoryError:
        click.echo("harness: the memory does not suffice; nothing already finished is lost", err=True)
        return 1
    except OSError as problem:
        if problem.errno == errno.ENAMETOOLONG:
            click.echo(f"harness: {_too_long(problem, arguments)}", err=True)
            return 2
        where = f"{problem.filename}: " if problem.filename else ""
        click.echo(f"harness: {where}{problem.strerror or problem}; nothing already finished is lost", err=True)
        return 1


def _named_by_variable(problem: click.ClickException) -> click.ClickException:
    """The problem, with the environment variable that a wrong value stands in, where it stands in one."""
    option, context = getattr(problem, "param", None), getattr(problem, "ctx", None)
    if option is None or context is None or not option.name:
        return problem
    if context.get_parameter_source(option.name) is click.core.ParameterSource.ENVIRONMENT:
        variable = next((name for name in option.envvar or () if os.environ.get(name)), None)
        if variable:
            return click.BadParameter(f"{problem.message} (from the environment variable {variable})", context, option)
    return problem


def _too_long(problem: OSError, arguments: Sequence[str] | None) -> str:
    """What to say of a path that no file can have, and which option gave it."""
    path = str(problem.filename or "")
    words = list(sys.argv[1:] if arguments is None else arguments)
    shown = f"{path[:60]}... ({len(path)} characters)" if len(path) > 60 else path
    for before, word in zip(["", *words], words, strict=False):
        option, _, value = word.partition("=") if word.startswith("--") else (before, "", word)
        if value and path.startswith(value.rstrip("/")) and option.startswith("-"):
            return f"{option}: the path {shown} is too long; give a shorter one"
    return f"{shown}: the path is too long; give a shorter one"
