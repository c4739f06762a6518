"""People's verbs: an annotation with a token, which the operator takes once and notes in `status.handled`.

A token names who asked and when, since it is what `kubectl get` later shows a run was started by.
"""

from __future__ import annotations

import getpass
import re
import secrets
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from perennial.api.resources import DRIFTMONITORS, MODELDEPLOYMENTS, TRAININGJOBS
from perennial.api.validation import text_at, value_at
from perennial.kube.plan import Manifest, Resource
from perennial.monitoring.names import APPROVE, RELEASE
from perennial.serving.names import VERBS as SERVING
from perennial.training.names import RUN

from .cluster import Cluster, Reached
from .named import Named, named
from .problem import CannotDo

ANNOTATIONS: Mapping[str, Mapping[Resource, str]] = {
    "run": {TRAININGJOBS: RUN},
    "promote": {MODELDEPLOYMENTS: SERVING["promote"]},
    "abort": {MODELDEPLOYMENTS: SERVING["abort"]},
    "release": {MODELDEPLOYMENTS: SERVING["release"], DRIFTMONITORS: RELEASE},
    "approve": {DRIFTMONITORS: APPROVE},
}
"""Which verb is which annotation of which kind: all that the operator takes."""

LOOK_SECONDS = 1.0
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def run(options: Namespace) -> int:
    what = named(options.resource, ANNOTATIONS[options.verb].keys())
    cluster = Reached(options.context, options.namespace)
    token = proposal(cluster, what, options.action) if options.verb == "approve" else fresh_token()
    print(ask(cluster, options.verb, what, token))
    if options.wait:
        print(await_taken(cluster, options.verb, what, token, options.timeout))
    return 0


def fresh_token() -> str:
    """A token that nobody else makes: who, when, and four digits."""
    who = _NO_NAME.sub("-", _user()) or "someone"
    return f"{who}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def proposal(cluster: Cluster, what: Named, action: str | None) -> str:
    """What waits for a yes: its id is the token, so that nothing else is approved. Raises CannotDo where nothing does,
    or where more than one does and `action` does not say which."""
    proposals = value_at(cluster.get(what), "status", "proposals") or ()
    waiting = {each["action"]: str(each["id"]) for each in proposals}
    if action is None and len(waiting) > 1:
        raise CannotDo(f"{what}: {' and '.join(sorted(waiting))} are proposed: say which by --action")
    chosen = waiting.get(action) if action else next(iter(waiting.values()), None)
    if chosen is None:
        raise CannotDo(f"{what}: there is no proposal{f' of a {action}' if action else ''} that waits for approval")
    return chosen


def ask(cluster: Cluster, verb: str, what: Named, token: str) -> str:
    """Set the annotation. Says so, and what keeps it from being taken at once. Raises CannotDo."""
    changed = cluster.annotate(what, {ANNOTATIONS[verb][what.resource]: token})
    said = f"{what}: {verb} asked for (token {token})"
    if value_at(changed, "spec", "suspend"):
        return f"{said}; it is suspended: nothing is done until spec.suspend is false"
    return said


def await_taken(
    cluster: Cluster,
    verb: str,
    what: Named,
    token: str,
    seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Wait until the operator has taken the annotation's token. Raises CannotDo after so many seconds."""
    annotation = ANNOTATIONS[verb][what.resource]
    deadline = clock() + seconds
    while True:
        manifest = cluster.get(what)
        if text_at(manifest, "status", "handled", verb) == token:
            return f"{what}: {verb} is taken. {_now(manifest, token)}"
        if text_at(manifest, "metadata", "annotations", annotation) != token:
            raise CannotDo(f"{what}: {verb} was asked for again by another token before it was taken")
        if clock() >= deadline:
            raise CannotDo(f"{what}: {verb} still waits after {seconds:g} s. {_now(manifest, token)}")
        sleep(LOOK_SECONDS)


def _now(manifest: Manifest, token: str) -> str:
    """What the resource says of itself; of the run that was asked for first."""
    runs = value_at(manifest, "status", "runs") or ()
    if started := next((run for run in runs if run.get("triggeredBy") == token), None):
        return f"Version {started['version']} is {started['state']}"
    conditions = value_at(manifest, "status", "conditions") or ()
    ready = next((f"{each['reason']}: {each['message']}" for each in conditions if each["type"] == "Ready"), None)
    return ready or "The operator has not looked at it yet: does it run?"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
