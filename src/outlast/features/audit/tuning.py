"""Bounds of audits."""

from typing import Final

MOST_PROMPTS: Final = 200
"""Questions of an audit, and of its calibration. A guess: the exact test takes seconds."""
MOST_TOKENS: Final = 512
"""Tokens of an answer that are compared."""
