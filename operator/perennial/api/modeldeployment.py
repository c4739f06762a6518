"""ModelDeployment: which version is served, on how many pods, and how a new one takes over."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field

from .containers import OwnContainer
from .duration import Duration
from .model import Keyed, Model, Rule, Satisfies
from .names import ModelUri, ResourceName, SecretReference, Sha256
from .peers import NetworkPolicyPeer
from .percent import Percent
from .pods import EnvVar, PodOptions, Resources, VolumeName


class ModelSource(Model):
    """The model that is served: of a TrainingJob, or by its place and digest."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.trainingJob) != has(self.uri)",
            "needs exactly one of trainingJob and uri",
            lambda model: (model.training_job is None) != (model.uri is None),
        ),
        Rule(
            "has(self.uri) == has(self.sha256)",
            "uri and sha256 belong together: the digest says which model it must be",
            lambda model: (model.uri is None) == (model.sha256 is None),
        ),
        Rule(
            "!has(self.version) || has(self.trainingJob)",
            "version pins a version of a trainingJob: with uri the sha256 does",
            lambda model: model.version is None or model.training_job is not None,
        ),
        Rule(
            "!has(self.seal) || has(self.uri)",
            "seal belongs to uri: with trainingJob the version's own seal is checked",
            lambda model: model.seal is None or model.uri is not None,
        ),
        Rule(
            "!has(self.secretRef) || has(self.uri)",
            "secretRef belongs to uri: with trainingJob the store's own Secret is used",
            lambda model: model.secret_ref is None or model.uri is not None,
        ),
    )

    training_job: ResourceName | None = None
    """The TrainingJob, in the same namespace, whose newest accepted version is served."""
    version: Annotated[int, Ge(1)] | None = None
    """Serve this version of the TrainingJob and no other."""
    uri: ModelUri | None = None
    """The folder of a version in a store, such as one that another cluster trained."""
    sha256: Sha256 | None = None
    """Digest of the model's primary file, as in `status.accepted.sha256` of its TrainingJob; checked before the
    model is loaded."""
    seal: Sha256 | None = None
    """Digest of the version's manifest, as in `status.accepted.seal` of its TrainingJob: with it every file of the
    version is proved to be the published one, whoever may write to the store."""
    secret_ref: SecretReference | None = None
    """The Secret with the credentials, endpoint and region for the URI."""


class ScalingMetric(Model):
    """What the number of replicas follows."""

    type: Literal["Concurrency"]
    """Concurrency is the mean number of requests in flight."""
    target: Annotated[int, Ge(1), Le(1000)]
    """The value per replica that is aimed at."""


class ScalingPolicy(Model):
    """How much may change within a period, as in autoscaling/v2."""

    type: Literal["Pods", "Percent"]
    """Whether `value` is a number of pods or a percentage of the replicas there are."""
    value: Annotated[int, Ge(1), Le(1000)]
    """How much may change."""
    period_seconds: Annotated[int, Ge(1), Le(1800)]
    """Within what time."""


class ScaleUpRules(Model):
    """How fast replicas are added."""

    stabilization_window_seconds: Annotated[int, Ge(0), Le(3600)] = 0
    """Only the lowest number recommended within this time is gone to."""
    policies: Annotated[tuple[ScalingPolicy, ...], MinLen(1), MaxLen(8)] = (
        ScalingPolicy(type="Percent", value=100, period_seconds=15),
        ScalingPolicy(type="Pods", value=4, period_seconds=15),
    )
    """How much may be added; the policy that allows most counts."""


class ScaleDownRules(Model):
    """How fast replicas are taken away."""

    stabilization_window_seconds: Annotated[int, Ge(0), Le(3600)] = 300
    """Only the highest number recommended within this time is gone to."""
    policies: Annotated[tuple[ScalingPolicy, ...], MinLen(1), MaxLen(8)] = (
        ScalingPolicy(type="Percent", value=100, period_seconds=15),
    )
    """How much may be taken away; the policy that allows most counts."""


class ScalingBehavior(Model):
    """How fast replicas change, as in autoscaling/v2."""

    scale_up: ScaleUpRules = ScaleUpRules()
    """How fast replicas are added."""
    scale_down: ScaleDownRules = ScaleDownRules()
    """How fast replicas are taken away."""


class Autoscaling(Model):
    """Lets the operator choose the number of replicas. A measurement that is missing never takes replicas away."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not be above maxReplicas",
            lambda scaling: scaling.min_replicas <= scaling.max_replicas,
        ),
    )

    min_replicas: Annotated[int, Ge(1), Le(1000)] = 1
    """Never fewer."""
    max_replicas: Annotated[int, Ge(1), Le(1000)]
    """Never more."""
    metrics: Annotated[tuple[ScalingMetric, ...], MinLen(1), MaxLen(4), Keyed("type")]
    """What the number of replicas follows; the metric that asks for most counts."""
    behavior: ScalingBehavior = ScalingBehavior()
    """How fast replicas change."""


class Step(Model):
    """A step of a canary: the candidate's share of requests, and what must pass before the next step."""

    weight: Annotated[int, Ge(1), Le(99)]
    """The candidate's share of requests, in percent. After the last step the candidate is promoted and takes all of
    them."""
    min_requests: Annotated[int, Ge(0), Le(1000000000)] = 100
    """How many requests the candidate must have answered in this step before it is judged."""
    hold: Duration | None = None
    """How long the step lasts at least."""


class ErrorRate(Model):
    """The candidate's share of failed requests."""

    max: Percent
    """Above this, with confidence, the candidate is rolled back."""


class Disagreement(Model):
    """The share of rows on which candidate and stable model predict differently."""

    max: Percent
    """Above this, with confidence, the candidate is rolled back; for a version trained because of drift it is only
    reported: the cure must differ."""


class LossComparison(Model):
    """The loss of candidate and stable model on the same labelled rows."""

    margin: Percent
    """How much greater, relative to the stable model's, the candidate's loss may be."""


class Analysis(Model):
    """What the candidate is judged by, at each step."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.errorRate) || has(self.disagreement) || has(self.loss)",
            "needs at least one of errorRate, disagreement and loss",
            lambda analysis: bool(analysis.error_rate or analysis.disagreement or analysis.loss),
        ),
    )

    error_rate: ErrorRate | None = None
    """The candidate's share of failed requests. One that the stable version takes and the candidate refuses has
    failed."""
    disagreement: Disagreement | None = None
    """How often candidate and stable model differ, on a sample of the candidate's own requests."""
    loss: LossComparison | None = None
    """Which of the two is better where labels come back."""


class Inconclusive(Model):
    """What happens when too few requests came to judge a step."""

    after: Duration = Duration("30m")
    """How long a step may wait for requests."""
    verdict: Literal["Hold", "Promote", "Rollback"] = "Hold"
    """Hold waits for a person; low traffic is never a pass unless Promote says so. Rollback takes the candidate away
    without quarantine."""


_STEP_RULES = (
    Rule("self.size() > 0", "needs at least one step, or is left out", lambda steps: len(steps) > 0),
    Rule(
        "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight))",
        "weights must rise from step to step",
        lambda steps: all(one.weight < other.weight for one, other in pairwise(steps)),
    ),
)


class Rollout(Model):
    """How a new revision takes over."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.strategy != 'Canary' || has(self.steps)",
            "strategy Canary needs steps",
            lambda rollout: rollout.strategy != "Canary" or bool(rollout.steps),
        ),
        Rule(
            "self.strategy == 'Canary' || !has(self.steps)",
            "steps need strategy: Canary",
            lambda rollout: rollout.strategy == "Canary" or not rollout.steps,
        ),
        Rule(
            "self.strategy == 'Canary' || !has(self.analysis)",
            "analysis needs strategy: Canary",
            lambda rollout: rollout.strategy == "Canary" or rollout.analysis is None,
        ),
    )

    strategy: Literal["Rolling", "Canary"] = "Rolling"
    """Rolling replaces pods one after the other; Canary gives the candidate a growing share and judges it at each
    step."""
    steps: Annotated[tuple[Step, ...], MaxLen(20), Satisfies(*_STEP_RULES)] | None = None
    """The candidate's growing shares."""
    analysis: Analysis | None = None
    """What the candidate is judged by."""
    inconclusive: Inconclusive = Inconclusive()
    """What happens when too few requests came to judge a step."""
    on_new_version: Literal["Finish", "Supersede"] = "Finish"
    """A new version while another rolls out: Finish lets it wait, Supersede starts over with it. A change of the
    spec always supersedes."""
    progress_deadline_seconds: Annotated[int, Ge(1), Le(86400)] = 600
    """A candidate whose pods are not ready by then is taken away; holds and analyses do not count."""
    allow_inexact: bool = False
    """Whether a step may be taken when replicas give the candidate more than the weight asked for. False adds stable
    replicas, within `maxReplicas`, or holds with WeightUnreachable."""


class Feedback(Model):
    """Who may send labels to the control port (8081), which is closed to all but the operator, the deployment's own
    pods and the Jobs that join labels of a table."""

    peers: Annotated[tuple[NetworkPolicyPeer, ...], MaxLen(32)] = Field(default=(), alias="from")
    """Who may connect besides them, as in a NetworkPolicy."""


_TAKEN = ("server", "fetch")


class ServeContainer(OwnContainer):
    """The container that predicts."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!(self.name in {list(_TAKEN)})",
            "server and fetch are the operator's own containers: choose another name",
            lambda container: container.name not in _TAKEN,
        ),
    )

    name: VolumeName = "own"
    """Name of the container."""
    env: Annotated[tuple[EnvVar, ...], MaxLen(128), Keyed("name")] = ()
    """Environment variables of this container. PERENNIAL_MODEL is the folder with the version's files,
    PERENNIAL_MODEL_NAME and PERENNIAL_MODEL_VERSION are what clients call it, PERENNIAL_PORT is `template.port`; others
    may refer to them: $(PERENNIAL_MODEL)."""
    liveness_probe: dict[str, Any] | None = None
    """When a container that hangs is started again, as in Kubernetes; by default never. Checked by a dry run of the
    pod."""


class ServeTemplateSpec(Model):
    """The container; everything else about the pod is in `spec.pod` and `spec.resources`."""

    containers: Annotated[tuple[ServeContainer, ...], MinLen(1), MaxLen(1), Keyed("name")]
    """Exactly one container. It serves the model in the folder $PERENNIAL_MODEL, which holds the version's files,
    checked."""


_OUR_PORTS = (8080, 8081, 9000)


class ServeTemplate(Model):
    """A server of your own, which speaks the Open Inference Protocol v2 over HTTP. A sidecar stands in front of it,
    passes requests on and counts what it sees for drift."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!(self.port in {list(_OUR_PORTS)})",
            "ports 8080, 8081 and 9000 of the pod are the sidecar's: let your server listen on another",
            lambda template: template.port not in _OUR_PORTS,
        ),
    )

    port: Annotated[int, Ge(1), Le(65535)] = 8000
    """Where it listens, on all addresses of the pod."""
    spec: ServeTemplateSpec
    """What runs."""


class ModelDeploymentSpec(Model):
    """What is served, and how a new version takes over."""

    model: ModelSource
    """The model that is served."""
    replicas: Annotated[int, Ge(0), Le(1000)] = 1
    """How many pods serve. With `autoscaling` the operator chooses and this is not looked at; `kubectl scale` sets
    it."""
    autoscaling: Autoscaling | None = None
    """Lets the operator choose the number of replicas."""
    rollout: Rollout = Rollout()
    """How a new revision takes over."""
    feedback: Feedback = Feedback()
    """Who may send labels."""
    template: ServeTemplate | None = None
    """Serve with a server of your own instead of the built-in one."""
    resources: Resources = Resources(requests={"cpu": "100m", "memory": "256Mi"})
    """Compute resources of the server container; with `template` of yours, beside which the sidecar asks for 100m and
    256Mi."""
    suspend: bool = False
    """True starts no rollout and changes no revision; what is served goes on being served."""
    pod: PodOptions = PodOptions()
    """How the server pods are made."""
