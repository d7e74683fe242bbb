"""What an answer says of itself: who gave it, and what did not, in headers and in one field."""

from dataclasses import dataclass, field
from typing import Any, Final

from outlast.features.gateway.serving.fleet import Server

_MOST_HEADER: Final = 1000


@dataclass(slots=True)
class AnswerNote:
    """Collects it while a request is answered. `passed` are targets and why they did not answer;
    `continued`: from which target on, after how many characters, and why.
    """

    route: str
    choice: str
    server: Server | None = None
    passed: list[tuple[str, str]] = field(default_factory=list)
    continued: list[dict[str, Any]] = field(default_factory=list)

    @property
    def substituted(self) -> bool:
        """Whether another target answers than the one of choice."""
        return self.server is not None and self.server.target.name != self.choice

    def skipped(self, target: str, reason: str) -> None:
        """It was not asked, or did not answer."""
        self.passed.append((target, reason))

    def headers(self) -> dict[str, str]:
        """For the head of an answer. All of it is ASCII: names come from the operator's file."""
        if self.server is None:
            return {}
        target = self.server.target
        found = {
            "X-Outlast-Target": target.name,
            "X-Outlast-Model": target.model,
            "X-Outlast-Provider": target.provider,
        }
        origin = self.server.backend.origin
        if origin is not None:
            found.update(origin.headers)
        if self.substituted:
            said = ", ".join(f"{name} ({why})" for name, why in self.passed)
            found["X-Outlast-Substituted"] = (said or self.choice)[:_MOST_HEADER]
        return found

    def document(self) -> dict[str, Any]:
        """The field ``outlast``."""
        if self.server is None:
            return {}
        target = self.server.target
        found: dict[str, Any] = {
            "route": self.route,
            "target": target.name,
            "model": target.model,
            "provider": target.provider,
        }
        origin = self.server.backend.origin
        if origin is not None:
            found.update(origin.field)
        if self.substituted:
            found["substituted_for"] = self.choice
        if self.passed:
            found["passed"] = [{"target": name, "reason": why} for name, why in self.passed]
        if self.continued:
            found["continued"] = self.continued
        return found
