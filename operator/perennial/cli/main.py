"""The command line's words. Every command is imported when it is asked for, so that --help comes at once."""

from __future__ import annotations

import argparse
import io
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
    "approve": ("dm/NAME", "agree to what a DriftMonitor proposes, a retrain or a rollback"),
}


def run() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that has no letter for a bar must not cost the answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
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
    _report(commands)
    _backtest(commands)
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


def _report(commands: Commands) -> None:
    said = "what a DriftMonitor has found, as one HTML page"
    command = commands.add_parser("report", help=said, description=f"Writes {said} that needs nothing else.")
    command.add_argument("resource", metavar="dm/NAME", help="the monitor")
    command.add_argument("-o", "--output", metavar="FILE", help="where to (default: NAME-report.html), - for stdout")
    _where(command)
    command.set_defaults(command=_write_report)


def _backtest(commands: Commands) -> None:
    said = "what a DriftMonitor would have found and done on a file of rows, and when"
    command = commands.add_parser(
        "backtest", help=said, description=f"Shows {said}: the controller's own policy, without a cluster if need be."
    )
    command.add_argument("resource", nargs="?", metavar="dm/NAME", help="whose policy; optional with -f")
    command.add_argument("-f", "--filename", metavar="FILE", help="take the policy from a manifest, - for stdin")
    command.add_argument(
        "--data", required=True, help="CSV or Parquet: a file, a folder or a URI; or counts, see --save-counts"
    )
    normal = command.add_mutually_exclusive_group()
    normal.add_argument(
        "--reference",
        metavar="PLACE",
        help="a version's folder in the store (path or URI): its reference and its model; or its reference.json alone "
        "(default: what the cluster's monitor judges)",
    )
    normal.add_argument(
        "--baseline-rows", type=int, metavar="N", help="the first N rows are what is normal, the others are watched"
    )
    command.add_argument("--time", metavar="COLUMN", help="when each row was served (default: the column of dates)")
    command.add_argument("--label", metavar="COLUMN", help="what came true (default: the version's target)")
    command.add_argument("--prediction", metavar="COLUMN", help="what the model said, where there is no model to ask")
    command.add_argument(
        "--score", metavar="COLUMN", help="its probability of the positive class, or of the class that it predicted"
    )
    before = command.add_mutually_exclusive_group()
    before.add_argument(
        "--previous",
        metavar="PLACE",
        help="the folder of the version before: it is asked too, so that the action Rollback can be decided",
    )
    before.add_argument("--previous-prediction", metavar="COLUMN", help="what the version before said, instead")
    command.add_argument("--picture", metavar="FILE.svg", help="write a picture over time")
    command.add_argument("--html", metavar="FILE", help="write all of it as one HTML page")
    command.add_argument(
        "--save-counts", metavar="FILE", help="write the counts, to try other policies without the rows"
    )
    _where(command)
    command.set_defaults(command=_replay)


def _verb(commands: Commands, verb: str) -> None:
    takes, said = _VERBS[verb]
    command = commands.add_parser(verb, help=said, description=f"Asks the operator to {said}.")
    command.add_argument("resource", metavar="TYPE/NAME", help=takes)
    command.add_argument("--wait", action="store_true", help="until the operator has taken it")
    command.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="of --wait (default: 60)")
    if verb == "approve":
        command.add_argument("--action", choices=("Retrain", "Rollback"), help="which proposal, where both wait")
    _where(command)
    command.set_defaults(command=_ask, verb=verb)


def _where(command: argparse.ArgumentParser) -> None:
    command.add_argument("-n", "--namespace", help="the namespace (default: the context's)")
    command.add_argument("--context", help="the kubeconfig's context (default: the current one)")


def _show_status(options: argparse.Namespace) -> int:
    from . import status

    return status.run(options)


def _write_report(options: argparse.Namespace) -> int:
    from .report import command

    return command.run(options)


def _replay(options: argparse.Namespace) -> int:
    from .backtest import command

    return command.run(options)


def _ask(options: argparse.Namespace) -> int:
    from . import verbs

    return verbs.run(options)
