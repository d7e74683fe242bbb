"""What runs in the worker process: the only modules that import torch, transformers and PEFT."""
