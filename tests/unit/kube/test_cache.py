"""The cache: newer wins, whatever the order of arrival, and what is gone stays gone."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.kube.cache import TOMBSTONE_SECONDS, Cache, Caches, Change
from perennial.kube.plan import Manifest
from perennial.kube.resources import CONFIGMAPS

from .objects import configmap


@pytest.fixture
def cache() -> Cache:
    return Cache(CONFIGMAPS)


def test_an_older_event_does_not_overwrite_the_answer_to_a_write(cache: Cache) -> None:
    cache.store(configmap("a", 10, text="mine"))
    assert not cache.store(configmap("a", 9, text="older"))
    assert cache.get("ns", "a") == configmap("a", 10, text="mine")


def test_the_event_of_an_own_write_is_no_news(cache: Cache) -> None:
    changes: list[Change] = []
    cache.store(configmap("a", 10))
    cache.listen(changes.append)
    assert not cache.store(configmap("a", 10))
    assert changes == []


def test_a_late_answer_does_not_bring_a_deleted_object_back(cache: Cache) -> None:
    cache.store(configmap("a", 10))
    assert cache.discard(configmap("a", 12))
    assert not cache.store(configmap("a", 11))
    assert cache.get("ns", "a") is None


def test_an_object_that_lost_its_label_and_got_it_again_is_back(cache: Cache) -> None:
    cache.store(configmap("a", 10))
    cache.discard(configmap("a", 12))
    assert cache.store(configmap("a", 13))


def test_what_the_server_confirmed_as_deleted_never_comes_back(cache: Cache) -> None:
    cache.store(configmap("a", 10))
    assert cache.discard_uid("ns", "a", "uid-a")
    assert not cache.store(configmap("a", 99))
    assert cache.store(configmap("a", 11, uid="another"))


def test_the_deletion_of_a_predecessor_does_not_take_its_successor(cache: Cache) -> None:
    cache.store(configmap("a", 20, uid="new"))
    assert not cache.discard(configmap("a", 15, uid="old"))
    assert not cache.discard_uid("ns", "a", "old")
    assert cache.get("ns", "a") is not None


def test_a_list_tells_of_missed_deletions_but_takes_nothing_newer(cache: Cache) -> None:
    for name, version in (("kept", 5), ("missed", 6), ("just-made", 50)):
        cache.store(configmap(name, version))
    cache.replace([configmap("kept", 5), configmap("new", 7)], 40)
    assert sorted(m["metadata"]["name"] for m in cache) == ["just-made", "kept", "new"]


def test_a_list_of_one_namespace_says_nothing_of_others(cache: Cache) -> None:
    cache.store(configmap("here", 1, namespace="one"))
    cache.store(configmap("there", 1, namespace="two"))
    cache.replace([], 10, "one")
    assert [m["metadata"]["name"] for m in cache] == ["there"]


def test_owners_are_found_by_uid(cache: Cache) -> None:
    cache.store(configmap("a", 1, owner="o1"))
    cache.store(configmap("b", 2, owner="o1"))
    cache.store(configmap("a", 3, owner="o2"))
    assert [m["metadata"]["name"] for m in cache.owned_by("o1")] == ["b"]
    assert [m["metadata"]["name"] for m in cache.owned_by("o2")] == ["a"]
    assert cache.owned_by("nobody") == []


def test_an_index_covers_what_was_there_before_it(cache: Cache) -> None:
    cache.store(configmap("a", 1, colour="red"))

    def colour(manifest: Manifest) -> Iterable[str]:
        yield from manifest["data"].values()

    cache.add_index("colour", colour)
    cache.add_index("colour", colour)
    cache.store(configmap("b", 2, colour="red"))
    cache.store(configmap("a", 3, colour="blue"))
    assert [m["metadata"]["name"] for m in cache.by("colour", "red")] == ["b"]
    with pytest.raises(ValueError, match="has an index colour already"):
        cache.add_index("colour", lambda _: ())


def test_tombstones_are_forgotten_in_time() -> None:
    now = 0.0
    cache = Cache(CONFIGMAPS, clock=lambda: now)
    for number in range(1000):
        cache.discard_uid("ns", "a", str(number))
    now = TOMBSTONE_SECONDS + 1
    cache.discard_uid("ns", "a", "last")
    assert len(cache._tombstones) == 1


def test_caches_are_made_when_asked_for() -> None:
    caches = Caches()
    assert caches.of(CONFIGMAPS) is caches.of(CONFIGMAPS)
    assert list(caches) == [CONFIGMAPS]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["make", "change", "delete"])), max_size=30),
    st.integers(0, 2**32),
)
def test_any_order_of_arrival_leads_to_the_same_end(moves: list[tuple[str, str]], seed: int) -> None:
    """A history of three objects, told out of order and more than once: the end is what the server has."""
    live: dict[str, Manifest] = {}
    told: list[tuple[str, Manifest]] = []
    for version, (name, move) in enumerate(moves, 1):
        if move == "delete":
            if name in live:
                told.append(("DELETED", configmap(name, version, uid=live.pop(name)["metadata"]["uid"])))
            continue
        if move == "make" and name in live:
            continue
        if move == "change" and name not in live:
            continue
        uid = f"{name}-{version}" if move == "make" else live[name]["metadata"]["uid"]
        live[name] = configmap(name, version, uid=uid)
        told.append(("MODIFIED", live[name]))
    late = [*told, *random.Random(seed).sample(told, len(told) // 2)]
    random.Random(seed).shuffle(late)
    cache = Cache(CONFIGMAPS)
    for kind, manifest in late:
        if kind == "DELETED":
            cache.discard(manifest)
        else:
            cache.store(manifest)
    for name, manifest in live.items():
        assert cache.get("ns", name) == manifest
    assert len(cache) == len(live)
    assert sorted(m["metadata"]["name"] for m in cache.in_namespace("ns")) == sorted(live)
