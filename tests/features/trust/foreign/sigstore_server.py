"""The private sigstore on the loopback, as its clients want it: an OpenID issuer, an authority and
a log. `python -m tests.features.trust.foreign.sigstore_server VECTORS MODEL MODEL_SIGNING` writes
the vectors anew.
"""

import base64
import datetime as dt
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.features.trust.foreign.private_sigstore import (
    DAY,
    ISSUER,
    SIGNER,
    PrivateSigstore,
    dsse_body,
)


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        """What says where the OpenID issuer is; a token that is given needs none of it."""
        url = self.server.url
        self._answer({"authorization_endpoint": f"{url}/auth", "token_endpoint": f"{url}/token"})

    def do_POST(self) -> None:
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/v2/signingCert":
            self._answer(self._certified(said))
        elif self.path == "/api/v1/log/entries":
            self._answer(self._logged(said))
        else:
            self.send_error(404)

    def _certified(self, said: dict[str, Any]) -> dict[str, Any]:
        sigstore = self.server.sigstore
        request = x509.load_pem_x509_csr(base64.b64decode(said["certificateSigningRequest"]))
        public = request.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert request.is_signature_valid
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        # A clock that is a little behind: else a quick client signs before the certificate begins.
        leaf = sigstore.certify(public, old_issuer=ISSUER, at=now - dt.timedelta(seconds=30))
        chain = [one.public_bytes(Encoding.PEM).decode() for one in (leaf, sigstore.authority)]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}

    def _logged(self, said: dict[str, Any]) -> dict[str, Any]:
        content = said["spec"]["proposedContent"]
        envelope = json.loads(content["envelope"])
        certificate = x509.load_pem_x509_certificate(base64.b64decode(content["verifiers"][0]))
        signature = base64.b64decode(envelope["signatures"][0]["sig"])
        payload = base64.b64decode(envelope["payload"])
        body = dsse_body(payload, signature, certificate)
        entry = self.server.sigstore.log.add(body, dt.datetime.now(dt.UTC))
        proof = entry["inclusionProof"]
        hexed = {
            "logIndex": int(proof["logIndex"]),
            "rootHash": base64.b64decode(proof["rootHash"]).hex(),
            "treeSize": int(proof["treeSize"]),
            "hashes": [base64.b64decode(one).hex() for one in proof["hashes"]],
            "checkpoint": proof["checkpoint"]["envelope"],
        }
        promise = entry["inclusionPromise"]["signedEntryTimestamp"]
        return {
            "0" * 80: {
                "body": entry["canonicalizedBody"],
                "integratedTime": int(entry["integratedTime"]),
                "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
                "logIndex": int(entry["logIndex"]),
                "verification": {"signedEntryTimestamp": promise, "inclusionProof": hexed},
            }
        }

    def _answer(self, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    def __init__(self, sigstore: PrivateSigstore) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sigstore = sigstore

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(sigstore: PrivateSigstore, folder: Path) -> Iterator[tuple[Path, str]]:
    """Serves it. Gives the file of its trust configuration, and a token of its signer."""
    with _Server(sigstore) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            config = folder / "trust_config.json"
            config.write_text(json.dumps(trust_config(sigstore, server.url)))
            yield config, token()
        finally:
            server.shutdown()


def trust_config(sigstore: PrivateSigstore, url: str) -> dict[str, Any]:
    span = {"start": "2026-01-01T00:00:00Z"}
    service = {"url": url, "majorApiVersion": 1, "validFor": span, "operator": "example"}
    return {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": sigstore.trusted_root(),
        "signingConfig": {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service],
            "oidcUrls": [service],
            "rekorTlogUrls": [service],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": [],
            "tsaConfig": {"selector": "ANY"},
        },
    }


def token() -> str:
    """An OpenID token, as the client reads it: it leaves its signature to the authority."""
    now = dt.datetime.now(dt.UTC)
    said = {
        "iss": ISSUER,
        "aud": "sigstore",
        "sub": SIGNER,
        "email": SIGNER,
        "iat": int(now.timestamp()) - 60,
        "nbf": int(now.timestamp()) - 60,
        "exp": int((now + DAY).timestamp()),
    }
    parts = (json.dumps({"alg": "none", "typ": "JWT"}).encode(), json.dumps(said).encode(), b"x")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def current_sigstore() -> PrivateSigstore:
    """One that counts today."""
    return PrivateSigstore(began=dt.datetime.now(dt.UTC).replace(microsecond=0) - DAY)


def _write_vectors(vectors: Path, model: Path, program: Path) -> None:
    sigstore = current_sigstore()
    with serving(sigstore, vectors) as (config, given):
        words = ("sign", "sigstore", "--trust_config", config, "--identity_token", given)
        out = ("--signature", vectors / "sigstore.sig", model)
        subprocess.run([program, *words, *out], check=True)
        config.unlink()
    root = json.dumps(sigstore.trusted_root(), indent=1)
    (vectors / "sigstore-root.json").write_text(f"{root}\n")


if __name__ == "__main__":
    _write_vectors(*map(Path, sys.argv[1:]))
