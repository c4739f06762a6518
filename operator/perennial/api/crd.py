"""The CustomResourceDefinitions, made from the models: one fact, one place."""

from __future__ import annotations

from typing import Any

from .kinds import Column, Kind
from .names import DNS_1035, NAME_LIMIT
from .resources import CATEGORY, GROUP, SHORT_NAMES, VERSION
from .schema import structural, structural_status, tree

_NAME_RULES = [
    {
        "rule": f"self.metadata.name.size() <= {NAME_LIMIT}",
        "message": f"metadata.name may be at most {NAME_LIMIT} characters long, as names of pods are made from it",
    },
    {
        "rule": f"self.metadata.name.matches('^{DNS_1035}$')",
        "message": "metadata.name must be lower-case letters, digits and '-', starting with a letter, like a Service's",
    },
]
UNSEEN = {"observedGeneration": -1}
"""The status before the operator has looked: kstatus reads a generation that is not the object's as still in
progress."""


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    resource = kind.resource
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}", "labels": {"app.kubernetes.io/part-of": "perennial"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [SHORT_NAMES[resource]],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "subresources": _subresources(kind),
                    "schema": {"openAPIV3Schema": _schema(kind)},
                }
            ],
        },
    }


def _schema(kind: Kind) -> dict[str, Any]:
    return {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "x-kubernetes-validations": _NAME_RULES,
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(tree(kind.spec)),
            "status": {**structural_status(tree(kind.status)), "default": UNSEEN},
        },
    }


def _subresources(kind: Kind) -> dict[str, Any]:
    if not kind.scalable:
        return {"status": {}}
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return {"status": {}, "scale": scale}


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
        "description": column.description,
        "priority": column.priority,
    }
