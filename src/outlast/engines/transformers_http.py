"""HTTP inside a transformers worker: the part of OpenAI's API that it can answer, on a socket in
the file system. What it cannot do is refused, and never passed over in silence.

One answer is made at a time; further requests wait. `lora` of a request names the adapter, as it
does for llama.cpp: a list of `id` and `scale`.
"""

import json
import select
import socket
import socketserver
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Protocol

from outlast.engines.worker import Emit, Json, RefusedError, Stopped

_MOST: Final = 16 * 1024 * 1024
"""Bytes of a request; those that clients send are bounded before."""
_ROLES: Final = {"system": "system", "developer": "system", "user": "user"} | {
    "assistant": "assistant"
}
_REFUSED: Final = (
    *("tools", "functions", "logprobs", "top_logprobs", "logit_bias", "grammar", "json_schema"),
    *("presence_penalty", "frequency_penalty", "audio", "suffix", "best_of", "echo"),
)
_WISHES: Final = ("temperature", "top_p", "top_k", "min_p", "seed")
_MOST_STOPS: Final = 16


class GeneratingModel(Protocol):
    """The model, as this asks it."""

    facts: Json

    def render(self, messages: list[dict[str, str]], *, going_on: bool = False) -> str: ...

    def inputs(self, text: str, *, special: bool) -> Any: ...

    def generate(
        self,
        inputs: Any,
        sampling: Mapping[str, Any],
        emit: Emit,
        stopped: Stopped,
        adapter: int | None = 0,
    ) -> Json: ...


class _BadRequestError(Exception):
    """A request that is answered with `status`."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class StopWords:
    """Passes a text on until one of `words` comes; what may be the start of one is kept back."""

    def __init__(self, words: tuple[str, ...], give: Callable[[str], object]) -> None:
        self._words = words
        self._give = give
        self._held = ""
        self.met = False

    def take(self, text: str) -> None:
        """The next piece of the text."""
        if self.met:
            return
        self._held += text
        found = [at for word in self._words if (at := self._held.find(word)) >= 0]
        if found:
            self.met = True
            self._pass(min(found))
            return
        self._pass(len(self._held) - self._open())

    def end(self) -> None:
        """Nothing more comes."""
        if not self.met:
            self._pass(len(self._held))

    def _open(self) -> int:
        """How much of the end may be the start of a word."""
        longest = max((len(word) for word in self._words), default=1) - 1
        for size in range(min(longest, len(self._held)), 0, -1):
            if any(word.startswith(self._held[-size:]) for word in self._words):
                return size
        return 0

    def _pass(self, count: int) -> None:
        given, self._held = self._held[:count], self._held[count:]
        if given:
            self._give(given)


class BoundServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Listens; answers once it has a model."""

    daemon_threads = True
    request_queue_size = 128

    def answer(self, model: GeneratingModel, alias: str) -> None:
        """Answers requests from now on, in threads."""
        self.model, self.alias = model, alias
        self.turn = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()


def bind(path: str) -> BoundServer:
    """A server on a socket at `path` in the file system."""
    return BoundServer(path, _EngineHandler)


class _EngineHandler(BaseHTTPRequestHandler):
    server: BoundServer

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name there
        """Requests are not logged."""

    def do_GET(self) -> None:
        server = self.server
        facts = server.model.facts
        if self.path in {"/health", "/v1/health"}:
            self._say(200, {"status": "ok"})
        elif self.path == "/v1/models":
            meta = {"n_ctx_train": facts["context"]}
            self._say(200, {"object": "list", "data": [{"id": server.alias, "meta": meta}]})
        elif self.path == "/props":
            said = {"model_alias": server.alias, "build_info": facts["build"]}
            self._say(200, {**said, "n_ctx": facts["context"], "total_slots": 1})
        else:
            self._fail(_BadRequestError("nothing is served at this path", 404))

    def do_POST(self) -> None:
        try:
            body = self._body()
            path = self.path.removeprefix("/v1")
            if path == "/apply-template":
                messages = _messages(body)
                going_on = messages[-1]["role"] == "assistant"
                text = self.server.model.render(messages, going_on=going_on)
                self._say(200, {"prompt": text})
            elif path == "/chat/completions":
                self._complete(body, chat=True)
            elif path == "/completions":
                self._complete(body, chat=False)
            else:
                what = path.strip("/").replace("/", " ").replace("_", " ")
                raise _BadRequestError(f"This server does not support {what[:40]}.", 501)  # noqa: TRY301
        except (_BadRequestError, RefusedError) as error:
            self._fail(error)
        except (BrokenPipeError, ConnectionError):
            pass

    def _complete(self, body: Json, *, chat: bool) -> None:
        _refuse(body)
        model = self.server.model
        adapter = _adapter(body, int(model.facts["adapters"]))
        if chat:
            messages = _messages(body)
            going_on = messages[-1]["role"] == "assistant"
            text, special = model.render(messages, going_on=going_on), bool(model.facts["plain"])
        else:
            text, special = _text(body, "prompt"), True
        answer = _HttpAnswer(self, body, chat=chat)
        words = StopWords(_stops(body), answer.add)
        inputs = model.inputs(text, special=special)
        # An answer that waits for its turn is not begun for a client that left meanwhile.
        with self.server.turn:
            if not self.gone():
                done = model.generate(
                    inputs,
                    _sampling(body),
                    lambda event: words.take(event.get("text", "")),
                    lambda: words.met or self.gone(),
                    adapter,
                )
                words.end()
                answer.end(done["usage"], stopped=words.met)

    def gone(self) -> bool:
        """Whether the client has closed the connection."""
        ready, _, _ = select.select([self.connection], [], [], 0)
        return bool(ready) and self.connection.recv(1, socket.MSG_PEEK) == b""

    def _body(self) -> Json:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _MOST:
            raise _BadRequestError("a request says how long it is")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _BadRequestError("the request is no JSON") from None
        if not isinstance(body, dict):
            raise _BadRequestError("the request is no JSON object")
        return body

    def _fail(self, error: _BadRequestError | RefusedError) -> None:
        said: Json = {"message": str(error), "type": "invalid_request_error"}
        if hasattr(error, "tokens"):
            said |= {"type": "exceed_context_size_error"}
            said |= {"n_prompt_tokens": error.tokens, "n_ctx": getattr(error, "context", 0)}
        self._say(getattr(error, "status", 400), {"error": said})

    def _say(self, status: int, document: Json) -> None:
        data = json.dumps(document).encode()
        self.begin(status, "application/json", len(data))
        self.wfile.write(data)

    def begin(self, status: int, kind: str, length: int | None) -> None:
        """The head of an answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()


class _HttpAnswer:
    """One answer, whole or as events."""

    def __init__(self, handler: _EngineHandler, body: Json, *, chat: bool) -> None:
        self._handler = handler
        self._chat = chat
        self._stream = body.get("stream") is True
        options = body.get("stream_options")
        self._usage = isinstance(options, dict) and options.get("include_usage") is True
        self._begun = False
        self._texts: list[str] = []
        kind = "chat.completion" if chat else "text_completion"
        self._common: Json = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": f"{kind}.chunk" if chat and self._stream else kind,
            "created": int(time.time()),
            "model": body.get("model") or handler.server.alias,
        }

    def add(self, text: str) -> None:
        """The next piece of the answer."""
        if not self._stream:
            self._texts.append(text)
            return
        self._begin()
        self._event(self._choice({"content": text} if self._chat else text, None))

    def end(self, usage: Mapping[str, Any], *, stopped: bool) -> None:
        """The end of the answer."""
        finish = "stop" if stopped else usage["finish"]
        counts = {key: int(usage[key]) for key in ("prompt_tokens", "completion_tokens")}
        said = {"usage": {**counts, "total_tokens": sum(counts.values())}}
        if not self._stream:
            text = "".join(self._texts)
            choice = self._choice({"role": "assistant", "content": text}, finish, "message")
            choice = choice if self._chat else self._choice(text, finish)
            self._handler._say(200, {**self._common, "choices": [choice], **said})  # noqa: SLF001
            return
        self._begin()
        self._event(self._choice({} if self._chat else "", finish))
        if self._usage:
            self._write({**self._common, "choices": [], **said})
        self._handler.wfile.write(b"data: [DONE]\n\n")

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        self._handler.begin(200, "text/event-stream", None)
        if self._chat:
            self._event(self._choice({"role": "assistant", "content": ""}, None))

    def _choice(self, said: Any, finish: str | None, key: str = "delta") -> Json:
        choice = {key: said} if self._chat else {"text": said, "logprobs": None}
        return {"index": 0, **choice, "finish_reason": finish}

    def _event(self, choice: Json) -> None:
        self._write({**self._common, "choices": [choice]})

    def _write(self, document: Json) -> None:
        self._handler.wfile.write(b"data: " + json.dumps(document).encode() + b"\n\n")


def _refuse(body: Json) -> None:
    """Raises for what is asked and cannot be done."""
    for key in _REFUSED:
        if body.get(key) not in (None, False, 0, [], {}, ""):
            raise _BadRequestError(f"{key!r} is not offered by transformers here")
    if body.get("n") not in (None, 1):
        raise _BadRequestError("one answer is made for each request: 'n' is 1")
    form = body.get("response_format")
    if form is not None and (not isinstance(form, dict) or form.get("type") != "text"):
        raise _BadRequestError("'response_format' is not offered by transformers here")


def _adapter(body: Json, loaded: int) -> int | None:
    """The adapter that counts: those of the list have a weight of 0 or 1, and at most one has 1."""
    found = [one for one in body.get("lora") or () if isinstance(one, dict) and one.get("scale")]
    numbers = [one.get("id") for one in found if one["scale"] == 1]
    if len(numbers) != len(found) or len(found) > 1 or set(numbers) - set(range(loaded)):
        raise _BadRequestError("'lora' names no adapter that is loaded")
    return int(numbers[0]) if numbers else None  # type: ignore[arg-type]


def _messages(body: Json) -> list[dict[str, str]]:
    listed = body.get("messages")
    if not isinstance(listed, list) or not listed:
        raise _BadRequestError("'messages' is no list of messages")
    found = []
    for item in listed:
        role = _ROLES.get(str(item.get("role"))) if isinstance(item, dict) else None
        if role is None:
            raise _BadRequestError(f"a message has one of the roles {', '.join(_ROLES)}")
        found.append({"role": role, "content": _content(item.get("content"))})
    return found


def _content(said: object) -> str:
    if isinstance(said, str):
        return said
    parts = said if isinstance(said, list) else [None]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise _BadRequestError("this model takes text alone")
    return "\n".join(map(str, texts))


def _text(body: Json, key: str) -> str:
    said = body.get(key)
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    if not isinstance(said, str):
        raise _BadRequestError(f"{key!r} is not a text")
    return said


def _stops(body: Json) -> tuple[str, ...]:
    said = body.get("stop")
    words = [said] if isinstance(said, str) else said or []
    if not isinstance(words, list) or len(words) > _MOST_STOPS:
        raise _BadRequestError(f"'stop' is a text, or up to {_MOST_STOPS} of them")
    if not all(isinstance(word, str) and word for word in words):
        raise _BadRequestError("'stop' has something that is no text")
    return tuple(words)


def _sampling(body: Json) -> Json:
    found = {key: body[key] for key in _WISHES if body.get(key) is not None}
    for key in ("max_completion_tokens", "max_tokens"):
        if body.get(key) is not None:
            found["max_tokens"] = body[key]
            break
    for key, value in found.items():
        whole = key in {"max_tokens", "top_k", "seed"}
        fits = type(value) is int if whole else type(value) in (int, float)
        if not fits or not 0 <= value < (1 << 32) or (key == "max_tokens" and value == 0):
            raise _BadRequestError(f"{key!r} is no number that it may be")
    return found
