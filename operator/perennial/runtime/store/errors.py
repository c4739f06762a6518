"""What can go wrong with a place outside the process, told apart by whether trying again may help."""

from __future__ import annotations


class StoreError(Exception):
    """A place could not be read or written. The message names it and is for the person who configured it."""


class NotInStoreError(StoreError):
    """There is nothing of that name."""


class StoreRefusedError(StoreError):
    """Credentials or configuration are wrong: trying again does not help."""


class NoCredentialsError(StoreRefusedError):
    """There is nothing to say with who asks for `uri`."""

    def __init__(self, uri: str, message: str) -> None:
        super().__init__(f"{uri}: {message}")
        self.uri = uri


class DeniedError(StoreRefusedError):
    """Who asks for `uri` may not, or is not who it says it is; `said` are the other side's words."""

    def __init__(self, uri: str, advice: str, said: str) -> None:
        super().__init__(f"{uri}: access denied; {advice}: {said}")
        self.uri, self.said = uri, said


class NoBucketError(StoreRefusedError):
    """There is no bucket of that name, or none that these credentials see."""


class StoreUnreachableError(StoreError):
    """The place did not answer, or not as it should: trying again may help."""
