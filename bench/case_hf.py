"""`outlast serve` to `hf download`, everything warm: against nginx and against Olah."""

import contextlib
import shutil
import statistics
from dataclasses import dataclass, field

from bench.hub import COMMIT, Model
from bench.rows import OURS, Contestants, Row, Target, absolute, alternate, missing, paired
from bench.stage import MEGA, MissingPeerError, Stage, size_text

_NGINX = "nginx"
_OLAH = "Olah 0.5.4"


def hf_download(stage: Stage) -> list[Row]:
    """All three serve the same model; ours and Olah are mirrors that were warmed before."""
    size = stage.serve_size
    what = f"serve to hf download, warm, {size_text(size)}"
    home = stage.folder / "mirror"
    against_olah = Target("≥", 1.3)
    with stage.model("bench/warm", 1, size) as model, contextlib.ExitStack() as stack:
        _, url = stack.enter_context(stage.serving(home, "--upstream", stage.hub.upstream))
        clients = {OURS: Client(stage, model, url), _NGINX: Client(stage, model, stage.hub.url)}
        without = ""
        try:
            olah = stack.enter_context(stage.olah(stage.hub.upstream))
            clients[_OLAH] = Client(stage, model, olah)
        except MissingPeerError as error:
            without = str(error)
        for client in clients.values():
            client.warm()
        contestants: Contestants = {n: c.run for n, c in clients.items()}
        samples = alternate(contestants, 2 * stage.pairs)  # the bound is near 1
        clients[OURS].run("--revision", COMMIT)
    shutil.rmtree(home)
    return [
        paired(what, "MB/s", samples, _NGINX, target=Target("≥", 0.95)),
        missing(what, "MB/s", against_olah, without)
        if without
        else paired(what, "MB/s", samples, _OLAH, target=against_olah),
        absolute(
            f"{what}: upstream requests",
            "requests",
            [max(clients[OURS].asked)],
            target=Target("=", 0, absolute=True),
            peers={_OLAH: None if without else statistics.median(clients[_OLAH].asked)},
        ),
    ]


@dataclass
class Client:
    """Downloads from one endpoint, and counts what that made its mirror ask upstream."""

    stage: Stage
    model: Model
    url: str
    asked: list[int] = field(default_factory=list)

    def warm(self) -> None:
        """Once unmeasured: the mirrors fetch what they lack."""
        self.stage.download(self.url, self.model)

    def run(self, *options: str) -> float:
        """MB/s of one download."""
        before = self.stage.hub.upstream_requests()
        seconds = self.stage.download(self.url, self.model, *options)
        self.asked.append(self.stage.hub.upstream_requests() - before)
        return self.model.size / MEGA / seconds
