"""A stand-in Hugging Face hub with fault injection, for tests. README.md describes it."""

from tests.hubsim.generate import hostile_repo, many_files_repo
from tests.hubsim.log import LogEntry
from tests.hubsim.repo import Commit, HubFile, HubRepo, add_alias, put_collection
from tests.hubsim.sim import HubSim

__all__ = [
    "Commit",
    "HubFile",
    "HubRepo",
    "HubSim",
    "LogEntry",
    "add_alias",
    "hostile_repo",
    "many_files_repo",
    "put_collection",
]
