"""Is a file a pickle, or may one be inside? By content first, and by name where that says it."""

import re
from dataclasses import dataclass
from typing import Final

from outlast.codec import gguf
from outlast.intake.content import Read
from outlast.intake.formats.packed_files import CannotLookError, members
from outlast.intake.formats.pickle_bytes import WINDOW, is_pickle, is_pickle_too

_DEPTH: Final = 4
"""Archives inside each other that are opened."""
_BY_NAME: Final = re.compile(r"\.(?:pkl|pickle|joblib|dill|cloudpickle)\Z", re.IGNORECASE)
"""Names of nothing but pickles."""
_OFTEN: Final = re.compile(
    r"\.(?:bin|pt|pth|ckpt|pdparams|model|data|nemo|mar|tar)\Z", re.IGNORECASE
)
"""Names that pickles often have: then less has to be seen of one. So it is without an ending."""
_TEXTS: Final = re.compile(r"(?:LICEN[CS]E|COPYING|NOTICE|README|AUTHORS)\Z", re.IGNORECASE)
"""Names without an ending that texts have."""
_KNOWN: Final = (
    gguf.MAGIC,
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF8",
    b"RIFF",
    b"%PDF-",
    b"PAR1",
    b"ARROW1",
    b"\x89HDF\r\n\x1a\n",
    b"fLaC",
    b"OggS",
)
"""How files of other formats begin. A pickle can begin so too: G is the letter of a number."""
_NPY: Final = b"\x93NUMPY"
_PYTHON_VALUES: Final = re.compile(rb"""['"]descr['"]\s*:\s*(?:['"]\|?O|\[.*['"]\|?O)""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Unsafe:
    """Why a file is not to be opened by another program just so. `inside`: the member of an archive
    that is meant; empty: the file itself.
    """

    reason: str
    inside: str = ""

    def __str__(self) -> str:
        return f"{self.inside}: {self.reason}" if self.inside else self.reason


def find_unsafe(path: str, size: int, read: Read) -> Unsafe | None:
    """What is unsafe about the file `path` of `size` bytes; None where nothing is. Raises only what
    `read` raises. Code (.py) is no part of this: it says what it is.
    """
    return _find(path, size, read, 0)


def unsafe_by_name(path: str) -> Unsafe | None:
    """The same by the name alone: names of nothing but pickles."""
    if _BY_NAME.search(path):
        return Unsafe("it is a pickle by its name: loading it runs code")
    return None


def is_likely(path: str) -> bool:
    """Whether files of this name often are pickles: those are worth a look before they are listed
    for programs that fetch all that is listed.
    """
    name = path.rpartition("/")[2]
    plain = "." not in name and _TEXTS.match(name) is None
    return plain or _OFTEN.search(name) is not None or unsafe_by_name(path) is not None


def _find(path: str, size: int, read: Read, depth: int) -> Unsafe | None:
    if not size:
        return None
    if (by_name := unsafe_by_name(path)) is not None:
        return by_name
    head = read(0, min(size, WINDOW))
    try:
        found, told = _inside(head, size, read, depth)
    except CannotLookError as error:
        return Unsafe(f"it may have pickles inside: {error}")
    if told:
        return found
    if is_pickle(head, size, expected=is_likely(path)):
        return Unsafe("it is a pickle: loading it runs code")
    return None


def _inside(head: bytes, size: int, read: Read, depth: int) -> tuple[Unsafe | None, bool]:
    """What is unsafe about a file of a format that its first bytes tell, and whether they do."""
    if head.startswith(_NPY):  # as a pickle it would begin by taking what is not there
        return _numpy(head), True
    inner = members(head, size, read)
    known = inner is not None or head.startswith(_KNOWN) or _is_safetensors(head, size)
    if known and is_pickle_too(size, read):
        return Unsafe("it is a pickle as well as what it looks like: loading it so runs code"), True
    for member in inner or ():
        found = _member(member.name, member.size, member.data, depth)
        if found is not None:
            return found, True
    return None, known


def _member(name: str, size: int, data: bytes, depth: int) -> Unsafe | None:
    """The same of a member of an archive, of which the first bytes are here."""
    if depth >= _DEPTH:
        raise CannotLookError("archives inside archives")

    def read(offset: int, length: int) -> bytes:
        if offset + length > len(data) and len(data) < size:
            raise CannotLookError("a large archive inside an archive")
        return data[offset : offset + length]

    # A member in an archive is opened by a program that knows what it is: any name may be a pickle.
    found = _find(name.replace("\\", "/") or "data", size, read, depth + 1)
    if found is None:
        return None
    inside = "/".join(filter(None, (name, found.inside)))
    return Unsafe(found.reason, inside)


def _is_safetensors(head: bytes, size: int) -> bool:
    return 8 + int.from_bytes(head[:8], "little") <= size and head[8:9] == b"{"


def _numpy(head: bytes) -> Unsafe | None:
    """An array of Python's values is a pickle inside."""
    length = int.from_bytes(head[8 : 10 if head[6:7] == b"\x01" else 12], "little")
    header = head[8 : 12 + length]
    if _PYTHON_VALUES.search(header) is None:
        return None
    return Unsafe("its values are pickles: loading them runs code")
