"""What ends a command: something to mend, told to the person who typed it."""

from __future__ import annotations


class CannotDo(Exception):
    """The command cannot be carried out. The text says what is wrong, where, and what to do."""
