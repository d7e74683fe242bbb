"""What Open WebUI's backend asks of a server: its list of models, chats, titles, embeddings; with
the client, the headers and the fields that it uses. The program itself is gigabytes, and not run.
"""

import asyncio
import json
from typing import Any

import aiohttp

from tests.features.gateway.gateways import gateway
from tests.features.gateway.test_falls_over import WORDS, routes
from tests.features.gateway.upstream import providers

HEADERS = {
    "Content-Type": "application/json",
    "Authorization": "Bearer sk-of-open-webui",
    "X-OpenWebUI-User-Name": "J%C3%B6rg",
    "X-OpenWebUI-User-Id": "1",
    "X-OpenWebUI-User-Email": "joerg@example.org",
    "X-OpenWebUI-User-Role": "admin",
    "X-OpenWebUI-Chat-Id": "local:1",
}
TURN = {"role": "user", "content": [{"type": "text", "text": "say"}]}
CHAT = {
    "stream": True,
    "model": "m",
    "messages": [{"role": "system", "content": "be kind"}, TURN],
    "stream_options": {"include_usage": True},
    "temperature": 0.7,
    "max_tokens": 64,
    "logit_bias": {"11": -100},
    "metadata": {"chat_id": "1"},
}
TITLE = {
    "model": "m",
    "messages": [{"role": "user", "content": "### Task:\nWrite a title."}],
    "stream": False,
    "max_completion_tokens": 1000,
}


async def _asked(base: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with aiohttp.ClientSession(trust_env=True, headers=HEADERS) as session:
        async with session.get(f"{base}/models") as answer:
            found["models"] = [one["id"] for one in (await answer.json())["data"]]
        data = json.dumps(CHAT)
        async with session.post(f"{base}/chat/completions", data=data) as answer:
            assert "text/event-stream" in answer.headers["Content-Type"]
            lines = [line async for line in answer.content]
            found["chat"] = [line[6:] for line in lines if line.startswith(b"data: ")]
        async with session.post(f"{base}/chat/completions", data=json.dumps(TITLE)) as answer:
            assert "text/event-stream" not in answer.headers["Content-Type"]
            found["title"] = await answer.json()
        # The model is looked for in the list; one that is gone is an error with a text.
        gone = {**TITLE, "model": "gone"}
        async with session.post(f"{base}/chat/completions", data=json.dumps(gone)) as answer:
            found["gone"] = answer.status, (await answer.json())["error"]["message"]
        texts = json.dumps({"input": ["one", "two"], "model": "embed"})
        async with session.post(f"{base}/embeddings", data=texts) as answer:
            found["vectors"] = (await answer.json())["data"]
    return found


def test_all_that_it_asks(tmp_path: Any) -> None:
    with providers("a", "b") as (a, b):
        text = routes(a, b, '[routes.embed]\ntargets = ["b:vectors"]\nasks = "embeddings"\n')
        a.doing = {"cut": 4}
        with gateway(tmp_path, text) as caller:
            found = asyncio.run(_asked(f"http://127.0.0.1:{caller.port}/v1"))
    assert found["models"] == ["m", "embed"]
    *events, done = found["chat"]
    assert done.strip() == b"[DONE]"
    chunks = [json.loads(event) for event in events]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == WORDS
    assert chunks[-1]["usage"]["completion_tokens"] == 10
    assert found["title"]["choices"][0]["message"]["content"] == WORDS
    assert found["gone"][0] == 404
    assert "gone" in found["gone"][1]
    assert found["vectors"] == [{"embedding": [0.5]}]
    asked = a.asked[0]
    assert (asked["logit_bias"], asked["metadata"]) == ({"11": -100}, {"chat_id": "1"})
    assert asked["messages"] == CHAT["messages"]
    # Neither the caller's key nor what it says of its user goes any further.
    assert not [head for head in [*a.heads, *b.heads] if "open-webui" in head or "User-Id" in head]
