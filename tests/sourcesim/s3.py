"""A store of objects that speaks the reading half of S3, and checks signatures in the query."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote

from tests.sourcesim.site import Asked, Fault, Reply, Site, ranged

KEY, SECRET, SESSION = "AKIDTEST", "se/cret+KEY", "session+token="
KEYS = f"{KEY}:{SECRET}"
BUCKET = "models.test"


def refusing(status: int, code: str, **headers: str) -> Fault:
    """An error as S3 writes it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Reply(status, _xml(code), named)


def _xml(code: str) -> bytes:
    return f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Key>x</Key></Error>'.encode()


class S3Sim(Site):
    """Has the objects `files` in `BUCKET`, by key. One that is `private` answers to `KEYS` alone,
    and where `session` is set with that session token.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        *,
        private: bool = False,
        session: str = "",
        region: str = "us-east-1",
    ) -> None:
        super().__init__()
        self.files = dict(files)
        self._private = private
        self._session = session
        self._region = region

    def answer(self, asked: Asked) -> Reply:
        signed = "X-Amz-Signature" in asked.query
        refused = self._problem(asked) if signed else ("AccessDenied" if self._private else "")
        if refused:
            return Reply(403, _xml(refused))
        bucket, _, key = asked.path.removeprefix("/").partition("/")
        if bucket != BUCKET:
            return Reply(404, _xml("NoSuchBucket"))
        data = self.files.get(key)
        return Reply(404, _xml("NoSuchKey")) if data is None else ranged(data, asked)

    def _problem(self, asked: Asked) -> str:
        """Why a signed request is refused; empty if it is not."""
        query = dict(asked.query)
        given = query.pop("X-Amz-Signature")
        key, day, region, *rest = query["X-Amz-Credential"].split("/")
        scope = f"{day}/{region}/s3/aws4_request"
        if key != KEY:
            return "InvalidAccessKeyId"
        if query.get("X-Amz-Security-Token", "") != self._session:
            return "InvalidToken"
        if region != self._region:
            return "AuthorizationQueryParametersError"
        assert rest == ["s3", "aws4_request"]
        assert query["X-Amz-Date"].startswith(day)
        assert query["X-Amz-SignedHeaders"] == "host"
        assert query["X-Amz-Expires"] == "900"
        pairs = sorted((quote(name, safe=""), quote(text, safe="")) for name, text in query.items())
        request = "\n".join(
            (
                asked.method,
                quote(asked.path, safe="/"),
                "&".join(f"{name}={text}" for name, text in pairs),
                f"host:{asked.headers['Host']}\n",
                "host",
                "UNSIGNED-PAYLOAD",
            )
        )
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{digest}"
        secret = f"AWS4{SECRET}".encode()
        for part in scope.split("/"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        right = hmac.digest(secret, text.encode(), "sha256").hex()
        return "" if hmac.compare_digest(given, right) else "SignatureDoesNotMatch"
