"""Which of a node's neighbours a command may use."""

from dataclasses import dataclass

from outlast.node.node import Node
from outlast.node.peers import Neighbour


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """A node, and which of its neighbours may be used: those heard on the LAN, static peers; over
    HTTP beside the swarm. `named`: the user asked for what those on the LAN say.
    """

    node: Node
    lan: bool = True
    static: bool = True
    http: bool = True
    named: bool = False

    def admits(self, neighbour: Neighbour) -> bool:
        return self.static if neighbour.static else self.lan

    def near(self) -> list[Neighbour]:
        """The neighbours that may be asked now."""
        return [
            neighbour for neighbour in self.node.contacts.neighbours() if self.admits(neighbour)
        ]
