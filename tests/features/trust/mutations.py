"""What a liar does to a file: at random, and always alike for one seed."""

import base64
import contextlib
import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
"""Changes bytes; what it may take parts of is others of the same kind."""

STRANGER: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_NAMES: Final = (b"org/name", b"org/other", b"org", b"main", b"v1", b"Org/Name", b"0rg/name")
_NUMBERS: Final = (
    b"7",
    b"NaN",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"1.0",
    b"true",
    b"null",
    b"9007199254740993",
)


def flip(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data or b"\0")
    for _turn in range(choose.choice((1, 1, 2, 16))):
        changed[choose.randrange(len(changed))] ^= 1 << choose.randrange(8)
    return bytes(changed)


def truncate(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: choose.randrange(len(data) + 1)]


def cut(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start = choose.randrange(len(data) + 1)
    return data[:start] + data[start + choose.randrange(1, 200) :]


def repeat(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start = choose.randrange(len(data) + 1)
    end = start + choose.randrange(1, 300)
    return data[:end] + data[start:]


def insert(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = choose.randrange(len(data) + 1)
    return data[:at] + choose.randbytes(choose.randrange(1, 40)) + data[at:]


def nest(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at, depth = choose.randrange(len(data) + 1), choose.choice((10, 5000))
    return data[:at] + b"[" * depth + b"]" * depth + data[at:]


def rename(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Another name, in the text or in the payload that it carries."""
    old, new = choose.sample(_NAMES, 2)
    return _inside(data, lambda text: text.replace(old, new))


def renumber(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Another number, or none, in the text or in the payload that it carries."""

    def change(text: bytes) -> bytes:
        found = list(re.finditer(rb"(?<=:)\d+(?=[,}])", text))
        if not found:
            return text
        one = choose.choice(found)
        return text[: one.start()] + choose.choice(_NUMBERS) + text[one.end() :]

    return _inside(data, change)


def repeat_key(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """A key that is there twice, with another value first or last."""

    def change(text: bytes) -> bytes:
        found = list(re.finditer(rb'"[A-Za-z_]+":', text))
        if not found:
            return text
        one = choose.choice(found)
        return text[: one.start()] + one[0] + b'"org/other",' + text[one.start() :]

    return _inside(data, change)


def reorder(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """The same JSON, not canonical."""

    def change(text: bytes) -> bytes:
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if isinstance(said, dict):
            said = dict(choose.sample(sorted(said.items()), len(said)))
        return json.dumps(said, indent=choose.choice((None, 1))).encode()

    return change(data) if choose.random() < 0.5 else _inside(data, change)


def splice(choose: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The payload of one with the signatures of another."""
    try:
        one, two = json.loads(data), json.loads(choose.choice(others))
        key = choose.choice(("signatures", "payload", "signed"))
        if key in two:
            one[key] = two[key]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return choose.choice(others)
    return _canonical(one)


def swap(choose: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A whole other one: an older one, or one of another model."""
    del data
    return choose.choice(others)


def unsign(choose: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    """Signatures that are left out, there twice, or under another key's name."""
    try:
        said = json.loads(data)
        rows = said["signatures"]
        how = choose.randrange(4)
        if how == 0:
            said["signatures"] = []
        elif how == 1:
            said["signatures"] = rows * choose.choice((2, 40))
        elif how == 2:
            rows[0]["keyid"] = "SHA256:x"
        else:
            rows[0]["sig"] = base64.b64encode(choose.randbytes(64)).decode()
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return b""
    return _canonical(said)


ALL: Final[tuple[Mutation, ...]] = (
    *(flip, truncate, cut, repeat, insert, nest, rename),
    *(renumber, repeat_key, reorder, splice, swap, unsign),
)


def mutated(choose: random.Random, data: bytes, others: Sequence[bytes]) -> tuple[str, bytes]:
    """One change of `data`, now and then two; and what was done."""
    names = []
    for _turn in range(choose.choice((1, 1, 1, 2))):
        mutation = choose.choice(ALL)
        names.append(mutation.__name__)
        data = mutation(choose, data, others)
    return ", ".join(names), data


def _inside(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Changes the payload of an envelope, signed by a stranger then; or the text itself."""
    try:
        said = json.loads(data)
        payload = base64.b64decode(said["payload"], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError):
        return change(data)
    new = change(payload)
    head = b"DSSEv1 28 application/vnd.in-toto+json %d " % len(new)
    said["payload"] = base64.b64encode(new).decode()
    with contextlib.suppress(TypeError, KeyError, IndexError):  # it has none any more
        said["signatures"][0]["sig"] = base64.b64encode(STRANGER.sign(head + new)).decode()
    return _canonical(said)


def _canonical(said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":"), sort_keys=True).encode()
