"""The engine under the oracles, with the toy kind."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.kube.errors import ApiError, from_status
from perennial.kube.plan import Key

from .apiserver import ApiServer, Write
from .installation import Installation
from .oracles import chapters, is_at_rest, survives_every_crash, survives_late_views, told
from .toy import shelf, shelves


async def filled(installation: Installation) -> None:
    installation.server.put("shelves", shelf("a", one="x", two="x,y"))
    installation.server.put("shelves", shelf("b", one="z"))
    await installation.settle()


async def changed(installation: Installation) -> None:
    asked = shelf("a", two="y", three="w") | {"spec": {"books": {"one": None, "two": "y", "three": "w"}}}
    installation.server.put("shelves", asked)
    await installation.settle()


async def made_again(installation: Installation) -> None:
    """Deleted, and made again under the same name."""
    installation.server.remove("shelves", "library", "b")
    await installation.settle()
    installation.server.put("shelves", shelf("b", one="z", two="v"))
    await installation.settle()


async def at_once(installation: Installation) -> None:
    """All of it again, while nobody waits for what comes of it."""
    for name in "ab":
        installation.server.remove("shelves", "library", name)
    for step in (filled, changed, made_again):
        await step(installation)


STORY = (filled, changed, made_again, at_once)


async def test_the_story_ends_well() -> None:
    end = await told(shelves, STORY)
    assert [book["metadata"]["name"] for book in end.server.of("configmaps")] == ["a-three", "a-two", "b-one", "b-two"]
    assert next(m for m in end.server.of("configmaps") if m["metadata"]["name"] == "a-two")["data"] == {"y": "text"}
    assert [s["status"]["books"] for s in end.server.of("shelves")] == [["a-three", "a-two"], ["b-one", "b-two"]]
    assert end.server.of("persistentvolumeclaims"), "the cellar outlives its shelves"


async def test_no_crash_changes_the_end() -> None:
    assert await survives_every_crash(shelves, await chapters(shelves, STORY)) > 15


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
async def test_no_late_view_changes_the_end(seed: int) -> None:
    for chapter in await chapters(shelves, STORY):
        await survives_late_views(shelves, chapter, seed)


async def test_nothing_changed_nothing_is_written() -> None:
    await is_at_rest(await told(shelves, STORY))


async def test_a_foreign_object_is_left_alone_and_said() -> None:
    server = ApiServer()
    theirs = server.put(
        "configmaps",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "library", "name": "a-one"}, "data": {}},
    )
    server.put("shelves", shelf("a", one="x", two="y"))
    installation = Installation(server, shelves)
    await installation.settle()
    assert server.objects["configmaps", "library", "a-one"] == theirs
    status = server.objects["shelves", "library", "a"]["status"]
    assert status["problems"] == ["NameTaken ConfigMap a-one"]
    assert status["books"] == ["a-two"], "what is not in the way is made all the same"


async def test_a_webhook_that_changes_a_child_back_is_said_and_not_fought() -> None:
    server = ApiServer()
    server.put("shelves", shelf("a", one="x"))
    installation = Installation(server, shelves)
    await installation.settle()

    def undo(manifest: dict[str, object]) -> dict[str, object]:
        return manifest | {"data": {"x": "mine"}} if manifest["kind"] == "ConfigMap" else manifest

    server.admit = undo
    server.put("configmaps", {**server.of("configmaps")[0], "data": {"x": "theirs"}})
    for _ in range(10):
        installation.enqueue_all()
        await installation.settle()
    assert server.objects["shelves", "library", "a"]["status"]["problems"] == ["Contended ConfigMap a-one"]
    patches = [write for write in server.writes if write.method == "PATCH" and write.plural == "configmaps"]
    assert len(patches) <= 3, "asked for again and again"


async def test_a_controller_that_changes_a_child_back_is_said_and_not_fought() -> None:
    server = ApiServer()
    server.put("shelves", shelf("a", one="x"))
    installation = Installation(server, shelves)
    await installation.settle()
    for round_ in range(10):
        server.put("configmaps", {**server.of("configmaps")[0], "data": {"x": f"theirs {round_}"}})
        await installation.settle()
    assert server.objects["shelves", "library", "a"]["status"]["problems"] == ["Contended ConfigMap a-one"]
    applies = [w for w in server.writes if w.method == "PATCH" and w.plural == "configmaps"]
    assert len(applies) <= 4, "asked for again and again"


async def test_a_status_that_the_schema_changes_is_written_once_and_forgotten_with_its_owner() -> None:
    server = ApiServer()
    server.put("shelves", shelf("a"))
    server.admit = lambda manifest: manifest | {"status": {}} if manifest["kind"] == "Shelf" else manifest
    installation = Installation(server, shelves)
    for _ in range(5):
        installation.enqueue_all()
        await installation.settle()
    assert [write.subresource for write in server.writes].count("status") == 1
    (reconciler,) = installation.reconcilers.values()
    assert len(reconciler._pruned) == 1
    server.remove("shelves", "library", "a")
    await installation.settle()
    assert not reconciler._pruned


@pytest.mark.parametrize(
    ("code", "reason", "message", "problem"),
    [
        (403, "Forbidden", "configmaps is forbidden: User may not", "Forbidden"),
        (403, "Forbidden", "exceeded quota: no-room, requested: count/configmaps=1", "QuotaExceeded"),
        (422, "Invalid", "data: Invalid value", "Invalid"),
        (400, "BadRequest", "cannot be read", "Invalid"),
    ],
)
async def test_a_refusal_is_told_in_the_status(code: int, reason: str, message: str, problem: str) -> None:
    server = ApiServer()
    refused = from_status({"code": code, "reason": reason, "message": message})
    server.refuse = lambda write: refused if write.plural == "configmaps" else None
    server.put("shelves", shelf("a", one="x"))
    installation = Installation(server, shelves)
    await installation.settle()
    assert server.objects["shelves", "library", "a"]["status"]["problems"] == [f"{problem} ConfigMap a-one"]


@pytest.mark.parametrize("code", [409, 429, 500, 503, 504])
async def test_what_is_nobodys_fault_is_tried_again(code: int) -> None:
    """Every third write fails; the end is the same."""
    calm = await told(shelves, STORY)
    server = ApiServer()
    count = 0

    def refuse(write: Write) -> ApiError | None:
        nonlocal count
        count += 1
        return from_status({"code": code, "reason": "Conflict", "message": "not now"}) if count % 3 == 0 else None

    server.refuse = refuse
    rough = Installation(server, shelves)
    for step in STORY:
        await step(rough)
    await rough.settle()
    assert rough.state() == calm.state()


async def test_a_status_waits_once_while_others_do_and_its_events_with_it() -> None:
    server = ApiServer()
    server.put("shelves", shelf("a", one="x"))
    installation = _Busy(server, shelves)
    await installation.step()
    assert [write.plural for write in server.writes] == ["persistentvolumeclaims", "configmaps", "controllerrevisions"]
    assert installation.told.events == []
    server.remove("configmaps", "library", "a-one")
    installation.hear()
    await installation.step()
    made_again, status = server.writes[3:]
    assert (made_again.plural, status.subresource) == ("configmaps", "status"), "not a second time in a row"
    assert installation.told.events == ["a Arranged"], "the same news twice is no news"
    await installation.settle()
    assert installation.told.events == ["a Arranged"] * 2
    await is_at_rest(installation)


async def test_no_status_waits_for_a_turn_that_never_comes() -> None:
    installation = _Busy(ApiServer(), shelves)
    for step in STORY:
        await step(installation)
    await installation.settle()
    assert installation.state() == (await chapters(shelves, STORY))[-1].state


class _Busy(Installation):
    """Others always wait."""

    def may_wait(self, name: str, key: Key) -> bool:
        return (name, key) in self.queue


async def test_events_come_after_the_status() -> None:
    server = ApiServer()
    server.put("shelves", shelf("a", one="x"))
    installation = Installation(server, shelves)
    failing = from_status({"code": 500, "reason": "InternalError", "message": "no"})
    server.refuse = lambda write: failing if write.subresource == "status" else None
    await installation.step()
    assert installation.told.events == []
    server.refuse = lambda _: None
    await installation.settle()
    assert installation.told.events == ["a Arranged"]
