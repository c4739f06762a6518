"""What goes wrong with an object store is told apart and told in words: by a server that answers as S3 does."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from obstore.exceptions import GenericError

from perennial.runtime.failures import InputError, RunError, TransientError
from perennial.runtime.store import NotInStoreError, StoreError, StoreRefusedError, StoreUnreachableError, remote
from perennial.runtime.store.errors import DeniedError, NoBucketError, NoCredentialsError
from perennial.runtime.store.explained import explained
from perennial.runtime.store.folders import open_folder
from perennial.runtime.tables.sources import find

DOCUMENTED = (Path(__file__).parents[4] / "docs" / "data-and-stores.md").read_text()
LISTED = """<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{}</ListBucketResult>"""
ENTRY = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>7</Size></Contents>"


class Bucket(ThreadingHTTPServer):
    """Answers every request with `status` and `body`, but HEAD, which has no body, with 404."""

    status = 200
    body = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def says(self, status: int, code: str, message: str = "as it is") -> None:
        self.status, self.body = status, f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"

    def lists(self, *keys: str) -> None:
        self.status, self.body = 200, LISTED.format("".join(map(ENTRY.format, keys)))


class Answer(BaseHTTPRequestHandler):
    server: Bucket

    def do_GET(self) -> None:
        self._answer(self.server.status, self.server.body.encode())

    def do_HEAD(self) -> None:
        self._answer(404, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setattr(remote, "_RETRY", {"max_retries": 0})
    with Bucket(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def secret(folder: Path, endpoint: str, **keys: str) -> Path:
    """A mounted Secret."""
    config = {"aws_access_key_id": "lake", "aws_secret_access_key": "x", "aws_endpoint": endpoint, **keys}
    for name, value in {"aws_allow_http": "true", **config}.items():
        (folder / name).write_text(f"{value}\n")
    return folder


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "SignatureDoesNotMatch", DeniedError, "access denied; check the keys of secretRef"),
        (401, "Unauthorized", DeniedError, "access denied; check the keys of secretRef"),
        (404, "NoSuchBucket", NoBucketError, "there is no such bucket"),
        (404, "ContainerNotFound", NoBucketError, "there is no such bucket"),
        (404, "NoSuchKey", NotInStoreError, "not found"),
        (400, "AuthorizationHeaderMalformed", StoreRefusedError, "AuthorizationHeaderMalformed: as it is"),
        (503, "SlowDown", StoreUnreachableError, "SlowDown: as it is"),
        (429, "TooManyRequests", StoreUnreachableError, "TooManyRequests: as it is"),
    ],
)
def test_a_read_that_fails(
    bucket: Bucket, tmp_path: Path, status: int, code: str, kind: type[StoreError], words: str
) -> None:
    bucket.says(status, code)
    with pytest.raises(StoreError) as failure:
        open_folder("s3://models/a/v1", secret(tmp_path, bucket.url)).read("manifest.json")
    assert type(failure.value) is kind
    assert str(failure.value).startswith("s3://models/a/v1/manifest.json: ")
    assert words in str(failure.value)
    assert "<" not in str(failure.value)


@pytest.mark.parametrize(
    ("status", "code", "kind", "reason"),
    [
        (403, "SignatureDoesNotMatch", InputError, "DataForbidden"),
        (404, "NoSuchBucket", InputError, "DataNotFound"),
        (404, "NoSuchUser", InputError, "DataForbidden"),
        (400, "AuthorizationHeaderMalformed", InputError, "DataForbidden"),
        (500, "InternalError", TransientError, "DataUnreachable"),
    ],
)
def test_a_listing_that_fails(
    bucket: Bucket, tmp_path: Path, status: int, code: str, kind: type[RunError], reason: str
) -> None:
    bucket.says(status, code)
    with pytest.raises(kind) as failure:
        find("s3://lake/flights/*.csv", secret(tmp_path, bucket.url))
    assert failure.value.reason == reason


@pytest.mark.parametrize(
    ("uri", "names"),
    [
        ("s3://lake/f/*.csv", ["f/a.csv", "f/b.csv"]),
        ("s3://lake/f", ["f/a.csv", "f/b.csv", "f/c.txt"]),
        ("s3://lake/f/", ["f/a.csv", "f/b.csv", "f/c.txt"]),
        ("s3://lake/**/*.csv", ["f/a.csv", "f/b.csv", "f/g/d.csv"]),
    ],
)
def test_what_a_uri_names(bucket: Bucket, tmp_path: Path, uri: str, names: list[str]) -> None:
    bucket.lists("f/b.csv", "f/a.csv", "f/c.txt", "f/g/d.csv", "f/_temporary/e.csv", "f/.x.csv")
    found = find(uri, secret(tmp_path, bucket.url))
    assert [source.name for source in found] == [f"s3://lake/{name}" for name in names]


def test_a_folder_at_the_top_of_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    bucket.lists("a.csv", "f/b.csv")
    assert [source.name for source in find("s3://lake/", secret(tmp_path, bucket.url))] == ["s3://lake/a.csv"]


def test_nothing_there_is_told(bucket: Bucket, tmp_path: Path) -> None:
    bucket.lists()
    with pytest.raises(InputError, match=r"no file matches s3://lake/nosuch\.csv"):
        find("s3://lake/nosuch.csv", secret(tmp_path, bucket.url))


def test_a_place_that_does_not_answer_is_told_with_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_RETRY", {"max_retries": 0})
    with pytest.raises(TransientError, match="the connection is refused"):
        find("s3://lake/flights/*.csv", secret(tmp_path, "http://127.0.0.1:1"))


@pytest.mark.parametrize("host", ["169.254.169.254", "metadata.google.internal"])
def test_nothing_to_ask_with_is_told_apart(host: str) -> None:
    """Where there are no credentials it is the machine's own that are looked for."""
    with pytest.raises(NoCredentialsError, match="there are no credentials") as refusal, explained("s3://lake/x"):
        raise GenericError(f"Error performing PUT http://{host}/latest/api/token")
    assert refusal.value.uri == "s3://lake/x"


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"aws_endpoint": "minio:9000"}, "aws_endpoint in the Secret of secretRef must be a URL"),
        ({"aws_endpoint": "https://"}, "aws_endpoint in the Secret of secretRef must be a URL"),
        ({"aws_allow_http": "false"}, "say https, or add the key allow_http"),
        ({"password": "x"}, "'password' is not valid"),
    ],
)
def test_a_configuration_that_cannot_be(tmp_path: Path, keys: dict[str, str], words: str) -> None:
    with pytest.raises(StoreRefusedError) as refusal:
        remote.connect("s3://lake/x", secret(tmp_path, "http://127.0.0.1:1", **keys))
    assert words in str(refusal.value)


ACCOUNT = {"private_key": "k", "private_key_id": "i", "client_email": "e@x", "type": "service_account"}
VALUES = {
    "google_service_account_key": json.dumps({**ACCOUNT, "gs_base_url": "https://x", "disable_oauth": True}),
    "azure_storage_account_key": "a2V5",
    "azure_storage_sas_key": "sv=1&sig=2",
    "aws_endpoint": "https://minio:9000",
}


@pytest.mark.parametrize("key", sorted(set(re.findall(r"`((?:aws|google|azure)_\w+)", DOCUMENTED))))
def test_a_documented_key_is_taken(tmp_path: Path, key: str) -> None:
    cloud, _, rest = key.partition("_")
    needed = {
        "aws": {"aws_access_key_id": "a", "aws_secret_access_key": "b"},
        "azure": {"azure_storage_account_name": "a"},
    }
    usual = "true" if rest.startswith(("skip", "allow", "virtual")) else "x"
    for name, value in {**needed.get(cloud, {}), key: VALUES.get(key, usual)}.items():
        (tmp_path / name).write_text(value)
    scheme = {"aws": "s3", "google": "gs", "azure": "az"}[cloud]
    assert remote.connect(f"{scheme}://lake/x", tmp_path)[1] == "x"


@pytest.mark.parametrize("allowed", [True, False])
def test_the_pods_environment_counts_without_a_secret(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    environment = {"AWS_ENDPOINT": bucket.url, "AWS_ACCESS_KEY_ID": "lake", "AWS_SECRET_ACCESS_KEY": "x"}
    for name, value in {**environment, "AWS_ALLOW_HTTP": str(allowed).lower()}.items():
        monkeypatch.setenv(name, value)
    bucket.lists("a.csv")
    if allowed:
        assert [source.name for source in find("s3://lake/*.csv", tmp_path / "none")] == ["s3://lake/a.csv"]
    else:
        with pytest.raises(InputError, match="http is allowed only where allow_http"):
            find("s3://lake/*.csv", tmp_path / "none")


def test_half_a_key_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "aws_access_key_id").write_text("lake")
    with pytest.raises(StoreRefusedError, match="Missing SecretAccessKey"):
        remote.connect("s3://lake/x", tmp_path)


@pytest.mark.parametrize(
    ("uri", "keys"),
    [
        (
            "s3://lake/x",
            {
                "AWS_ACCESS_KEY_ID": "a",
                "aws_secret_access_key": "b",
                "allow_http": "true",
                "aws_endpoint": "http://minio:9000",
            },
        ),
        ("s3://lake/x", {}),
        ("gs://lake/x", {"google_base_url": "http://gcs:4443", "allow_http": "true"}),
        (
            "az://lake/x",
            {
                "azure_storage_account_name": "lake",
                "azure_storage_endpoint": "http://azurite:10000/lake",
                "azure_allow_http": "true",
            },
        ),
    ],
)
def test_keys_of_every_cloud_are_taken(tmp_path: Path, uri: str, keys: dict[str, str]) -> None:
    for name, value in keys.items():
        (tmp_path / name).write_text(value)
    assert remote.connect(uri, tmp_path)[1] == "x"
