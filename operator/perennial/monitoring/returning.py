"""The way back to the version before: whether there is one, and what labels have said of it since harm was found."""

from __future__ import annotations

from perennial.api.modeldeployment_status import PreviousVersion
from perennial.wire.stats import Pairs

from .before import wins
from .checkpoint import Checkpoint
from .objections import Return
from .observed import Deployment, Observed
from .requests import Back


def way_back(observed: Observed, checkpoint: Checkpoint) -> Return:
    """What a rollback of the judged model would come to."""
    deployment, spec = observed.deployment, observed.spec
    if deployment is None or spec is None or checkpoint.model is None:
        return Return()
    previous = deployment.status.previous
    under_way = any(entry.sha256 == checkpoint.model.sha256 for entry in deployment.status.quarantined)
    if previous is None:
        return Return()
    back = Back(spec.deployment, previous.sha256, previous.version)
    if objection := _objection(deployment, previous, back):
        return Return(objection=objection)
    pairs = checkpoint.tally.pairs.get(previous.sha256, Pairs())
    return Return(back, wins=wins(pairs), words=_words(checkpoint, back, pairs), under_way=under_way)


def _objection(deployment: Deployment, previous: PreviousVersion, back: Back) -> str | None:
    if deployment.training_job is None:
        return "the deployment's spec.model names its model by place, and that holds"
    if deployment.pinned is not None:
        return f"the deployment's spec.model.version is {deployment.pinned}, and that holds"
    if deployment.suspended:
        return "the deployment is suspended"
    if any(entry.sha256 == previous.sha256 for entry in deployment.status.quarantined):
        return f"{back.title}, the one before, is quarantined"
    if not previous.compared:
        return f"the pods do not score {back.title} too: its store is another one, or their server was changed since"
    return None


def _words(checkpoint: Checkpoint, back: Back, pairs: Pairs) -> str:
    tally = checkpoint.tally
    labels = tally.labels - tally.labels_then
    if not labels:
        return "no label came back since harm was found"
    if not pairs.labelled:
        return (
            f"none of the {labels} labels that came back since harm was found is of a row that it has scored too; the "
            "pods' logs say whether the two can be compared"
        )
    n = pairs.labelled
    return f"on {n} rows labelled since its loss is {pairs.companion_loss / n:.3g} where it is {pairs.loss / n:.3g} now"
