"""What peers hand on of a blob: its plain bytes, or its capsule."""

from dataclasses import dataclass
from enum import StrEnum

from outlast.codec.format import BaseRef
from outlast.core.digest import Digest


class Form(StrEnum):
    """How the bytes of a blob lie on the disk."""

    PLAIN = "plain"
    CAPSULE = "capsule"
    DELTA = "thin"


@dataclass(frozen=True, slots=True)
class Payload:
    """The file that holds a blob in one form: `size` bytes, whose merkle root (BEP 52) is `root`,
    depending on `bases`. A peer that names one claims that it restores `blob`; that is only
    believed once the blob has its sha256.
    """

    blob: Digest
    form: Form
    size: int
    root: Digest
    bases: tuple[BaseRef, ...] = ()

    @property
    def is_plain(self) -> bool:
        return self.form is Form.PLAIN
