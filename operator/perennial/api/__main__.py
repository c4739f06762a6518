"""Writes what is made from the models: `python -m perennial.api`. With `--check` it writes nothing and fails on a
difference."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .crd import definition
from .kinds import KINDS
from .reference import editor_schema, page
from .resources import GROUP

HEADER = "# Made by `python -m perennial.api` from operator/perennial/api; never edited by hand.\n"


class _Dumper(yaml.SafeDumper):
    """Without anchors: two equal parts of a schema are two parts."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@functools.cache
def generated() -> Mapping[str, str]:
    """Every generated file by its path below the repository's root."""
    files = {}
    for kind in KINDS:
        files[f"crds/{GROUP}_{kind.resource.plural}.yaml"] = HEADER + _yaml(definition(kind))
        files[f"charts/perennial/templates/crds/{kind.resource.plural}.yaml"] = _templated(definition(kind))
        files[f"docs/reference/{kind.resource.kind.lower()}.md"] = page(kind)
        schema = json.dumps(editor_schema(kind), indent=2, ensure_ascii=False)
        files[f"docs/schemas/{kind.resource.kind.lower()}.json"] = schema + "\n"
    return files


def _yaml(manifest: dict[str, Any]) -> str:
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _templated(crd: dict[str, Any]) -> str:
    """The chart's copy. Helm never upgrades what is in a chart's crds/, so it is a template; uninstalling keeps it."""
    metadata = {**crd["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}
    text = _yaml({**crd, "metadata": metadata})
    if "{{" in text:
        raise ValueError("a description that holds {{ cannot be part of a Helm template")
    return f"{HEADER}{{{{- if .Values.crds.install }}}}\n{text}{{{{- end }}}}\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m perennial.api", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file differs from the models")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository's root (default: the current folder)")
    options = parser.parse_args(arguments)
    stale = {name: text for name, text in generated().items() if not _is_current(options.root / name, text)}
    if options.check:
        for name in stale:
            print(f"{name} differs from the models: run `python -m perennial.api` and commit it", file=sys.stderr)
        return 1 if stale else 0
    for name, text in stale.items():
        path = options.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {name}")
    return 0


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
