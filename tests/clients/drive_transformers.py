"""Runs inside the transformers environment: makes tiny models, and loads them from an endpoint.

`make DIR` writes tiny-bert, tiny-llama and tiny-sentence under DIR, with random weights from a
fixed seed. `load NAME…` loads each folder or repo with what its config asks for, and prints one
JSON object: a few numbers that each model computes, so that made and served ones compare.
"""

import json
import sys
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer, models
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox", "jumps", "over", "dog", "."]
TEXT = "the fox jumps over the dog ."
SMALL = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of a dozen words."""
    made = Tokenizer(WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )


def make(folder: Path) -> None:
    """Write the models."""
    torch.manual_seed(7)
    bert, llama, sentence = (folder / f"tiny-{name}" for name in ("bert", "llama", "sentence"))
    for path in (bert, llama):
        tokenizer().save_pretrained(path)
    BertModel(BertConfig(**SMALL, max_position_embeddings=64)).save_pretrained(bert)
    LlamaForCausalLM(LlamaConfig(**SMALL, pad_token_id=0)).save_pretrained(llama)
    words = models.Transformer(str(bert))
    pooling = models.Pooling(words.get_word_embedding_dimension())
    SentenceTransformer(modules=[words, pooling]).save(str(sentence))


def compute(name: str) -> list[float]:
    """Load a model, by folder or by repo, and let it compute something."""
    if "sentence" in name:
        return [float(value) for value in SentenceTransformer(name).encode(TEXT)[:8]]
    kind = AutoConfig.from_pretrained(name).model_type
    words = AutoTokenizer.from_pretrained(name)(TEXT, return_tensors="pt")
    with torch.no_grad():
        if kind == "llama":
            logits = AutoModelForCausalLM.from_pretrained(name)(words["input_ids"]).logits
            return logits[0, -1, :8].tolist()
        return (
            AutoModel.from_pretrained(name)(words["input_ids"]).last_hidden_state[0, 0, :8].tolist()
        )


def main() -> None:
    """Do what the command line says."""
    torch.set_num_threads(1)
    action, *names = sys.argv[1:]
    told: dict[str, list[float]] = {}
    if action == "make":
        make(Path(names[0]))
    else:
        told = {name: compute(name) for name in names}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
