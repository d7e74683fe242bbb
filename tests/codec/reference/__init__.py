"""A decoder of capsules in plain Python: the executable form of docs/format/capsule.md.

It needs the standard library and nothing else: neither the native kernels nor any module of
outlast. An archive stays readable with this folder alone: copy it anywhere, and import it there
as `reference`. It is slow (a minute for some 50 MB) and holds the blob in memory.
"""

from .blocks import DamagedError
from .decoder import Capsule, decode, decode_range, verify

__all__ = ["Capsule", "DamagedError", "decode", "decode_range", "verify"]
