"""Command line of the stand-in hub: see README.md."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.hubsim.server import Hub, Options


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    given = vars(_parser().parse_args())
    port_file: Path | None = given.pop("port_file")
    stop_on_eof: bool = given.pop("stop_on_eof")
    asyncio.run(_serve(Options(**given), port_file, stop_on_eof=stop_on_eof))


async def _serve(options: Options, port_file: Path | None, *, stop_on_eof: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if stop_on_eof:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    async with Hub(options) as hub:
        ports = json.dumps({"hub": hub.url, "cdn": hub.cdn_url, "pid": os.getpid()})
        if port_file is None:
            print(ports, flush=True)
        else:
            part = port_file.with_name(f"{port_file.name}.part")
            part.write_text(ports)
            os.replace(part, port_file)
        await stop.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.hubsim", description=__doc__)
    add = parser.add_argument
    add("--root", type=Path, required=True)
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0)
    add("--port-file", type=Path)
    add("--cdn", action="store_true", help="answer LFS files with 302 to the CDN listener")
    add("--cdn-host", default="localhost")
    add("--cdn-port", type=int, default=0)
    add("--cdn-ttl", type=int, default=3600, help="seconds that a signed URL lives")
    add("--resolve-cache", action="store_true", help="answer git files with a relative 307")
    add("--token", help="a token that opens private and gated repos")
    add("--limited-token", help="a valid token that does not")
    add("--git", action="store_true", help="repositories can be fetched with git")
    add("--page-limit", type=int, default=1000)
    add("--faults", type=_faults, default=[], help="JSON, or @file")
    add("--seed", type=int, default=0)
    add("--stop-on-eof", action="store_true", help="stop when the parent's end of stdin closes")
    add("--log", type=Path, help="a file to append JSON lines to")
    return parser


def _faults(text: str) -> Any:
    return json.loads(Path(text[1:]).read_bytes() if text.startswith("@") else text)


main()
