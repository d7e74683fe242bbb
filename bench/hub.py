"""A hub out of nginx and nothing else: static JSON for the API, files with the hub's headers.

So what is measured against it is nginx, and not some Python behind it.
"""

import hashlib
import json
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.process import BenchError, Command, Server, clean_environment

HOW_TO_GET_NGINX = "nginx is not installed (Debian, Ubuntu: apt-get install nginx-light)"
COMMIT = hashlib.sha1(b"outlast bench", usedforsecurity=False).hexdigest()
_BLOCK = 16 * 1024 * 1024
_START = 60.0

_MAIN = """\
{user}worker_processes auto;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
    log_format line '$request_method $request_uri $status $body_bytes_sent';
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 120;
    keepalive_requests 100000;
    etag off;
    root {root}/hub;
    map_hash_bucket_size 512;
    map $uri $content_name {{
{names}    }}
{servers}}}
"""
_SERVER = """\
    server {{
        listen {address}:{port} backlog=1024;
        access_log {log} line;
        location /api/ {{
            default_type application/json;
            rewrite ^(.*)/$ $1;
            try_files $uri.json $uri =404;
            error_page 405 =200 $uri;
        }}
        location / {{
            default_type application/octet-stream;
            add_header ETag '"$content_name"';
            add_header X-Repo-Commit {commit};
        }}
    }}
"""


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model, as a hub declares it."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the hub has."""

    name: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def free_port() -> int:
    """A port of the loopback interface on which no process listens now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for(server: Server, url: str) -> None:
    """Waits until `url` is answered, by whatever status."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + _START
    while time.monotonic() < end:
        server.check()
        try:
            opener.open(url, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchError(f"{url} did not answer within {_START:.0f} s: see {server.log}")


def write_random(path: Path, size: int) -> str:
    """Writes `size` bytes that no compression can shrink; returns their sha256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for at in range(0, size, _BLOCK):
            block = os.urandom(min(_BLOCK, size - at))
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def nginx_program() -> str | None:
    """Where nginx is, if it is installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class NginxHub:
    """One nginx with two doors to the same models: `url` for clients that are measured, and
    `upstream` for mirrors, whose requests are counted. It listens on an address of the machine.
    """

    def __init__(self, program: str, root: Path, address: str = "127.0.0.1") -> None:
        self._program = program
        self._root = root
        self._address = address
        self._models: dict[str, Model] = {}
        self._ports = (free_port(), free_port())
        self.url, self.upstream = (f"http://{address}:{port}" for port in self._ports)
        self._server: Server | None = None
        (root / "hub").mkdir(parents=True)

    def make(self, name: str, count: int, size: int) -> Model:
        """Makes the model `name` of `count` files of `size` random bytes each."""
        folder = self._folder(name)
        names = [f"model-{i:05}.safetensors" for i in range(1, count + 1)]
        files = [HubFile(path, size, write_random(folder / path, size)) for path in names]
        return self._keep(Model(name, tuple(files)))

    def put(self, name: str, path: Path, sha256: str) -> Model:
        """Has the model `name` consist of a file, which is linked."""
        (self._folder(name) / path.name).hardlink_to(path)
        return self._keep(Model(name, (HubFile(path.name, path.stat().st_size, sha256),)))

    def _folder(self, name: str) -> Path:
        folder = self._root / "hub" / name / "resolve" / COMMIT
        folder.mkdir(parents=True)
        (folder.parent / "main").symlink_to(COMMIT)
        return folder

    def _keep(self, model: Model) -> Model:
        self._models[model.name] = model
        self._describe(model)
        return model

    def file(self, model: Model, file: HubFile) -> Path:
        """Where the bytes of a file lie."""
        return self._root / "hub" / model.name / "resolve" / COMMIT / file.path

    def drop(self, model: Model) -> None:
        """Deletes a model's bytes."""
        del self._models[model.name]
        shutil.rmtree(self._root / "hub" / model.name)

    def _describe(self, model: Model) -> None:
        api = self._root / "hub" / "api" / "models"
        info = json.dumps(_info(model))
        tree = json.dumps([_tree_entry(file) for file in model.files])
        base = api / model.name
        for path, text in (
            (api / f"{model.name}.json", info),
            (base / "revision" / "main.json", info),
            (base / "revision" / f"{COMMIT}.json", info),
            (base / "tree" / f"{COMMIT}.json", tree),
            (base / "paths-info" / f"{COMMIT}.json", tree),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    @property
    def server(self) -> Server:
        if self._server is None:
            raise BenchError("the nginx hub is not running")
        return self._server

    def start(self) -> None:
        """Starts nginx, or starts it anew with the models that it has now."""
        self.stop()
        config = self._root / "nginx.conf"
        config.write_text(self._config())
        command: Command = [self._program, "-c", config, "-p", self._root, "-g", "daemon off;"]
        environment = clean_environment(self._root)
        self._server = Server(command, environment, self._root / "nginx.out")
        for door in (self.url, self.upstream):
            wait_for(self._server, door)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _config(self) -> str:
        names = "".join(
            f"        /{model.name}/resolve/{ref}/{file.path} {file.sha256};\n"
            for model in self._models.values()
            for file in model.files
            for ref in (COMMIT, "main")
        )
        servers = "".join(
            _SERVER.format(
                address=self._address,
                port=port,
                log=self._root / f"access-{port}.log",
                commit=COMMIT,
            )
            for port in self._ports
        )
        user = "user root;\n" if os.geteuid() == 0 else ""
        return _MAIN.format(user=user, root=self._root, names=names, servers=servers)

    def sent(self) -> int:
        """Bytes of bodies that it has sent so far, by either door."""
        logs = (self._root / f"access-{port}.log" for port in self._ports)
        lines = [line for log in logs if log.exists() for line in log.read_text().splitlines()]
        return sum(int(line.rsplit(" ", 1)[1]) for line in lines)

    def upstream_requests(self) -> int:
        """How many requests have come through the `upstream` door so far."""
        log = self._root / f"access-{self._ports[1]}.log"
        return len(log.read_bytes().splitlines())


def _info(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "modelId": model.name,
        "author": model.name.partition("/")[0],
        "sha": COMMIT,
        "private": False,
        "gated": False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "lastModified": "2026-01-01T00:00:00.000Z",
        "siblings": [_sibling(file) for file in model.files],
    }


def _sibling(file: HubFile) -> dict[str, Any]:
    lfs = {"sha256": file.sha256, "size": file.size, "pointerSize": 134}
    return {"rfilename": file.path, "size": file.size, "blobId": _oid(file), "lfs": lfs}


def _tree_entry(file: HubFile) -> dict[str, Any]:
    lfs = {"oid": file.sha256, "size": file.size, "pointerSize": 134}
    return {"type": "file", "oid": _oid(file), "size": file.size, "path": file.path, "lfs": lfs}


def _oid(file: HubFile) -> str:
    """Stands in for the git id of the LFS pointer, which no client checks."""
    return hashlib.sha1(file.sha256.encode(), usedforsecurity=False).hexdigest()
