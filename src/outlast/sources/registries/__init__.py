"""What the registries of container images have in common: manifests, files, errors, logins.

Sources: the OCI distribution and image specifications 1.1, and the token protocol of Docker's
registry.

Public names: `api.Registry` asks; `layers.files_of` says which files a manifest stands for.
"""
