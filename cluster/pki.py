"""Certificates and tokens of one cluster: made at `up`, gone with its state directory.

Clients authenticate by static tokens, which need no certificate each; certificates are for what TLS itself demands.
"""

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.layout import Layout
from cluster.shell import run

DAYS = "3650"


@dataclass(frozen=True)
class Identity:
    user: str
    groups: tuple[str, ...] = ()


def identities(layout: Layout) -> dict[str, Identity]:
    """Who holds a token, by the name of their kubeconfig file."""
    system = {
        "admin": Identity("kubernetes-admin", ("system:masters",)),
        "kube-controller-manager": Identity("system:kube-controller-manager"),
        "kube-scheduler": Identity("system:kube-scheduler"),
        "kube-proxy": Identity("system:kube-proxy"),
        "local-provisioner": Identity("perennial:local-provisioner", ("system:masters",)),
    }
    nodes = {node: Identity(f"system:node:{node}", ("system:nodes",)) for node in layout.nodes}
    return {**system, **nodes}


def create(layout: Layout, folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _authority(folder, "ca", "perennial-ca")
    _authority(folder, "front-proxy-ca", "front-proxy-ca")
    names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ]
    addresses = ["127.0.0.1", "10.96.0.1", layout.inner_address, layout.bridge_address]
    alternatives = ",".join([f"DNS:{name}" for name in names] + [f"IP:{address}" for address in addresses])
    _signed(folder, "apiserver", "ca", "/CN=kube-apiserver", alternatives)
    _signed(folder, "kubelet-client", "ca", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    _signed(folder, "front-proxy-client", "front-proxy-ca", "/CN=front-proxy-client")
    _key(folder / "service-accounts.key")
    run("openssl", "pkey", "-in", folder / "service-accounts.key", "-pubout", "-out", folder / "service-accounts.pub")
    _tokens(layout, folder)


def kubeconfig(cluster: str, server: str, authority: str, token: str) -> dict[str, Any]:
    """A kubeconfig named as kind names them; `authority` is base64."""
    context = f"kind-{cluster}"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": context, "user": {"token": token}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }


def _tokens(layout: Layout, folder: Path) -> None:
    authority = base64.b64encode((folder / "ca.crt").read_bytes()).decode()
    lines: list[str] = []
    for name, identity in identities(layout).items():
        token = secrets.token_hex(24)
        lines.append(f'{token},{identity.user},{name},"{",".join(identity.groups)}"\n')
        inside = kubeconfig(layout.name, layout.server_inside, authority, token)
        _private(folder / f"{name}.kubeconfig", yaml.safe_dump(inside))
        if name == "admin":
            outside = kubeconfig(layout.name, layout.server, authority, token)
            _private(layout.kubeconfig, yaml.safe_dump(outside))
    _private(folder / "tokens.csv", "".join(lines))


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _key(path: Path) -> None:
    run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


def _authority(folder: Path, name: str, common_name: str) -> None:
    key, certificate = (str(folder / f"{name}.{suffix}") for suffix in ("key", "crt"))
    _key(Path(key))
    usage = ["-subj", f"/CN={common_name}", "-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
    run("openssl", "req", "-x509", "-new", "-key", key, "-days", DAYS, *usage, "-out", certificate)


def _signed(folder: Path, name: str, authority: str, subject: str, alternatives: str = "") -> None:
    key, request, extensions, certificate = (folder / f"{name}.{suffix}" for suffix in ("key", "csr", "ext", "crt"))
    _key(key)
    run("openssl", "req", "-new", "-key", key, "-subj", subject, "-out", request)
    lines = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    extensions.write_text("\n".join([*lines, *([f"subjectAltName={alternatives}"] if alternatives else [])]) + "\n")
    signer = ["-CA", str(folder / f"{authority}.crt"), "-CAkey", str(folder / f"{authority}.key"), "-CAcreateserial"]
    validity = ["-days", DAYS, "-extfile", str(extensions)]
    run("openssl", "x509", "-req", "-in", request, *signer, *validity, "-out", certificate)
    request.unlink()
    extensions.unlink()
