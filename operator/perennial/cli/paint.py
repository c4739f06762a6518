"""Colour on a terminal that has it; the words say the same without."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Paint:
    """Marks text as good, bad, under way or important."""

    colours: bool = False

    @classmethod
    def of(cls, stream: TextIO) -> Paint:
        """Colours where a person looks on and has not said NO_COLOR (no-color.org)."""
        return cls(stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb")

    def good(self, text: str) -> str:
        return self._marked(text, "32")

    def busy(self, text: str) -> str:
        return self._marked(text, "33")

    def bad(self, text: str) -> str:
        return self._marked(text, "31")

    def strong(self, text: str) -> str:
        return self._marked(text, "1")

    def _marked(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text
