"""What the registries of container images have in common: manifests, files, errors, logins.

Sources: the OCI distribution and image specifications 1.1, and the token protocol of Docker's
registry. `oci.OciSource` and `ollama.OllamaSource` ask.
"""
