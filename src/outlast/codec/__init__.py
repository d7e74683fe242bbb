"""Fewer bytes: capsules and their native kernels, the tensors of safetensors and GGUF, merkle
trees.

Public names: `writer.CapsuleWriter`, `reader.CapsuleReader`, `layout.spans`, `tensors.parse`,
`merkle.Tree`, `hashing.names_of`, `payload.Payload`.
"""
