"""Commands in processes that are forked from one that has imported outlast already. Each is a
process of its own, as ``python -m outlast`` is; what is saved is the second of work with which an
interpreter loads our modules. Tests of how the program itself starts do not use it.

`start` starts a command, and `Child` is what a test needs of `subprocess.Popen`. `calls` has them
in the form of `tests.cli.call`. ``python -m tests.warm`` is the process that forks.
"""

from tests.warm.client import Child, Forker, start
from tests.warm.order import Order

__all__ = ["Child", "Forker", "Order", "start"]
