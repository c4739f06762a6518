"""How often a whole monitor says something where nothing changes: broken data, drift, harm suspected and harm.

python -m tests.benchmarks.bench_quiet [--windows 1000] [--streams 10] [--every 83h20m] [--tell] [--quick]

Rows of mixed columns with missing values, scores and labels (`mixed_streams.py`); windows of five minutes, so that
83h20m allow one false alarm in 1,000 of them, all that a monitor says counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from itertools import islice, product
from operator import add

from perennial.api.driftmonitor import DriftMonitorSpec
from perennial.monitoring import judge
from tests.benchmarks.bench_detection import poisson_upper
from tests.benchmarks.mixed_streams import COLUMNS, GAPS, KINDS, MISSING, Said, Stream
from tests.benchmarks.null_streams import settle

STATES = ("MinorDrift", "Drift", "DataFault", "HarmSuspected", "Harm")


def quiet(rows: Sequence[tuple[str, int]], arguments: argparse.Namespace) -> None:
    spec = DriftMonitorSpec.model_validate({"deployment": "x", "falseAlarmEvery": arguments.every})
    print(f"\n{len(COLUMNS)} columns, {len(GAPS)} of them {MISSING:.0%} missing, the joint ones, the score and labels")
    print(f"{1000 / judge.looks(spec, 1.0):.3f} false alarms are allowed per 1,000 windows, of all states together")
    print(f"Baselines from {arguments.baseline}; at most: the upper 95% confidence bound, per 1,000")
    names = [f"{state:>13}" for state in STATES]
    print(f"| {'windows are':<14} | {'n':>5} | windows | {' | '.join(names)} | all | at most | while learned |")
    print(f"| --- |{' ---: |' * (len(STATES) + 5)}")
    made = [
        Stream(*row, arguments.windows, seed, arguments.every, arguments.baseline)
        for row in rows
        for seed in range(arguments.first, arguments.first + arguments.streams)
    ]
    total, started = Said(), time.monotonic()
    with ProcessPoolExecutor(arguments.processes, initializer=settle) as pool:
        streams = pool.map(Stream.said, made)
        for kind, n in rows:
            said = reduce(add, islice(streams, arguments.streams))
            total = total + said
            _row(f"{kind:<14} | {n:>5,}", said)
            if arguments.tell:
                print("\n".join(said.told), file=sys.stderr, flush=True)
    _row(f"{'**all**':<14} | {'':>5}", total)
    print(f"\n{total.suspects} of {len(made)} references let harm be suspected from scores")
    print(f"That took {(time.monotonic() - started) / 60:.0f} minutes", flush=True)


def _row(name: str, said: Said) -> None:
    columns = [f"{said.states[state]:>13}" for state in STATES]
    every = said.states.total()
    most = 1000 * poisson_upper(every) / said.windows
    learned = ", ".join(f"{number} {state}" for state, number in said.learning.items()) or "0"
    columns += [f"{every:>3}", f"{most:>7.3f}", f"{learned:>13}"]
    print(f"| {name} | {said.windows:>7,} | {' | '.join(columns)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--windows", type=int, default=1000, help="that are judged, of each stream")
    parser.add_argument("--streams", type=int, default=10, help="a row, each with a baseline of its own")
    parser.add_argument("--first", type=int, default=0, help="seed of the first stream")
    parser.add_argument("--every", default="83h20m", help="what one false alarm is allowed in (falseAlarmEvery)")
    parser.add_argument("--baseline", default="Serving", choices=("Serving", "Training"), help="what it is from")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS, help="of windows")
    parser.add_argument("--sizes", type=int, nargs="*", default=[200, 500, 1000], help="rows of a window")
    parser.add_argument("--tell", action="store_true", help="say what each alarm was about (on standard error)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a tenth of the streams")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.streams = max(arguments.streams // 10, 1)
    quiet([*product(arguments.kinds, arguments.sizes)], arguments)


if __name__ == "__main__":
    main()
