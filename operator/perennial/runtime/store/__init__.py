"""The model store: versions as sealed folders on a mounted claim or in an object store.

`publish` writes one, manifest last; `open_version` reads one and checks every digest. Both see a place only by its URI:
`pvc://claim/path` (a mount), `s3://`, `gs://`, `az://`, and `file:///path` outside of a pod.
"""

from .errors import NotInStoreError, StoreError, StoreRefusedError, StoreUnreachableError
from .versions import Version, leave, open_version, publish

__all__ = [
    "NotInStoreError",
    "StoreError",
    "StoreRefusedError",
    "StoreUnreachableError",
    "Version",
    "leave",
    "open_version",
    "publish",
]
