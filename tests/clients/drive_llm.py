"""Run inside a client's environment: `drive_llm.py ROOT CALL…`, each CALL the name of a function
below. Prints {"results": [{"value": …} or {"error": class, "message", "status"}]}.
"""

import asyncio
import json
import sys
from typing import Any

ROOT = sys.argv[1]
URL = f"{ROOT}/v1"
ASK = [{"role": "user", "content": "hello"}]
USE = [{"role": "user", "content": "use a tool: two tools"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}


def client(asynchronous: bool = False) -> Any:
    import openai  # noqa: PLC0415 - where it is installed

    kind = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    return kind(base_url=URL, api_key="k", max_retries=0, timeout=200)


def claude(asynchronous: bool = False) -> Any:
    import anthropic  # noqa: PLC0415 - where it is installed

    kind = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
    return kind(base_url=ROOT, api_key="k", max_retries=0, timeout=200)


FUNCTION = {"name": "weather", "description": "of a city", "parameters": SCHEMA}


def chat_whole() -> Any:
    answer = client().chat.completions.create(model="sim-model", messages=ASK, logprobs=True)
    choice = answer.choices[0]
    probs = "".join(one.token for one in choice.logprobs.content)
    return [choice.message.content, choice.finish_reason, answer.usage.total_tokens, probs]


def chat_stream() -> Any:
    chunks = list(client().chat.completions.create(model="sim-model", messages=ASK, stream=True))
    text = "".join(one.choices[0].delta.content or "" for one in chunks)
    noted = [one.outlast for one in chunks if "outlast" in (one.model_extra or {})]
    return [
        text,
        chunks[-1].choices[0].finish_reason,
        [one.usage for one in chunks if one.usage],
        noted,
    ]


def chat_stream_usage() -> Any:
    chunks = list(
        client().chat.completions.create(
            model="sim-model", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    return [chunks[-1].usage.completion_tokens, chunks[-1].choices, chunks[-1].outlast]


def chat_async() -> Any:
    async def ask() -> str:
        stream = await client(True).chat.completions.create(
            model="sim-model", messages=ASK, stream=True
        )
        return "".join([one.choices[0].delta.content or "" async for one in stream])

    return asyncio.run(ask())


def chat_tools() -> Any:
    with client().chat.completions.stream(
        model="sim-model", messages=USE, tools=[{"type": "function", "function": FUNCTION}]
    ) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    return [[one.function.name, json.loads(one.function.arguments)] for one in message.tool_calls]


def weather_model() -> Any:
    import pydantic  # noqa: PLC0415 - where it is installed

    class Weather(pydantic.BaseModel):
        city: str
        degrees: int

    return Weather


def chat_parsed() -> Any:
    answer = client().chat.completions.parse(
        model="sim-model", messages=ASK, response_format=weather_model()
    )
    return answer.choices[0].message.parsed.model_dump()


def completion() -> Any:
    whole = client().completions.create(model="sim-model", prompt="once ").choices[0].text
    stream = client().completions.create(model="sim-model", prompt="once ", stream=True)
    return [whole, "".join(one.choices[0].text for one in stream)]


def embeddings() -> Any:
    answer = client().embeddings.create(model="sim-model", input=["a", "b"])
    return [len(one.embedding) for one in answer.data]


def response_whole() -> Any:
    answer = client().responses.create(
        model="sim-model", input="hello", include=["message.output_text.logprobs"]
    )
    probs = "".join(one.token for one in answer.output[0].content[0].logprobs)
    return [answer.output_text, answer.status, answer.usage.total_tokens, probs]


def response_stream() -> Any:
    with client().responses.stream(model="sim-model", input="hello") as stream:
        text = "".join(one.delta for one in stream if one.type == "response.output_text.delta")
        final = stream.get_final_response()
    return [text, final.output_text, final.status, final.usage.output_tokens]


def response_kinds() -> Any:
    """The order of the events."""
    events = list(client().responses.create(model="think-sim", input="hello", stream=True))
    numbers = [one.sequence_number for one in events]
    kinds = []
    for one in events:
        if not kinds or kinds[-1] != one.type:
            kinds.append(one.type)
    return [numbers == list(range(len(numbers))), kinds]


def response_async() -> Any:
    async def ask() -> str:
        async with client(True).responses.stream(model="sim-model", input="hello") as stream:
            async for _ in stream:
                pass
            return (await stream.get_final_response()).output_text

    return asyncio.run(ask())


def response_tools() -> Any:
    tool = {"type": "function", "strict": True, **FUNCTION}
    with client().responses.stream(
        model="sim-model", input="use a tool: two tools", tools=[tool]
    ) as stream:
        for _ in stream:
            pass
        first = stream.get_final_response()
    calls = [one for one in first.output if one.type == "function_call"]
    history = [{"role": "user", "content": "use a tool: two tools"}]
    for one in calls:
        history.append(one.to_dict())
        history.append({"type": "function_call_output", "call_id": one.call_id, "output": "warm"})
    then = client().responses.create(model="sim-model", input=history, tools=[tool])
    called = [[one.name, json.loads(one.arguments)] for one in calls]
    return [called, then.output_text.startswith("0:")]


def response_custom() -> Any:
    tool = {"type": "custom", "name": "patch", "description": "takes any text"}
    whole = client().responses.create(
        model="sim-model", input="use a tool", tools=[tool], tool_choice="required"
    )
    events = client().responses.create(
        model="sim-model", input="use a tool", tools=[tool], tool_choice="required", stream=True
    )
    done = [one for one in events if one.type == "response.custom_tool_call_input.done"]
    return [whole.output[0].type, whole.output[0].input, done[0].input]


def response_parsed() -> Any:
    answer = client().responses.parse(model="sim-model", input="hello", text_format=weather_model())
    return answer.output_parsed.model_dump()


def message_whole() -> Any:
    answer = claude().messages.create(model="sim-model", max_tokens=99, messages=ASK)
    return [answer.content[0].text, answer.stop_reason, answer.usage.output_tokens]


def message_stream() -> Any:
    with claude().messages.stream(
        model="think-sim", max_tokens=99, system="be kind", messages=ASK
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    kinds = [one.type for one in final.content]
    usage = [final.usage.input_tokens, final.usage.output_tokens]
    return [text, kinds, final.content[0].thinking, final.stop_reason, usage]


def message_async() -> Any:
    async def ask() -> str:
        async with claude(True).messages.stream(
            model="sim-model", max_tokens=99, messages=ASK
        ) as stream:
            return "".join([text async for text in stream.text_stream])

    return asyncio.run(ask())


def message_tools() -> Any:
    tool = {"name": "weather", "description": "of a city", "input_schema": SCHEMA}
    with claude().messages.stream(
        model="sim-model", max_tokens=99, messages=USE, tools=[tool]
    ) as stream:
        first = stream.get_final_message()
    calls = [one for one in first.content if one.type == "tool_use"]
    results = [{"type": "tool_result", "tool_use_id": one.id, "content": "warm"} for one in calls]
    turns = [*USE, {"role": "assistant", "content": [one.to_dict() for one in first.content]}]
    turns.append({"role": "user", "content": [*results, {"type": "text", "text": "and now?"}]})
    then = claude().messages.create(model="sim-model", max_tokens=99, messages=turns, tools=[tool])
    called = [[one.name, one.input] for one in calls]
    return [called, first.stop_reason, then.content[0].text.startswith("0:")]


def message_parsed() -> Any:
    answer = claude().messages.parse(
        model="sim-model", max_tokens=99, messages=ASK, output_format=weather_model()
    )
    return answer.parsed_output.model_dump()


def langchain() -> Any:
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings  # noqa: PLC0415 - where it is installed

    model = ChatOpenAI(model="sim-model", base_url=URL, api_key="k", max_retries=0, timeout=200)
    text = model.invoke("hello").content
    streamed = "".join(one.content for one in model.stream("hello"))
    bound = model.bind_tools([{"type": "function", "function": FUNCTION}])
    call = bound.invoke("use a tool").tool_calls[0]
    shaped = model.with_structured_output(weather_model()).invoke("hello").model_dump()
    vectors = OpenAIEmbeddings(
        model="sim-model", base_url=URL, api_key="k", check_embedding_ctx_length=False
    )
    found = vectors.embed_documents(["a"])
    return [text, streamed, [call["name"], call["args"]], shaped, len(found[0])]


def litellm_chat() -> Any:
    import litellm  # noqa: PLC0415 - where it is installed

    litellm.telemetry = False
    told = {"model": "openai/sim-model", "api_base": URL, "api_key": "k", "messages": ASK}
    whole = litellm.completion(**told).choices[0].message.content
    stream = litellm.completion(**told, stream=True)
    streamed = "".join(one.choices[0].delta.content or "" for one in stream)
    told["messages"], told["model"] = ASK, "anthropic/sim-model"
    message = litellm.completion(**{**told, "api_base": ROOT}, max_tokens=99)
    return [whole, streamed, message.choices[0].message.content]


def main() -> None:
    results = []
    for name in sys.argv[2:]:
        try:
            results.append({"value": globals()[name]()})
        except Exception as error:
            status = getattr(error, "status_code", None)
            message = str(error)
            results.append({"error": type(error).__name__, "message": message, "status": status})
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
