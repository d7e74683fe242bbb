"""A tiny Llama with random weights and a tokenizer trained on one sentence, made locally.

`python -m tests.engines.tiny_llama FOLDER` makes two: FOLDER/True has a chat template.
"""

import importlib
import sys
from pathlib import Path

CONTEXT = 256
TEMPLATE = (
    "{% for message in messages %}<s>{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def build_tiny_llama(folder: Path, *, template: bool) -> None:
    """Writes config, tokenizer and safetensors (about 0.5 MB) to `folder`."""
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    tokenizers = importlib.import_module("tokenizers")
    transformers.utils.logging.disable_progress_bar()
    bytelevel = tokenizers.pre_tokenizers.ByteLevel
    raw = tokenizers.Tokenizer(tokenizers.models.BPE())
    raw.pre_tokenizer = bytelevel(add_prefix_space=False)
    raw.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "</s>"], initial_alphabet=bytelevel.alphabet()
    )
    raw.train_from_iterator(["the sea is blue and the sky is wide "] * 20, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>"
    )
    if template:
        tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    for wanted in (True, False):
        build_tiny_llama(Path(sys.argv[1]) / str(wanted), template=wanted)
