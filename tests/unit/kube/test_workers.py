"""Workers go on, whatever goes wrong with a key, and end in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from perennial.kube.children import StillThere
from perennial.kube.errors import from_status
from perennial.kube.plan import Key
from perennial.kube.queue import Queue
from perennial.kube.workers import LONGEST_RECONCILE, Workers

pytestmark = pytest.mark.looptime

A = Key("ns", "a")


class Reconciler:
    """Fails as told, one failure a time, and then does well."""

    def __init__(self, *failures: BaseException | Callable[[], object], after: float | None = None) -> None:
        self.failures = list(failures)
        self.after = after
        self.at: list[float] = []

    async def reconcile(self, key: Key) -> float | None:
        self.at.append(asyncio.get_running_loop().time())
        if not self.failures:
            return self.after
        failure = self.failures.pop(0)
        if isinstance(failure, BaseException):
            raise failure
        await asyncio.sleep(1e9)
        return None


def api_error(code: int, **more: object) -> Exception:
    return from_status({"code": code, "reason": "Reason", "message": "words", **more})


async def run(reconciler: Reconciler, seconds: float, name: str = "workers") -> Workers:
    queue: Queue[Key] = Queue(name, jitter=lambda: 0.5)
    workers = Workers(name, queue, reconciler, 2)
    workers.start()
    queue.add(A)
    await asyncio.sleep(seconds)
    return workers


@pytest.mark.parametrize(
    "failure",
    [api_error(409), api_error(500), api_error(422), StillThere("leaving"), ValueError("a bug"), KeyError("spec")],
)
async def test_any_failure_is_tried_again(failure: Exception) -> None:
    reconciler = Reconciler(failure, failure)
    workers = await run(reconciler, 5)
    assert len(reconciler.at) == 3
    assert [later - sooner for sooner, later in zip(reconciler.at, reconciler.at[1:], strict=False)] == [
        pytest.approx(0.05, abs=0.02),
        pytest.approx(0.1, abs=0.02),
    ]
    await workers.stop()


async def test_a_server_that_asks_for_patience_gets_it() -> None:
    reconciler = Reconciler(api_error(429, details={"retryAfterSeconds": 20}))
    workers = await run(reconciler, 60)
    assert reconciler.at[1] - reconciler.at[0] == pytest.approx(20, abs=0.1)
    await workers.stop()


async def test_a_reconcile_without_end_is_given_up() -> None:
    reconciler = Reconciler(lambda: None)
    workers = await run(reconciler, LONGEST_RECONCILE + 5)
    assert len(reconciler.at) == 2
    await workers.stop()


async def test_it_comes_back_when_the_plan_says() -> None:
    reconciler = Reconciler(after=30)
    workers = await run(reconciler, 100)
    assert len(reconciler.at) == 4
    await workers.stop()


async def test_work_in_hand_is_finished_before_the_end() -> None:
    done: list[Key] = []

    class Slow:
        async def reconcile(self, key: Key) -> None:
            await asyncio.sleep(5)
            done.append(key)

    queue: Queue[Key] = Queue("slow")
    workers = Workers("slow", queue, Slow(), 1)
    workers.start()
    queue.add(A)
    queue.add(Key("ns", "b"))
    await asyncio.sleep(1)
    await workers.stop(grace=20)
    assert done == [A], "the one in hand, and no other"


async def test_work_without_end_is_cut_off_at_the_end() -> None:
    workers = await run(Reconciler(lambda: None), 1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await workers.stop(grace=10)
    assert loop.time() - began == pytest.approx(10, abs=0.1)


async def test_results_are_counted_under_the_names_of_controller_runtime() -> None:
    workers = await run(Reconciler(api_error(500), api_error(409)), 5, name="counted")
    await workers.stop()

    def value(metric: str, **labels: str) -> float | None:
        return REGISTRY.get_sample_value(metric, labels)

    assert value("controller_runtime_reconcile_total", controller="counted", result="success") == 1
    assert value("controller_runtime_reconcile_total", controller="counted", result="error") == 1
    assert value("controller_runtime_reconcile_total", controller="counted", result="requeue") == 1
    assert value("controller_runtime_reconcile_errors_total", controller="counted") == 1
    assert value("controller_runtime_max_concurrent_reconciles", controller="counted") == 2
    assert value("workqueue_retries_total", name="counted") == 2
    assert value("workqueue_depth", name="counted") == 0
