"""Labels that came with receipts and wait in the pods that were sent them: to whoever remembers their predictions.

Before the table's labels, so that none of them counts for a prediction that has one already. A pod that is done with
them is told so last: whenever this is interrupted it can be done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from perennial.wire.journal import Outcome, Received

from .servers import Pod, Unreachable

LABELS_A_REQUEST = 500


def settle(pods: Sequence[Pod], again: float, say: Callable[[str], None]) -> None:
    """Have each label that waits counted once: by who remembers its prediction, and where nobody does by the pod that
    it waits in. While a pod cannot be asked, what the others do not remember goes on waiting.
    """
    waiting: dict[Pod, list[Received]] = {}
    everyone = True
    # What waits is fetched before any pod is asked what it remembers: its prediction was made before then.
    for pod in pods:
        try:
            waiting[pod] = pod.waiting(again)
        except Unreachable as error:
            everyone = False
            say(str(error))
    labels = list({label.id: label for each in waiting.values() for label in each}.values())
    if not labels:
        return
    remembered: set[int] = set()
    for pod in pods:
        try:
            remembered |= _remembered(pod, [label for label in labels if label.id not in remembered])
        except Unreachable as error:
            everyone = False
            say(str(error))
    forgotten = {label.id for label in labels} - remembered if everyone else set()
    for pod, counted, its in _shares(waiting, remembered, forgotten):
        _tell(pod, again, counted, its, say)
    left = len(labels) - len(remembered) - len(forgotten)
    say(f"{len(remembered) + len(forgotten)} labels that came with receipts were counted, {left} go on waiting")


def _shares(
    waiting: dict[Pod, list[Received]], remembered: set[int], forgotten: set[int]
) -> Iterator[tuple[Pod, list[int], list[int]]]:
    """What each pod is told: which labels are done with, and which it is to count. Of copies in several pods the first
    pod counts one, after the others have dropped theirs."""
    first = {label.id: pod for pod, labels in reversed(waiting.items()) for label in labels}
    for pod, labels in reversed(waiting.items()):
        its = [label.id for label in labels if label.id in forgotten and first[label.id] is pod]
        settled = remembered | forgotten - set(its)
        yield pod, [label.id for label in labels if label.id in settled], its


def _remembered(pod: Pod, labels: list[Received]) -> set[int]:
    """Those whose prediction the pod remembers: they are counted by now."""
    remembered: set[int] = set()
    for start in range(0, len(labels), LABELS_A_REQUEST):
        part = labels[start : start + LABELS_A_REQUEST]
        answer = pod.receive(part)
        if answer is None:
            return remembered
        known = zip(part, answer.outcomes, strict=True)
        remembered |= {label.id for label, outcome in known if outcome != Outcome.GONE}
    return remembered


def _tell(pod: Pod, again: float, counted: list[int], forgotten: list[int], say: Callable[[str], None]) -> None:
    if not counted and not forgotten:
        return
    try:
        pod.waiting(again, counted, forgotten)
    except Unreachable as error:
        say(str(error))
