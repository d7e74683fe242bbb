"""Buckets of S3-compatible stores: folders whose requests are signed, where there are keys.

`obstore` makes the signed URLs (AWS Signature Version 4 in the query), and nothing else of it is
used: requests go through `HttpClient`, with its deadlines, bounds, proxies and certificates. A
bucket is never listed: what a model has, the list beside its files says. Without keys the same URLs
are asked for unsigned, and obstore is not needed.

Sources: "Authenticating Requests: Using Query Parameters" and "Error Responses" of the API
reference of Amazon S3.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, unquote

from outlast.core.addresses import host_of, is_local
from outlast.core.errors import (
    AccessDeniedError,
    BadConfigError,
    MalformedError,
    OutlastError,
    PolicyError,
    RepoNotFoundError,
    UnreachableError,
)
from outlast.sources.folder import FolderSource
from outlast.sources.http import HttpClient, Response
from outlast.sources.kinds import SourceAddress
from outlast.sources.settings import S3Place, origin
from outlast.sources.tuning import TUNING, Tuning

if TYPE_CHECKING:
    from obstore.store import S3Credential, S3Store

_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9]{1,60})</Code>")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}\Z")
_FAILED: Final = frozenset({301, 400, 401, 403, 404})
"""Statuses with which a store says in XML what it finds wrong with a request."""
_SECRETS: Final = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or [s3] of the configuration"
_PLACE: Final = "set AWS_REGION, or region in [s3] of the configuration"
_SESSION: Final = "get new temporary keys: AWS_SESSION_TOKEN goes with them"


@dataclass(frozen=True, slots=True)
class _StoreSays:
    """What a code of a store means."""

    text: str
    hint: str
    error: type[OutlastError] = AccessDeniedError


_SAYS: Final[Mapping[str, _StoreSays]] = {
    "InvalidAccessKeyId": _StoreSays("does not know the access key", _SECRETS),
    "SignatureDoesNotMatch": _StoreSays(
        "finds that the secret key is not that of the access key", _SECRETS
    ),
    "ExpiredToken": _StoreSays("finds the session token expired", _SESSION),
    "InvalidToken": _StoreSays("finds the session token invalid", _SESSION),
    "RequestTimeTooSkewed": _StoreSays("has another time than this machine", "set the clock"),
    "AuthorizationHeaderMalformed": _StoreSays(
        "finds the signature to be of another region", _PLACE
    ),
    "AuthorizationQueryParametersError": _StoreSays(
        "finds the signature to be of another region", _PLACE
    ),
    "PermanentRedirect": _StoreSays("has the bucket in another region", _PLACE),
    "NoSuchBucket": _StoreSays(
        "has no such bucket", "check the name, and the endpoint", RepoNotFoundError
    ),
}
"""Other codes mean what the status does: ``AccessDenied`` is also the answer to a key that is not
there, where one may not list the bucket.
"""


def s3_source(
    http: HttpClient, at: SourceAddress, keys: str | None, tuning: Tuning = TUNING
) -> FolderSource:
    """Models below ``s3://BUCKET/PREFIX``, as `FolderSource` has them. `keys` is ``ID:SECRET`` or
    ``ID:SECRET:SESSION``. Raises :class:`BadConfigError` where obstore is missing and there are
    keys, and :class:`PolicyError` where signed URLs would go unencrypted beyond the LAN.
    """
    bucket, _, prefix = at.url.removeprefix("s3://").partition("/")
    signing = _SignedHttp(http, bucket, http.settings.s3, tuning)
    if keys is not None:
        signing.store_for(keys)  # raises before anything is asked
    url = f"{signing.bucket_url}/{quote(prefix)}"
    return FolderSource(signing, url, keys, at.other_name, tuning, called=at.url)


class _SignedHttp:
    """A client that signs the URLs of one bucket with the keys that it is given as a token, and
    says what the store's own codes mean. Thread-safe.
    """

    def __init__(self, http: HttpClient, bucket: str, place: S3Place, tuning: Tuning) -> None:
        self._http = http
        self._bucket = bucket
        self._region = place.region
        self._endpoint = place.url
        self._tuning = tuning
        self._store: tuple[str, S3Store] | None = None
        """With the keys that it is for."""
        self.bucket_url = f"{place.url}/{bucket}"

    def get(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        timeout: float | None = None,
    ) -> Response:
        """As `HttpClient.get`; where a redirect led, nothing is signed. Answers to HEAD have no
        text: where one is refused, the first byte is asked for, to learn why.
        """
        asked = self._signed(url, method, token) if token else url
        response = self._http.get(asked, method=method, headers=headers, timeout=timeout)
        if response.status in _FAILED and origin(response.url) == origin(self._endpoint):
            try:
                self._tell(response, method)
                if method == "HEAD" and response.status == 403 and token:
                    first = {"Range": "bytes=0-0"}
                    self.get(url, headers=first, token=token, timeout=timeout).close()
            except BaseException:
                response.close()
                raise
        return response

    def _signed(self, url: str, method: str, keys: str) -> str:
        path = url.removeprefix(f"{self.bucket_url}/")
        assert path != url, "only files of the bucket are asked for with keys"
        import obstore  # noqa: PLC0415 - of the extra [s3]

        verb: Literal["HEAD", "GET"] = "HEAD" if method == "HEAD" else "GET"
        seconds = timedelta(seconds=self._tuning.signed_s)
        return obstore.sign(self.store_for(keys), verb, unquote(path), seconds)

    def store_for(self, keys: str) -> "S3Store":
        """What signs with `keys`. Raises what `s3_source` does."""
        held = self._store
        if held is not None and held[0] == keys:
            return held[1]
        scheme, host, _ = origin(self._endpoint)
        if scheme == "http" and host != "localhost" and not is_local(host):
            raise PolicyError(
                f"signed requests would go to {host} unencrypted",
                hint="use https://; http:// is for addresses of this machine and the LAN",
            )
        store = _store(keys, self._bucket, self._endpoint, self._region)
        self._store = keys, store
        return store

    def _tell(self, response: Response, method: str) -> None:
        """Raises what a store says of a request, if that is more than its status."""
        host = host_of(response.url)
        region = response.headers.get("x-amz-bucket-region", "")
        if response.status in {301, 400} and region != self._region and _REGION.match(region):
            raise UnreachableError(
                f"{host} has the bucket {self._bucket} in the region {region}",
                hint=_PLACE,
                again=False,
            )
        if method == "HEAD":
            return
        body = b""
        with contextlib.suppress(MalformedError):  # no store says so much
            body = response.read_all(self._tuning.s3_error)
        match = _CODE.search(body)
        said = _SAYS.get(match[1].decode()) if match else None
        if said is not None:
            raise said.error(f"{host} {said.text}", hint=said.hint)


def _store(keys: str, bucket: str, endpoint: str, region: str) -> "S3Store":
    """What signs with `keys`. They come from a function because obstore else adds the session token
    that a variable of the environment says, also to keys that it does not belong to.
    """
    try:
        from obstore.store import S3Store  # noqa: PLC0415 - of the extra [s3]
    except ImportError:
        raise BadConfigError(
            "a bucket with keys needs the library obstore, which is not installed",
            hint="pip install '.[s3]' in a checkout of outlast; a public bucket needs no keys",
        ) from None
    name, _, rest = keys.partition(":")
    secret, _, session = rest.partition(":")

    def credentials() -> "S3Credential":
        return {
            "access_key_id": name,
            "secret_access_key": secret,
            "token": session or None,
            "expires_at": None,
        }

    return S3Store(
        bucket,
        endpoint=endpoint,
        region=region,
        virtual_hosted_style_request=False,
        credential_provider=credentials,
        client_options={"allow_http": True},  # of which only signed URLs are asked of it
    )
