"""The command line's words. Every command is imported when it is asked for, so that --help comes at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TypeAlias

from .problem import CannotDo

PROGRAM = "kubectl perennial"
_VERBS = {
    "run": ("tj/NAME", "run a TrainingJob now"),
    "promote": ("md/NAME", "let a ModelDeployment's candidate take over, whatever its steps still wait for"),
    "abort": ("md/NAME", "end a ModelDeployment's rollout; the stable revision goes on serving"),
    "release": (
        "md/NAME or dm/NAME",
        "lift a ModelDeployment's quarantine, or take what a DriftMonitor sees now as normal",
    ),
}


def run() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Carry a command out. Answers its exit code."""
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except CannotDo as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    whole = argparse.ArgumentParser(prog=PROGRAM, description="Looks after models that Perennial keeps alive.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    _status(commands)
    for verb in _VERBS:
        _verb(commands, verb)
    return whole


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _status(commands: Commands) -> None:
    said = "the whole loop of a model on one screen: its versions and gates, its rollout, its monitor"
    command = commands.add_parser("status", help=said, description=f"Shows {said}.")
    command.add_argument("resource", nargs="?", metavar="TYPE/NAME", help="one of its resources; all loops without it")
    _where(command)
    command.set_defaults(command=_show_status)


def _verb(commands: Commands, verb: str) -> None:
    takes, said = _VERBS[verb]
    command = commands.add_parser(verb, help=said, description=f"Asks the operator to {said}.")
    command.add_argument("resource", metavar="TYPE/NAME", help=takes)
    command.add_argument("--wait", action="store_true", help="until the operator has taken it")
    command.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="of --wait (default: 60)")
    _where(command)
    command.set_defaults(command=_ask, verb=verb)


def _where(command: argparse.ArgumentParser) -> None:
    command.add_argument("-n", "--namespace", help="the namespace (default: the context's)")
    command.add_argument("--context", help="the kubeconfig's context (default: the current one)")


def _show_status(options: argparse.Namespace) -> int:
    from . import status

    return status.run(options)


def _ask(options: argparse.Namespace) -> int:
    from . import verbs

    return verbs.run(options)
