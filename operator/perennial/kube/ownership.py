"""Who owns an object: by uid, never by name alone, since a re-created owner has the same name and owns nothing yet."""

from __future__ import annotations

from collections.abc import Iterator

from .plan import Key, Manifest


def owner_reference(owner: Manifest) -> Manifest:
    """The reference by which `owner` controls a child: the garbage collector takes the child along with it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owner_uids(manifest: Manifest) -> Iterator[str]:
    """The uids of all owners, the controlling one or not."""
    for reference in manifest["metadata"].get("ownerReferences") or ():
        yield reference["uid"]


def is_owned_by(manifest: Manifest, uid: str) -> bool:
    return uid in owner_uids(manifest)


def controller_of(manifest: Manifest) -> Manifest | None:
    """The reference to the one owner that controls the object, None where nobody does."""
    for reference in manifest["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Manifest = reference
            return found
    return None


def controller_keys(manifest: Manifest, kind: str) -> tuple[Key, ...]:
    """The key of the controlling owner where it is of `kind`: what a child's event enqueues."""
    reference = controller_of(manifest)
    if reference is None or reference["kind"] != kind:
        return ()
    return (Key(manifest["metadata"]["namespace"], reference["name"]),)


def key_of(manifest: Manifest) -> Key:
    metadata = manifest["metadata"]
    return Key(metadata.get("namespace") or "", metadata["name"])
