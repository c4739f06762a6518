"""Telling an MLflow server of a version once it is sealed, or of a failure: a view for people, on which no run depends.

Whatever goes wrong is said and the run ends as it would have without. Everything that is told is looked for first, by
tags that no other run has, so that an attempt after one that was interrupted completes what is there.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from perennial.runtime.store import open_version
from perennial.wire import places
from perennial.wire.result import Result, Tracked
from perennial.wire.run import Mlflow, Run

from .mlflow import MlflowError, Server
from .tracked_facts import FAILURE, Facts, Registration, facts_of, facts_of_failure

PATIENCE_SECONDS = 60.0
"""What a run may take longer for it, whatever the server does: one that answers slowly is waited for."""
_OUTAGE_SECONDS = 20.0
"""How long one that does not answer is tried again."""
_PAUSE_SECONDS = 2.0
_PROBLEM_LIMIT = 300
_EXISTS = "RESOURCE_ALREADY_EXISTS"
_MISSING = "RESOURCE_DOES_NOT_EXIST"


def tracked(
    run: Run,
    mlflow: Mlflow,
    result: Result,
    started: datetime,
    say: Callable[[str], None],
    secret: Path = Path(places.TRACKING_SECRET),
    patience: float = PATIENCE_SECONDS,
) -> Result:
    """The result with what the server has of it, and why not where it has not. Raises nothing.

    Of a failure it is told as far as one can tell before the last attempt, the one that began at `started`: one that
    comes to a version makes it good.
    """
    facts = partial(_facts, run, result, started, datetime.now(UTC))
    told = _within(patience, lambda: _attempts(mlflow, facts, secret, min(patience, _OUTAGE_SECONDS)))
    say(f"MLflow: run {told.run} in {mlflow.experiment!r}" if told.problem is None else f"MLflow: {told.problem}")
    return msgspec.structs.replace(result, tracked=told)


def _facts(run: Run, result: Result, started: datetime, ended: datetime) -> Facts:
    if result.model is not None:
        return facts_of(run, result.model, open_version(result.model.uri, seal=result.model.seal))
    assert result.failure is not None
    return facts_of_failure(run, result.failure, started, ended)


def _within(patience: float, work: Callable[[], Tracked]) -> Tracked:
    """In a thread, which is left behind: neither a look-up of a name nor an answer that trickles minds a timeout."""
    answer: queue.SimpleQueue[Tracked] = queue.SimpleQueue()
    threading.Thread(target=lambda: answer.put(work()), daemon=True).start()
    try:
        return answer.get(timeout=patience)
    except queue.Empty:
        return Tracked(problem=f"no answer within {patience:g} s")


def _attempts(mlflow: Mlflow, find: Callable[[], Facts], secret: Path, outage: float) -> Tracked:
    deadline = time.monotonic() + outage
    try:
        facts = find()
        server = Server(mlflow.uri, secret)
        while True:
            try:
                return Tracked(_logged(server, mlflow.experiment, facts))
            except MlflowError as error:
                if not error.passes or time.monotonic() + 2 * _PAUSE_SECONDS > deadline:
                    raise
            time.sleep(_PAUSE_SECONDS)
    except MlflowError as error:
        return _problem(str(error))
    except Exception as error:  # a version is not lost for what its tracker, or this code, did not expect
        return _problem(f"{type(error).__name__}: {error}")


def _problem(words: str) -> Tracked:
    return Tracked(problem=" ".join(words.split())[:_PROBLEM_LIMIT])


def _logged(server: Server, experiment_name: str, facts: Facts) -> str:
    """The id of the version's run in MLflow, which is whole there. Raises MlflowError."""
    experiment = _experiment(server, experiment_name)
    known = _find_run(server, experiment, facts)
    run_id = known["info"]["run_id"] if known else _create_run(server, experiment, facts)
    status = known["info"]["status"] if known else None
    # The last of its calls says that it is finished: what is found so is whole, and a version that is there does not
    # fail any more.
    if status != "FINISHED":
        _complete_run(server, run_id, facts, {FAILURE: ""} if status == "FAILED" else {})
    if facts.registration:
        _register(server, facts.registration, run_id, facts)
    return str(run_id)


def _experiment(server: Server, name: str) -> str:
    try:
        found = server.get("experiments/get-by-name", experiment_name=name)["experiment"]
    except MlflowError as error:
        if error.code != _MISSING:
            raise
        return _create_experiment(server, name)
    if found["lifecycle_stage"] == "deleted":
        raise MlflowError(f"the experiment {name!r} was deleted there: restore it, or name another")
    return str(found["experiment_id"])


def _create_experiment(server: Server, name: str) -> str:
    try:
        return str(server.post("experiments/create", name=name)["experiment_id"])
    except MlflowError as error:
        if error.code == _EXISTS:  # another run was faster: the next attempt finds it
            error.passes = True
        raise


def _find_run(server: Server, experiment: str, facts: Facts) -> Any:
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in facts.key.items())
    found = server.post("runs/search", experiment_ids=[experiment], filter=wanted, max_results=1)
    return next(iter(found.get("runs", [])), None)


def _create_run(server: Server, experiment: str, facts: Facts) -> str:
    made = server.post(
        "runs/create",
        experiment_id=experiment,
        run_name=facts.name,
        start_time=facts.started,
        tags=_pairs({"mlflow.source.name": "perennial", "mlflow.source.type": "JOB", **facts.key}),
    )
    return str(made["run"]["info"]["run_id"])


def _complete_run(server: Server, run_id: str, facts: Facts, outdated: Mapping[str, str]) -> None:
    server.post(
        "runs/log-batch",
        run_id=run_id,
        tags=_pairs({**outdated, **facts.tags}),
        params=_pairs(facts.parameters),
        # With the same time a metric that is logged again is the same entry.
        metrics=[{**pair, "timestamp": facts.ended, "step": 0} for pair in _pairs(facts.metrics)],
    )
    server.post("runs/update", run_id=run_id, status=facts.status, end_time=facts.ended)


def _register(server: Server, registration: Registration, run_id: str, facts: Facts) -> None:
    """The version in the model registry, under the TrainingJob's name; it points to the store."""
    name = registration.name
    found = server.get("model-versions/search", filter=f"run_id = '{run_id}'").get("model_versions", [])
    if any(version["name"] == name for version in found):
        return
    try:
        server.post("registered-models/create", name=name)
    except MlflowError as error:
        if error.code != _EXISTS:
            raise
    told = facts.key | {name: value for name, value in facts.tags.items() if name.startswith("perennial.")}
    server.post("model-versions/create", name=name, source=registration.source, run_id=run_id, tags=_pairs(told))


def _pairs(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in told.items()]
