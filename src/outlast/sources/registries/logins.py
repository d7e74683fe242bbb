"""Tokens of registries: what a 401 asks for is got from where it says, and kept for the next time.

Source: the token protocol of Docker's registry (distribution, "Token Authentication Specification")
and RFC 9110, 11.6.1 (challenges).
"""

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from outlast.core.errors import MalformedError
from outlast.core.manifest import load_json
from outlast.sources.http import HttpClient, Response
from outlast.sources.registries.errors import RegistryQuestion, read_document
from outlast.sources.settings import origin
from outlast.sources.tuning import Tuning

_log = logging.getLogger(__name__)

_BEARER: Final = re.compile(r"(?:^|,)\s*bearer\s+(.*)", re.IGNORECASE | re.DOTALL)
_PARAMETER: Final = re.compile(r'([a-z_]{1,20})\s*=\s*"([^"]{1,2000})"', re.IGNORECASE)
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,32768}\Z")
"""A bearer token (RFC 6750, 2.1)."""


class Logins:
    """The tokens with which one registry is asked, by what is asked for. Thread-safe.

    The operator's `token` goes to the registry and to a token service of the same origin. A service
    elsewhere is asked as everybody may ask.
    """

    def __init__(self, http: HttpClient, url: str, token: str | None, tuning: Tuning) -> None:
        self._http = http
        self._url = url
        self._token = token
        self._tuning = tuning
        self._lock = threading.Lock()
        self._got: OrderedDict[str, str] = OrderedDict()

    def get(
        self,
        question: RegistryQuestion,
        ask: Callable[[str | None], Response],
    ) -> Response:
        """The answer of `ask`, which is called with the token for the repository; again with
        another one where it is a 401 of the registry itself: it wants one, or the last has expired.
        """
        used = self._kept(question.at)
        response = ask(used)
        for token in self._others(response, question, used):
            response.close()
            response = ask(token)
            if not self._is_challenge(response):
                self._keep(question.at, token)
                break
        return response

    def _is_challenge(self, response: Response) -> bool:
        return response.status == 401 and origin(response.url) == origin(self._url)

    def _others(
        self, response: Response, question: RegistryQuestion, used: str | None
    ) -> Iterator[str]:
        """The tokens to try after `response`, of which the next is got when it is asked for."""
        if not self._is_challenge(response):
            return
        challenge = response.headers.get("WWW-Authenticate", "")
        newer = self._kept(question.at)
        if newer not in {None, used}:  # another thread has got one
            yield newer
        service = self._service(response.url, challenge, question.at)
        is_own = service is not None and origin(service) == origin(self._url)
        if self._token is not None and not is_own and self._token not in {used, newer}:
            yield self._token
        if service is not None:
            yield self._ask_service(service, question, with_token=is_own)

    def _service(self, url: str, challenge: str, at: str) -> str | None:
        """Where a challenge says that tokens are, with the question for one; None if nowhere."""
        bearer = _BEARER.search(challenge[:8192])
        told = dict(_PARAMETER.findall(bearer[1])) if bearer else {}
        if "realm" not in told:
            return None
        query = [("service", told["service"])] if "service" in told else []
        query.append(("scope", told.get("scope", f"repository:{at}:pull")))
        realm = self._http.led_to(url, told["realm"])
        return f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"

    def _ask_service(self, url: str, question: RegistryQuestion, *, with_token: bool) -> str:
        _log.debug("%s wants a token: asked of %s", question.source, origin(url)[1])
        token = self._token if with_token else None
        limit, question = self._tuning.node_description, replace(question, path="")
        with self._http.get(url, token=token, timeout=question.timeout) as response:
            answer = load_json(read_document(response, question, limit, self._tuning), limit)
        found = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else 0
        if not isinstance(found, str) or not _TOKEN.match(found):
            raise MalformedError(f"{origin(url)[1]} gave no token for {question.repo}")
        return found

    def _kept(self, at: str) -> str | None:
        with self._lock:
            return self._got.get(at)

    def _keep(self, at: str, token: str) -> None:
        with self._lock:
            self._got[at] = token
            self._got.move_to_end(at)
            while len(self._got) > self._tuning.registry_logins:
                self._got.popitem(last=False)
