"""What a person sees while a command works: one line a step, with its duration, on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announces `text`, and on its end says how long it took; a failure is left to the caller to report."""
    terminal = sys.stderr.isatty()
    print(f"  {text} ...", end="" if terminal else "\n", file=sys.stderr, flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print(" failed" if terminal else f"  {text}: failed", file=sys.stderr, flush=True)
        raise
    took = f"{time.monotonic() - began:.1f} s"
    print(f" {took}" if terminal else f"  {text}: {took}", file=sys.stderr, flush=True)
