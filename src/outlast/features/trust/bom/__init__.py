"""Bills of materials: what models consist of, where they came from and what is claimed of them, as
CycloneDX.
"""
