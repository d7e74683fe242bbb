"""What runs a model: llama.cpp and transformers, each in a worker process.

Public names: `base.Engine` is the protocol; `choose.choose` says which engine fits;
`llama.open_llama` and `transformers.open_transformers` start one.
"""
