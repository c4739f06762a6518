"""The one error of this package that is meant for a person: its text says what is wrong and what to do."""


class ClusterError(Exception):
    """Something about the machine or the request stands in the way; never a bug of ours."""
