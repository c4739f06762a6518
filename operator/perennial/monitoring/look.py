"""Looking at the pods of a deployment: when it is due, whom to ask, and what they answer.

Asking closes an epoch, so pods are asked a few times a window and not with every event. Asked at once are a pod that
is new, since what one that was never heard takes with it cannot even be estimated, and one that is ending, for it waits
but a few seconds to be told that its last epoch is safe.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from perennial.api.labels import REVISION
from perennial.kube.plan import Key, Manifest
from perennial.kube.podclient import PodUnreachable
from perennial.pods.statuses import holding
from perennial.wire import places
from perennial.wire.counts import EPOCHS_PATH, REFERENCE_PATH, Epochs, Take
from perennial.wire.journal import JOURNAL_PATH, Keep, Kept
from perennial.wire.reference import Reference

from .checkpoint import Checkpoint, Mark
from .observed import Look

LOOKS_A_WINDOW = 4
SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two looks: the longest is what a node that dies can lose."""

UNTOLD_SECONDS = 0.5
"""A pod that has just started is told so often by which key to remember, until it hears it."""

DEAF = 60
"""Times in a row after which a pod that does not hear is told with the looks only."""

ENDING_SECONDS = 1.0
"""An ending pod is asked so often until it is gone, or would have been killed: it serves on for a few seconds, then
waits 5 s for its last epoch to be acknowledged."""

AnswerT = TypeVar("AnswerT")


class Pods(Protocol):
    """Typed questions to pods; both raise PodUnreachable."""

    async def get_json(self, ip: str, port: int, path: str, answer: type[AnswerT]) -> AnswerT: ...

    async def post_json(self, ip: str, port: int, path: str, body: object, answer: type[AnswerT]) -> AnswerT: ...


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that can be asked. One that is ending has `grace` seconds for it."""

    uid: str
    name: str
    ip: str
    revision: str
    ready: bool
    ending: bool
    grace: float


@dataclass(frozen=True, slots=True)
class Question:
    """What a look is for: the stable revision's counts of the model with digest `model`. A candidate is asked nothing
    yet, unless a pod of it ends.

    `acts` False only looks: what the pods keep stays for the monitor that acts. `key` is what they are to remember
    predictions by, the candidate's too.
    """

    stable: str
    model: str
    period: float
    acts: bool
    key: str | None = None


@dataclass(slots=True)
class _Memory:
    """Of one monitor, between looks; all of it can be lost."""

    due: float = 0.0
    ending_due: float = 0.0
    serving: int = 0
    unreachable: dict[str, str] = field(default_factory=dict)
    no_reference: str | None = None
    met: set[str] = field(default_factory=set)
    """New pods that were asked at once."""
    ending: dict[str, float] = field(default_factory=dict)
    """Since when pods are known to be ending."""
    quiet: dict[str, float] = field(default_factory=dict)
    """When pods last said that they had served nothing since what the checkpoint holds."""
    told: dict[str, str | None] = field(default_factory=dict)
    """The key that pods were told, by uid."""
    deaf: dict[str, int] = field(default_factory=dict)
    """How often in a row a pod did not hear it."""

    def keep_of(self, living: Collection[str], known: Checkpoint) -> None:
        """Forget pods that are gone; how long they were quiet matters until they have been missed."""
        self.met = {uid for uid in self.met if uid in living}
        self.ending = {uid: since for uid, since in self.ending.items() if uid in living}
        self.quiet = {uid: since for uid, since in self.quiet.items() if uid in known.pods}


class Watcher:
    """Looks at pods for all monitors. `clock` is in monotonic seconds."""

    def __init__(self, pods: Pods, clock: Callable[[], float]) -> None:
        self._pods = pods
        self._clock = clock
        self._memories: dict[Key, _Memory] = {}

    def forget(self, key: Key) -> None:
        self._memories.pop(key, None)

    async def look(self, key: Key, question: Question, manifests: Iterable[Manifest], known: Checkpoint) -> Look:
        """What the pods have to say now; between looks, how the last one went."""
        memory = self._memories.setdefault(key, _Memory())
        living = [manifest for manifest in manifests if _lives(manifest)]
        pods = _by_address(living)
        now = self._clock()
        memory.keep_of({manifest["metadata"]["uid"] for manifest in living}, known)
        serving = [pod for pod in pods if pod.revision == question.stable and not pod.ending]
        ending = [pod for pod in pods if pod.ending and now < memory.ending.setdefault(pod.uid, now) + pod.grace]
        due, ending_due = now >= memory.due, now >= memory.ending_due
        new = [pod for pod in serving if pod.ready and pod.uid not in known.pods and pod.uid not in memory.met]
        untold = await self._tell(memory, [pod for pod in pods if not pod.ending], question, patient=not due)
        if due:
            memory.due = now + _interval(question.period)
            memory.serving = len(serving)
            memory.unreachable = {}
        if ending_due:
            memory.ending_due = now + ENDING_SECONDS
        reference = await self._reference(memory, serving, question, known) if due else None
        # Cells mean nothing without the reference; what serves keeps its epochs until it is here.
        told = serving if due else new
        asked = [*(ending if ending_due else []), *(told if known.reference or reference else [])]
        answers = await self._ask(memory, asked, question, known)
        return Look(
            present=frozenset(manifest["metadata"]["uid"] for manifest in living),
            serving=memory.serving,
            answers=answers,
            unreachable=dict(memory.unreachable),
            reference=reference,
            no_reference=memory.no_reference,
            quiet={uid: self._clock() - since for uid, since in memory.quiet.items()},
            next=min(
                max(min(memory.due, memory.ending_due if ending else memory.due) - self._clock(), 0.0),
                UNTOLD_SECONDS if untold else math.inf,
            ),
        )

    async def _tell(self, memory: _Memory, pods: list[Pod], question: Question, *, patient: bool) -> bool:
        """Have pods remember predictions by the key as soon as they can hear it, which is before they are sent any
        request. Whether one is to be told again soon; who has long been deaf is told with the looks only."""
        present = {pod.uid for pod in pods}
        memory.told = {uid: key for uid, key in memory.told.items() if uid in present}
        memory.deaf = {uid: times for uid, times in memory.deaf.items() if uid in present}
        if not question.acts:
            return False
        # Who was told nothing remembers nothing: only of a key are pods told unasked.
        untold = [pod for pod in pods if memory.told.get(pod.uid) != question.key]
        untold = [pod for pod in untold if not patient or memory.deaf.get(pod.uid, 0) < DEAF]
        heard = await asyncio.gather(*(self._keep(pod, question.key) for pod in untold))
        for pod, has in zip(untold, heard, strict=True):
            if has:
                memory.told[pod.uid] = question.key
                memory.deaf.pop(pod.uid, None)
            else:
                memory.deaf[pod.uid] = memory.deaf.get(pod.uid, 0) + 1
        return any(times < DEAF for times in memory.deaf.values())

    async def _keep(self, pod: Pod, key: str | None) -> bool:
        try:
            await self._pods.post_json(pod.ip, places.CONTROL_PORT, JOURNAL_PATH, Keep(key), Kept)
        except PodUnreachable as error:
            # One of an earlier release: it never will.
            return error.status == 404
        return True

    async def _reference(
        self, memory: _Memory, serving: list[Pod], question: Question, known: Checkpoint
    ) -> Reference | None:
        """The reference of the model that is judged, from the first pod that has it; None where it is known."""
        if known.reference and known.model and known.model.sha256 == question.model:
            return None
        memory.no_reference = None
        for pod in serving:
            try:
                reference = await self._pods.get_json(pod.ip, places.CONTROL_PORT, REFERENCE_PATH, Reference)
            except PodUnreachable as error:
                memory.unreachable[pod.name] = str(error)
                if error.status == 404:
                    memory.no_reference = f"the version has no reference to compare with: {error}"
                continue
            if reference.model == question.model:
                return reference
        return None

    async def _ask(self, memory: _Memory, pods: list[Pod], question: Question, known: Checkpoint) -> dict[str, Epochs]:
        asked_at = self._clock()
        answers = await asyncio.gather(*(self._take(pod, known.pods.get(pod.uid), question.acts) for pod in pods))
        taken: dict[str, Epochs] = {}
        memory.met.update(pod.uid for pod in pods)
        for pod, answer in zip(pods, answers, strict=True):
            if isinstance(answer, str):
                memory.unreachable |= {} if pod.ending else {pod.name: answer}
                continue
            taken[pod.uid] = answer
            if question.acts and _brings_nothing(answer, known.pods.get(pod.uid)):
                memory.quiet[pod.uid] = asked_at
            # An operator that was started anew, or a pod that lost its disk: the pod itself says what it remembers by.
            memory.told[pod.uid] = answer.key
        return taken

    async def _take(self, pod: Pod, mark: Mark | None, acts: bool) -> Epochs | str:
        take = Take(mark.incarnation, mark.number, acts) if mark else Take(close=acts)
        try:
            answer = await self._pods.post_json(pod.ip, places.CONTROL_PORT, EPOCHS_PATH, take, Epochs)
        except PodUnreachable as error:
            return str(error)
        if pod.ending and mark and mark.incarnation != answer.incarnation:
            # Its containers are not started again: what has another file is another pod.
            return f"{pod.ip} is another pod's by now"
        return answer


def askable(manifests: Iterable[Manifest]) -> list[Pod]:
    """The pods that can be asked, those that end included."""
    return [pod for manifest in manifests if _lives(manifest) and (pod := _pod(manifest))]


def _by_address(manifests: Iterable[Manifest]) -> list[Pod]:
    """The pods that can be asked. Of two with one address the older is gone, and asked there would be the other, whose
    counts would be taken twice."""
    oldest_first = sorted(manifests, key=lambda manifest: str(manifest["metadata"].get("creationTimestamp", "")))
    pods = {pod.ip: pod for manifest in oldest_first if (pod := _pod(manifest))}
    return list(pods.values())


def _brings_nothing(answer: Epochs, mark: Mark | None) -> bool:
    return mark is not None and all(epoch.number <= mark.number for epoch in answer.epochs)


def _lives(manifest: Manifest) -> bool:
    return manifest.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _pod(manifest: Manifest) -> Pod | None:
    metadata, status = manifest["metadata"], manifest.get("status", {})
    ip = status.get("podIP")
    if not ip or status.get("phase") != "Running":
        return None
    return Pod(
        uid=metadata["uid"],
        name=metadata["name"],
        ip=ip,
        revision=(metadata.get("labels") or {}).get(REVISION, ""),
        ready=holding(manifest, "Ready") is not None,
        ending="deletionTimestamp" in metadata,
        grace=float(metadata.get("deletionGracePeriodSeconds") or 0.0),
    )


def _interval(period: float) -> float:
    """A little different each time, so that a restarted operator does not go on asking everybody at once."""
    return min(max(period / LOOKS_A_WINDOW, SHORTEST), LONGEST) * random.uniform(0.9, 1.1)
