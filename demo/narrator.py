"""What happened between two looks at the three resources, in sentences.

Pure: statuses in, lines out. Everything told is read from the resources, as anyone could with `kubectl get -o yaml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Status = dict[str, Any]

TRIGGERS = {
    "FirstRun": "it is the first",
    "DefinitionChanged": "the definition changed",
    "Requested": "somebody asked for it",
    "DriftMonitor": "the DriftMonitor asked for it",
}


def training(before: Status, now: Status) -> Iterator[str]:
    """New runs, their ends, gates and failures."""
    known = {run["version"]: run for run in before.get("runs", ())}
    for run in reversed(now.get("runs", ())):
        old = known.get(run["version"])
        if old is None:
            yield f"run {run['version']} starts: {TRIGGERS.get(run['trigger'], run['trigger'])}"
        if run["state"] != (old or {}).get("state"):
            yield from _run_changed(run)


def _run_changed(run: Status) -> Iterator[str]:
    version, state = run["version"], run["state"]
    if state == "Failed":
        failure = run.get("failure", {})
        yield f"run {version} failed: {failure.get('reason')}: {failure.get('message')}"
    if state not in ("Succeeded", "Rejected", "Unchanged"):
        return
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in sorted(run.get("metrics", {}).items()))
    engine = run.get("model", {}).get("engine", "?")
    yield f"version {version} is trained{': ' if metrics else ''}{metrics}; served by {engine}"
    for gate in run.get("gates", ()):
        verdict = "passed" if gate["passed"] else "NOT passed"
        yield f"  gate {gate['metric']} {gate['rule']} {gate['bound']:g}: {_number(gate.get('value'))}, {verdict}"
    if state == "Succeeded":
        through = f", learned through {run['trainedThrough']}" if run.get("trainedThrough") else ""
        yield f"version {version} is accepted{through}"
    else:
        yield f"version {version} is {state.lower()}: it is kept and not deployed"


def serving(before: Status, now: Status) -> Iterator[str]:
    """The rollout's steps, and how it ended."""
    yield from _ended(before, now)
    old, new = before.get("candidate"), now.get("candidate")
    if new and new["revision"] != (old or {}).get("revision"):
        beside = f" beside version {now['stable'].get('version')}" if now.get("stable") else ""
        yield f"version {new.get('version')} begins to roll out{beside}"
    rollout, earlier = now.get("rollout"), before.get("rollout") or {}
    if (
        rollout
        and rollout["steps"]
        and (rollout["step"], rollout["state"]) != (earlier.get("step"), earlier.get("state"))
    ):
        yield f"  step {min(rollout['step'] + 1, rollout['steps'])} of {rollout['steps']}: {_step(now)}"
    stable, was = now.get("stable"), before.get("stable")
    if stable and not was:
        yield f"version {stable.get('version')} is the first to be served"
    if _ready(now) and not _ready(before):
        yield f"the model answers at {now.get('url')}"


def _ended(before: Status, now: Status) -> Iterator[str]:
    known = {(entry["revision"], entry["at"]) for entry in before.get("history", ())}
    for entry in reversed(now.get("history", ())):
        if (entry["revision"], entry["at"]) in known:
            continue
        for result in (before.get("rollout") or {}).get("analysis", ()):
            yield f"  {_analysis(result)}"
        yield f"version {entry.get('version')}: {entry['outcome']}"
    quarantined = {entry["revision"] for entry in before.get("quarantined", ())}
    for entry in now.get("quarantined", ()):
        if entry["revision"] not in quarantined:
            yield f"version {entry.get('version')} is quarantined: {entry['reason']}"


def _step(now: Status) -> str:
    weight = now.get("candidate", {}).get("weight") or {}
    asked = f"{weight['asked']:.0f} % of requests asked for" if weight.get("asked") is not None else ""
    words = [now["rollout"]["state"], asked, *(_analysis(r) for r in now["rollout"].get("analysis", ()))]
    return "; ".join(word for word in words if word)


def _analysis(result: Status) -> str:
    bound = f" (at most {result['bound']:.3g})" if result.get("bound") is not None else ""
    return f"{result['name']} {_number(result.get('value'))}{bound} on {result['samples']}: {result['verdict']}"


def monitoring(before: Status, now: Status) -> Iterator[str]:
    """The baseline, verdicts with their features and sizes, and requests."""
    old, new = before.get("baseline") or {}, now.get("baseline") or {}
    if new.get("state") == "Complete" and (old.get("state") != "Complete" or old.get("since") != new.get("since")):
        version = (now.get("model") or {}).get("version")
        yield f"knows what is normal for version {version}: a baseline of {new['rows']} rows"
    known = {verdict["id"]: verdict for verdict in before.get("verdicts", ())}
    for verdict in reversed(now.get("verdicts", ())):
        if verdict["id"] not in known:
            yield from _verdict(verdict)
        elif verdict.get("action") != known[verdict["id"]].get("action"):
            yield f"{verdict['state']}: {verdict['action']}"
    requested = {request["id"]: request.get("state") for request in before.get("requests", ())}
    for request in now.get("requests", ()):
        if request["id"] not in requested:
            yield f"asks for a new version: {request['reason']}"


def _verdict(verdict: Status) -> Iterator[str]:
    loss = verdict.get("loss")
    worse = f", loss {loss['reference']:.3g} -> {loss['now']:.3g}" if loss else ""
    yield f"VERDICT {verdict['state']} on {verdict['samples']} rows{worse}"
    for feature in verdict.get("features", ())[:5]:
        size = f"{feature['effect']:.1%} (z = {feature['statistic']:.1f})"
        yield f"  {feature['name']}: {feature['kind']} differs by {size}"
    for key in ("action", "next"):
        if verdict.get(key):
            yield f"  {key}: {verdict[key]}"


def _ready(status: Status) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", ()))


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"
