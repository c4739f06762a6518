"""Who may connect to a server's control port, in the words of a NetworkPolicy.

Spelt out, and not kept as it is like other types of Kubernetes' own: a slip here opens or closes a port, so it is
found when applied.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import MaxLen, MinLen
from pydantic import Field

from .model import Matches, Model, Rule


class LabelRequirement(Model):
    """A requirement of a label selector, as in Kubernetes."""

    key: Annotated[str, MinLen(1), MaxLen(317)]
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label is compared."""
    values: Annotated[tuple[Annotated[str, MaxLen(63)], ...], MaxLen(64)] = ()
    """What it is compared with, for In and NotIn."""


class LabelSelector(Model):
    """A label selector, as in Kubernetes; an empty one selects all."""

    match_labels: Annotated[dict[str, Annotated[str, MaxLen(63)]], MaxLen(64)] | None = None
    """Labels that must be there with these values."""
    match_expressions: Annotated[tuple[LabelRequirement, ...], MaxLen(64)] = ()
    """Further requirements."""


Cidr = Annotated[str, Matches(r"[0-9a-fA-F.:]+/[0-9]{1,3}", "must be a range of addresses such as 10.0.0.0/8", 49)]


class IpBlock(Model):
    """A range of addresses."""

    cidr: Cidr
    """The range, such as 10.0.0.0/8."""
    except_: Annotated[tuple[Cidr, ...], MaxLen(64)] = Field(default=(), alias="except")
    """Ranges within it that are left out."""


class NetworkPolicyPeer(Model):
    """Who may connect, as in a NetworkPolicy."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
            "needs either ipBlock or podSelector and/or namespaceSelector",
            lambda peer: (
                (peer.ip_block is not None) != (peer.pod_selector is not None or peer.namespace_selector is not None)
            ),
        ),
    )

    pod_selector: LabelSelector | None = None
    """Pods, in the same namespace unless `namespaceSelector` says otherwise."""
    namespace_selector: LabelSelector | None = None
    """Namespaces."""
    ip_block: IpBlock | None = None
    """Addresses."""
