"""A timestamp authority on the loopback, made with `openssl ts`."""

import http.server
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CONFIG = """\
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
"""


@dataclass
class Authority:
    """`url` is where it listens, `roots` its root certificate; `asked` counts the questions."""

    folder: Path
    url: str = ""
    asked: int = 0
    status: int = 200

    @property
    def roots(self) -> Path:
        return self.folder / "root.pem"

    def reply(self, query: bytes) -> bytes:
        (self.folder / "query.tsq").write_bytes(query)
        self.asked += 1
        _openssl(
            *("ts", "-reply", "-config", self.folder / "tsa.cnf", "-section", "one"),
            *("-queryfile", self.folder / "query.tsq", "-out", self.folder / "reply.tsr"),
            *("-signer", self.folder / "tsa.pem", "-inkey", self.folder / "tsa.key"),
        )
        return (self.folder / "reply.tsr").read_bytes()


def make_authority(folder: Path) -> Authority:
    """Its root, its certificate and its files."""
    folder.mkdir()
    config = folder / "tsa.cnf"
    config.write_text(_CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    root = ("-keyout", folder / "root.key", "-out", folder / "root.pem", "-days", "30")
    _openssl("req", "-x509", *curve, *root, "-subj", "/CN=Root")
    own = ("-keyout", folder / "tsa.key", "-out", folder / "tsa.csr")
    _openssl("req", "-new", *curve, *own, "-subj", "/CN=Authority")
    ca = ("-CA", folder / "root.pem", "-CAkey", folder / "root.key", "-CAcreateserial")
    extensions = ("-extfile", config, "-extensions", "extensions", "-days", "30")
    files = ("-in", folder / "tsa.csr", "-out", folder / "tsa.pem")
    _openssl("x509", "-req", *files, *ca, *extensions)
    return Authority(folder)


@contextmanager
def listening(authority: Authority) -> Iterator[Authority]:
    """The authority behind HTTP."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            body = authority.reply(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(authority.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        authority.url = f"http://127.0.0.1:{server.server_port}/tsr"
        try:
            yield authority
        finally:
            server.shutdown()
            thread.join()


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], capture_output=True, check=True)
