"""Adapters: LoRA tuning of archived models on this machine, with a record of what each was made
from; merged models and GGUF files made of them.
"""
