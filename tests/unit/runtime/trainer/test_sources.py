"""Files by URI: patterns in folders, and a server that answers well, badly, or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from perennial.runtime.failures import InputError, RunError, TransientError
from perennial.runtime.tables.sources import find
from perennial.wire import places

NONE = Path("/nowhere")


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The claim `lake` as it is mounted, with files that count and files that do not."""
    monkeypatch.setattr(places, "PVC_ROOT", str(tmp_path))
    for name in ("b.csv", "a.csv", "c.txt", "2026/d.csv", "2026/01/e.csv", ".hidden.csv", "_temporary/f.csv"):
        path = tmp_path / "lake" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "lake"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", ["a.csv", "b.csv"]),
        ("**/*.csv", ["2026/01/e.csv", "2026/d.csv", "a.csv", "b.csv"]),
        ("2026/*/*.csv", ["2026/01/e.csv"]),
        ("*/d.csv", ["2026/d.csv"]),
        ("", ["a.csv", "b.csv", "c.txt"]),
        ("2026/", ["2026/d.csv"]),
        ("a.csv", ["a.csv"]),
    ],
)
def test_patterns_on_a_claim(lake: Path, pattern: str, names: list[str]) -> None:
    found = find(f"pvc://lake/{pattern}", NONE)
    assert [source.name for source in found] == [f"pvc://lake/{name}" for name in names]
    fetched = found[0].fetch(NONE)
    assert fetched.path == lake / names[0]
    assert fetched.sha256 == hashlib.sha256(names[0].encode()).hexdigest()


def test_nothing_that_matches_is_told(lake: Path) -> None:
    with pytest.raises(InputError, match=r"no file matches pvc://lake/\*\.parquet"):
        find("pvc://lake/*.parquet", NONE)


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        status = int(path.strip("/")) if path.strip("/").isdigit() else 200
        body = query.encode() or b"late\n1\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + (5 if path == "/short" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


def test_a_signed_address_is_asked_whole_and_named_without_its_signature(server: str, tmp_path: Path) -> None:
    (source,) = find(f"{server}/rows.csv?signature=secret", NONE)
    assert source.name == f"{server}/rows.csv"
    fetched = source.fetch(tmp_path / "file")
    assert fetched.path.read_bytes() == b"signature=secret"
    assert fetched.sha256 == hashlib.sha256(b"signature=secret").hexdigest()


@pytest.mark.parametrize(
    ("path", "kind", "reason"),
    [
        ("404", InputError, "DataNotFound"),
        ("403", InputError, "DataForbidden"),
        ("401", InputError, "DataForbidden"),
        ("500", TransientError, "DataUnreachable"),
        ("503", TransientError, "DataUnreachable"),
        ("short", TransientError, "DataUnreachable"),
    ],
)
def test_what_a_server_refuses(server: str, tmp_path: Path, path: str, kind: type[RunError], reason: str) -> None:
    (source,) = find(f"{server}/{path}", NONE)
    with pytest.raises(kind) as caught:
        source.fetch(tmp_path / "file")
    assert caught.value.reason == reason
    assert f"{server}/{path}" in caught.value.message


def test_a_server_that_is_not_there_is_tried_again(tmp_path: Path) -> None:
    (source,) = find("http://127.0.0.1:9/rows.csv", NONE)
    with pytest.raises(TransientError) as caught:
        source.fetch(tmp_path / "file")
    assert caught.value.message == "data.uri: http://127.0.0.1:9/rows.csv: Connection refused"


def test_files_behind_http_can_not_be_listed() -> None:
    with pytest.raises(InputError, match="can not be listed; name one file"):
        find("https://host/flights/*.csv", NONE)
