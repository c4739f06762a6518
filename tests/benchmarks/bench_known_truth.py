"""The monitor on data whose changes are known: what it found, by which row, beside what is true.

python -m tests.benchmarks.bench_known_truth [--rows 1000]

NannyML's synthetic sets change at a known row, river's generators change their concept and no feature, flights in no
order of time do not change at all (`known_truth.py`). The packages are downloaded for their data.
"""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.known_truth import CASES, HARDLY, SURELY, Case, Found, watch


def report(case: Case, found: Found) -> bool:
    """Prints what was found; whether it is what is true."""
    print(f"\n{case.name}: " + (f"as the reference until row {case.change:,}" if case.change else "nothing changes"))
    drift, minor = found.named("Drift"), found.named("MinorDrift")
    for name, difference in found.truth.items():
        said = [f"material by row {drift[name]:,}"] if name in drift else []
        said += [f"minor by row {minor[name]:,}"] if name in minor else []
        print(f"  {name:<44} {difference:>6.3f}   {', '.join(said) or 'silent'}")
    if case.change:
        print(f"  {'loss':<44} {found.loss[0]:>6.3f}   {found.loss[1]:.3f} is tolerated")
    for state, row in found.states.items():
        print(f"  {state} by row {row:,}, dated to row {found.dated[state]:,}")
    wrong = found.wrong(case)
    print("  " + ("; ".join(wrong) or f"as known: in time, all above {SURELY}, none below {HARDLY}, silence before"))
    return not wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=None, help="rows of a window")
    arguments = parser.parse_args()
    right = [report(case, watch(case, arguments.rows)) for case in CASES]
    sys.exit(not all(right))


if __name__ == "__main__":
    main()
