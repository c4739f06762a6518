"""`make bench`: every benchmark beside this file, one after another, each in a process of its own.

`python -m tests.benchmarks drift server` runs only those.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
PREFIX = "bench_"


def main(chosen: list[str]) -> int:
    known = {path.stem.removeprefix(PREFIX): path for path in sorted(FOLDER.glob(f"{PREFIX}*.py"))}
    if unknown := [name for name in chosen if name not in known]:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = []
    for name in chosen or known:
        print(f"\n=== {name} ===", flush=True)
        module = f"tests.benchmarks.{PREFIX}{name}"
        if subprocess.run([sys.executable, "-m", module], check=False, cwd=FOLDER.parents[1]).returncode:
            failed.append(name)
    if failed:
        print(f"\ncould not be measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
