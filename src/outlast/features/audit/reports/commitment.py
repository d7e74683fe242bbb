"""The commitment to the questions of an audit: made before the first one is asked, revealed in the
report. It shows that no question was left out, or chosen by its answer.
"""

import hashlib
from collections.abc import Sequence

import rfc8785


def commitment(seed: str, prompts: Sequence[str]) -> str:
    """The sha256 in hex of the questions with their seed (hex), which nothing else knows yet: from
    the commitment alone no question can be guessed.
    """
    return hashlib.sha256(rfc8785.dumps({"prompts": list(prompts), "seed": seed})).hexdigest()
