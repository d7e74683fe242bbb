"""Registries of container images, and Ollama's, as sources: manifests, files, errors, logins.

Sources: the OCI distribution and image specifications 1.1, and the token protocol of Docker's
registry.

Public names: `oci.OciSource` and `ollama.OllamaSource` are the sources; `api.Registry` asks;
`layers.files_of` says which files a manifest stands for.
"""
