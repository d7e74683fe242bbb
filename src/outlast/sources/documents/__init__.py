"""The JSON of sources: the memory that all of it takes, and what hubs say.

Public names: `large.read_json` reads an answer, `hub_says` has what the answers of hubs become.
"""
