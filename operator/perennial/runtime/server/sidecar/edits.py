"""All that a sidecar changes of what passes through it. Every other value stays as its bytes are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import msgspec
from msgspec import Raw

from perennial.runtime.server.http import encode
from perennial.runtime.server.request import HEADER

LENGTH = HEADER.lower().encode()

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Message:
    """A question or an answer: headers as they came, and the body, JSON with or without tensors behind it."""

    headers: Headers
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for known, value in self.headers if known.lower() == name), None)

    def changed(self, change: Callable[[dict[str, Raw], bytes], bytes]) -> Message:
        """With another head: `change` is given it and the bytes behind it, and gives those that are behind it then."""
        length = self.header(LENGTH)
        end = len(self.body) if length is None else int(length)
        head = _decode_object(memoryview(self.body)[:end])
        tail = change(head, self.body[end:])
        made = encode(head)
        told = [(name, b"%d" % len(made) if name.lower() == LENGTH else value) for name, value in self.headers]
        return replace(self, headers=told, body=made + tail)


class _Parameters(msgspec.Struct):
    binary_data_size: int = 0


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters | None = None


_decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_parameters = msgspec.json.Decoder(dict[str, Raw] | None).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_output = msgspec.json.Decoder(_Output).decode


def asking_also(question: Message, names: Collection[str]) -> Message:
    """The question with more outputs requested, in JSON."""

    def change(head: dict[str, Raw], tail: bytes) -> bytes:
        more = [Raw(encode({"name": name, "parameters": {"binary_data": False}})) for name in names]
        head["outputs"] = Raw(encode([*_decode_list(head["outputs"]), *more]))
        return tail

    return question.changed(change)


def without(answer: Message, names: Collection[str]) -> Message:
    """The answer without these outputs, nor their bytes."""

    def change(head: dict[str, Raw], tail: bytes) -> bytes:
        kept, parts, start = [], [], 0
        for raw in _decode_list(head["outputs"]):
            output = _decode_output(raw)
            end = start + (output.parameters.binary_data_size if output.parameters else 0)
            if output.name not in names:
                kept.append(raw)
                parts.append(tail[start:end])
            start = end
        head["outputs"] = Raw(encode(kept))
        return b"".join(parts)

    return answer.changed(change)


def with_receipts(answer: Message, receipts: list[str]) -> Message:
    """The answer with `parameters.receipts`."""

    def change(head: dict[str, Raw], tail: bytes) -> bytes:
        parameters = _decode_parameters(head.get("parameters", Raw(b"null"))) or {}
        parameters["receipts"] = Raw(encode(receipts))
        head["parameters"] = Raw(encode(parameters))
        return tail

    return answer.changed(change)
