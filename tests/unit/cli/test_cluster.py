"""The kubeconfig: which cluster and namespace it leads to, and what in it has to be mended."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml

from perennial.cli import cluster
from perennial.cli.kubeconfig import Chosen, choose
from perennial.cli.main import main
from perennial.cli.problem import CannotDo

NOWHERE = "https://127.0.0.1:1"


def kubeconfig(folder: Path, monkeypatch: pytest.MonkeyPatch, *contexts: str, **more: Any) -> Path:
    """A file with these contexts, of which the first is the current one, ahead of those that KUBECONFIG has."""
    path = folder / f"config-{'-'.join(contexts)}"
    entries = [{"name": each, "context": {"cluster": "c", "user": "u", "namespace": f"of-{each}"}} for each in contexts]
    parts = {
        "clusters": [{"name": "c", "cluster": {"server": NOWHERE}}],
        "users": [{"name": "u", "user": {"token": "x"}}],
        "contexts": entries,
        "current-context": contexts[0],
    }
    path.write_text(yaml.safe_dump(parts | more))
    others = os.environ.get("KUBECONFIG")
    monkeypatch.setenv("KUBECONFIG", f"{path}{os.pathsep}{others}" if others else str(path))
    return path


@pytest.fixture(autouse=True)
def no_kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_the_first_file_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = kubeconfig(tmp_path, monkeypatch, "c", "d")
    first = kubeconfig(tmp_path, monkeypatch, "a")
    files = f"{first}{os.pathsep}{second}"
    assert choose(None) == Chosen(files, "a", "of-a")
    assert choose("d") == Chosen(files, "d", "of-d")
    assert cluster.Reached(None, None).namespace == "of-a"
    assert cluster.Reached("d", "mine").namespace == "mine"
    kubeconfig(tmp_path, monkeypatch, "d", **{"current-context": "", "contexts": [{"name": "d"}]})
    assert choose("d").namespace == "default"
    assert choose(None).context == "a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("apiVersion: [\n", "line 2: expected the node content"),
        ("only words", "Expected `object`, got `str`"),
        ("contexts: {}", "Expected `array"),
        ("contexts: [{context: {}}]", "missing required field `name`"),
        ("\x07", "unacceptable character"),
    ],
)
def test_a_file_that_is_no_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert main(["status"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path} is no kubeconfig: ")
    assert said in error


def test_what_is_not_in_it_is_told_with_what_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CannotDo, match=r"there is no kubeconfig ~/\.kube/config; set KUBECONFIG"):
        choose(None)
    path = kubeconfig(tmp_path, monkeypatch, "c")
    with pytest.raises(CannotDo, match=f"^{path} has no context nope; there is c$"):
        choose("nope")
    monkeypatch.delenv("KUBECONFIG")
    kubeconfig(tmp_path, monkeypatch, "c", **{"current-context": ""})
    with pytest.raises(CannotDo, match=f"^{path} has no current-context: give --context; there is c$"):
        choose(None)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path))
    with pytest.raises(CannotDo, match="Is a directory"):
        choose(None)


def test_certificates_that_are_no_base64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"server": NOWHERE, "certificate-authority-data": "abc"}
    kubeconfig(tmp_path, monkeypatch, "c", clusters=[{"name": "c", "cluster": told}])
    with pytest.raises(CannotDo, match=r"^no cluster: context c: .*padding"):
        cluster.Reached(None, None)


def test_a_server_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig(tmp_path, monkeypatch, "c")
    assert main(["status"]) == 1
    assert capsys.readouterr().err == f"error: {NOWHERE} does not answer: Connection refused (context c)\n"
    distrust = urllib3.exceptions.SSLError(ssl.SSLError(1, "certificate verify failed"))
    pool: Any = None
    said = cluster._cause(urllib3.exceptions.MaxRetryError(pool, "/", distrust))
    assert "certificate verify failed" in said
    assert "Max retries" not in said
