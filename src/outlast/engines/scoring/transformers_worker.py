"""The worker process of :mod:`outlast.engines.scoring.transformers`.

The configuration is that of :mod:`outlast.engines.transformers_worker`, with `rounding`: a name of
:data:`outlast.engines.scoring.rounding.ROUNDINGS` for the weights of all linear layers,
``float32`` or ``bfloat16`` to compute in that, or null for the precision of the files.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from outlast.engines.transformers_worker import TransformersRunner, load_with
from outlast.engines.worker import Emit, Json, RefusedError, Stopped, work

_PRECISIONS: Final = ("float32", "bfloat16")
_SPACE: Final = "▁"


class ScoringRunner(TransformersRunner):
    """Answers `render`, `tokenize`, `score` and `generate` in place of a chat."""

    def __init__(self, torch: Any, transformers: Any, config: Mapping[str, Any]) -> None:
        super().__init__(torch, transformers, config)
        rounding = config.get("rounding")
        if rounding in _PRECISIONS:
            self._model.to(getattr(torch, rounding))
        elif rounding is not None:
            self._round(rounding)
        decoder = getattr(self._tokenizer, "backend_tokenizer", None)
        self._bytes = None
        if decoder is not None and "ByteLevel" in str(decoder.decoder):
            self._bytes = _bytes_of_level()

    def chat(self, request: Mapping[str, Any], emit: Emit, stopped: Stopped) -> Json:
        del emit, stopped
        if "render" in request:
            ids = self._prompt(request["render"])["input_ids"][0].tolist()
            return {"tokens": self._with_pieces(ids)}
        if "tokenize" in request:
            ids = self._tokenizer(request["tokenize"], add_special_tokens=False)["input_ids"]
            return {"tokens": self._with_pieces(ids)}
        prompt = request["prompt"]
        length = len(prompt) + (len(request["text"]) if "text" in request else request["count"])
        if not prompt or length > self._context:
            raise RefusedError(f"a text of {length} tokens; the model holds {self._context}")
        with self._torch.inference_mode():
            if "text" in request:
                return {"positions": self._score(prompt, request["text"], request["keep"])}
            return {"positions": self._generate(request)}

    def _score(self, prompt: Sequence[int], text: Sequence[int], keep: int) -> list[Any]:
        ids = self._torch.tensor([[*prompt, *text]], device=self._model.device)
        logits = self._model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        return [self._position(token, row, keep) for token, row in zip(text, logits, strict=True)]

    def _generate(self, request: Mapping[str, Any]) -> list[Any]:
        torch = self._torch
        random = torch.Generator().manual_seed(request["seed"])
        ends = self._model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends])
        ids = torch.tensor([request["prompt"]], device=self._model.device)
        past, found = None, []
        for _ in range(request["count"]):
            output = self._model(input_ids=ids, past_key_values=past, use_cache=True)
            past, row = output.past_key_values, output.logits[0, -1]
            if request["temperature"]:
                shares = torch.softmax(row.float().cpu() / request["temperature"], -1)
                token = int(torch.multinomial(shares, 1, generator=random))
            else:
                token = int(row.argmax())
            found.append(self._position(token, row, request["keep"]))
            if token in ends:
                break
            ids = torch.tensor([[token]], device=self._model.device)
        return found

    def _position(self, token: int, row: Any, keep: int) -> list[Any]:
        logprobs = self._torch.log_softmax(row.double(), -1)
        top = logprobs.topk(min(keep, logprobs.shape[-1]))
        ids = top.indices.tolist()
        return [token, ids, top.values.tolist(), [piece for _, piece in self._with_pieces(ids)]]

    def _with_pieces(self, ids: Sequence[int]) -> list[tuple[int, str]]:
        """Each with its bytes, as characters from U+0000 to U+00FF."""
        return [(one, self._piece(one).decode("latin-1")) for one in ids]

    def _piece(self, token: int) -> bytes:
        text = self._tokenizer.convert_ids_to_tokens(token) or ""
        if self._bytes is not None and all(c in self._bytes for c in text):
            return bytes(self._bytes[c] for c in text)
        if len(text) == 6 and text.startswith("<0x"):
            return bytes.fromhex(text[3:5])
        return str(text).replace(_SPACE, " ").encode("utf-8", "replace")

    def _round(self, rounding: str) -> None:
        torch = self._torch
        change = importlib.import_module("outlast.engines.scoring.rounding").ROUNDINGS[rounding]
        with torch.no_grad():
            for module in self._model.modules():
                if not isinstance(module, torch.nn.Linear):
                    continue
                rows = module.weight.detach().float().cpu().numpy()
                changed = torch.from_numpy(change(rows))
                module.weight.data = changed.to(module.weight.dtype).to(module.weight.device)


def _bytes_of_level() -> dict[str, int]:
    """What the characters of a byte-level vocabulary stand for: printable ones for themselves, the
    others for what lies from U+0100 on, in order.
    """
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + n): byte for n, byte in enumerate(others)}


def main() -> None:
    work(lambda config: load_with(ScoringRunner, config))
