"""How to go on after Ctrl-C: what state a command leaves things in, and what to do next."""

from typing import Final

_AGAIN: Final = "run the same command again"
_UNCHANGED: Final = f"nothing was changed; {_AGAIN}"
_HINTS: Final = {
    "sync": f"models that are done stay; {_AGAIN}: it resumes",
    "service": f"units that are written stay; {_AGAIN}",
    "pull": f"{_AGAIN}: it resumes",
    "add": f"nothing is recorded yet; {_AGAIN}: files that are stored are not stored twice",
    "adopt": f"models that are done stay; {_AGAIN}: files that are stored are not stored twice",
    "verify": f"what was read so far counts for nothing; {_AGAIN}: it begins from the start",
    "pack": f"files that are packed stay so, no file is in between; {_AGAIN} for the rest",
    "unpack": f"files that are plain stay so, no file is in between; {_AGAIN} for the rest",
    "copy": f"files that are there stay; {_AGAIN}: they are not sent again",
    "rm": f"what is removed stays so; {_AGAIN} for the rest",
    "gc": "what was moved is in the trash ('outlast gc --undo' puts it back), what was deleted is "
    f"gone; {_AGAIN} for the rest",
    "link": f"files that are decoded or linked stay; {_AGAIN} for the rest",
    "share": f"nothing is shared yet; {_AGAIN}: it reads all files from the start",
    "evidence": f"timestamps that came are kept; {_AGAIN} for the rest",
    "doctor": f"what is mended stays so, an index that is lacking is made anew; {_AGAIN}",
    "run": f"working copies that are complete stay; {_AGAIN}",
    "policy": _UNCHANGED,
    "quarantine": f"what was decided stays so; {_AGAIN} for the rest",
    "screen": f"what was screened is in the log; {_AGAIN} for the rest",
    "ls": _UNCHANGED,
    "accept": f"what was accepted stays so; {_AGAIN} for the rest",
    "config": _UNCHANGED,
    "show": _UNCHANGED,
    "search": _UNCHANGED,
    "locate": f"nothing of it is kept; {_AGAIN}",
    "status": _UNCHANGED,
}


def going_on(command: str) -> str:
    """The hint for the one who interrupted `command`."""
    return _HINTS.get(command, _AGAIN)
