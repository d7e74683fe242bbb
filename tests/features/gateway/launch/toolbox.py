"""Small programs that play coding tools."""

import json
import sys
from pathlib import Path
from typing import Any

REPORT = """#!{python}
import json, os, sys
def say(what):
    with open({told!r}, "a") as file:
        file.write(json.dumps(what) + chr(10))
say({{"arguments": sys.argv[1:], "environment": dict(os.environ)}})
{more}
"""
CALLS = """
import urllib.request
base, key = os.environ["ANTHROPIC_BASE_URL"], os.environ["ANTHROPIC_AUTH_TOKEN"]
body = {"model": os.environ["ANTHROPIC_MODEL"], "max_tokens": 2,
        "messages": [{"role": "user", "content": "Hi"}]}
request = urllib.request.Request(base + "/v1/messages", json.dumps(body).encode())
request.add_header("Authorization", "Bearer " + key)
with urllib.request.urlopen(request, timeout=120) as answer:
    say(json.load(answer))
"""
WAITS = """
import signal
def end(number, frame):
    os.write(1, b"got %d" % number)  # the handler may come in the middle of print()
    os._exit(40 + number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, end)
print("waits", flush=True)
while True:
    signal.pause()
"""


def tool(folder: Path, name: str, more: str = "") -> str:
    """Puts a program into `folder`; returns a PATH with it."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    told = str(folder / "told")
    path.write_text(REPORT.format(python=sys.executable, more=more, told=told))
    path.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def told(folder: Path) -> list[Any]:
    """What the tools in `folder` said."""
    return [json.loads(line) for line in (folder / "told").read_text().splitlines()]
