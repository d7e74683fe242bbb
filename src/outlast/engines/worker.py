"""The inside of a worker process: one model, loaded by an engine that may crash or hang.

llama.cpp calls abort() on some damaged files, and a hostile chat template can take all memory, so
engines never share a process with the archive. The parent (:mod:`outlast.engines.process`) sends
one JSON object a line to standard input and reads one a line from what was standard output:

- ``{"config": …}`` first, with ``"sealed": true`` where the process has to leave all networks
  before it loads anything; answered by ``{"ready": {…}, "sealed_by": […]}`` or
  ``{"failed": "…", "hint": "…"}``
- ``{"id": n, "messages": […], "sampling": {…}}``: a chat; answered by any number of
  ``{"id": n, "text": "…", "thought": false}`` and then one of ``{"id": n, "usage": {…}}``,
  ``{"id": n, "error": "…", "hint": "…"}`` and ``{"id": n, "stopped": true}``
- ``{"stop": n}`` ends the chat n early. End of file ends the process, so a worker never outlives
  its parent, however that one ends.
"""

import json
import os
import queue
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

FOLDER_PREFIX = "outlast-engine-"
"""How the names of the private folders begin that workers run in."""

Json = dict[str, Any]
Emit = Callable[[Json], None]
Stopped = Callable[[], bool]


class RefusedError(Exception):
    """The model cannot be loaded, or the chat not be carried out, for a reason that we know."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Runner(Protocol):
    """A loaded model."""

    facts: Json

    def chat(self, request: Mapping[str, Any], emit: Emit, stopped: Stopped) -> Json:
        """Answers one request through `emit`; returns the fields of its last event."""


def work(load: Callable[[Json], Runner]) -> None:
    """Runs this process as a worker until its standard input ends. Does not return."""
    emit = _claim_stdout()
    # A core dump would hold the whole model.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(0)
    sealed_by: Sequence[str] = ()
    try:
        order = json.loads(line)
        if order.get("sealed"):
            from outlast.engines.sealing import seal  # noqa: PLC0415 - few runs are sealed

            sealed_by = seal()
        runner = load(order["config"])
    except RefusedError as error:
        emit({"failed": str(error), "hint": error.hint})
        sys.exit(1)  # in an orderly way: what a thread of the engine still logs tells why
    # The engine may have set handlers of its own.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    requests: queue.SimpleQueue[Json] = queue.SimpleQueue()
    stops: set[int] = set()
    threading.Thread(target=_listen, args=(requests, stops), daemon=True).start()
    emit({"ready": runner.facts, "sealed_by": sealed_by})
    while True:
        request = requests.get()
        emit({"id": request["id"], **_answer(runner, request, emit, stops)})


def _answer(runner: Runner, request: Json, emit: Emit, stops: set[int]) -> Json:
    number = int(request["id"])

    def stopped() -> bool:
        return number in stops

    try:
        last = runner.chat(request, lambda event: emit({"id": number, **event}), stopped)
    except RefusedError as error:
        return {"error": str(error), "hint": error.hint}
    return {"stopped": True} if stopped() else last


def _listen(requests: "queue.SimpleQueue[Json]", stops: set[int]) -> None:
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "stop" in message:
            stops.add(int(message["stop"]))
        else:
            requests.put(message)
    # The parent may have been killed, with no time to tidy up.
    folder = os.getcwd()
    if os.path.basename(folder).startswith(FOLDER_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
    # Nothing else is worth a tidy end, and an engine's destructors may hang.
    os._exit(0)


def _claim_stdout() -> Emit:
    """Takes standard output for events; whatever else writes to it goes to standard error."""
    descriptor = os.dup(1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def emit(event: Json) -> None:
        data = memoryview(json.dumps(event).encode() + b"\n")
        with lock:
            while data:
                data = data[os.write(descriptor, data) :]

    return emit
