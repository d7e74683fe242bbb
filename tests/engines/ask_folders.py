"""`python -m tests.engines.ask_folders FOLDER…`: what the worker of the transformers engine says
of each folder, in one process, so that torch and transformers are imported once.

Prints a JSON object on its last line: for each folder `refused`, or `plain` and `usage`.
"""

import json
import sys

from outlast.engines.transformers_worker import load
from outlast.engines.worker import Json, RefusedError

CHAT: Json = {
    "messages": [{"role": "user", "content": "the sea is"}],
    "sampling": {"max_tokens": 8, "temperature": 0},
}


def ask(folder: str) -> Json:
    """Loads the model and has it answer."""
    try:
        alone: Json = {"adapters": [], "serve": None}
        runner = load({"model": folder, "device": "cpu", "threads": 1, **alone})
        return {**runner.facts, **runner.chat(CHAT, lambda _event: None, lambda: False)}
    except RefusedError as error:
        return {"refused": str(error)}


if __name__ == "__main__":
    print(json.dumps({folder: ask(folder) for folder in sys.argv[1:]}))
