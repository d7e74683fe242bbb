"""One request, and what there is to say of it once it is answered."""

from dataclasses import dataclass

from aiohttp import web

from outlast.core.descriptors import is_exhausted
from outlast.core.errors import ExhaustedError, OutlastError
from outlast.mirror.asker import Asker
from outlast.server.http.files import close_short
from outlast.server.http.log import log_bug
from outlast.server.http.replies import error_reply, failure


@dataclass(slots=True)
class Exchange:
    """A request on its way: `what` it asks for, how many bytes of files were `sent`, the response
    whose headers are out, and who asks (None: that was not looked at).
    """

    request: web.Request
    what: str = "?"
    sent: int = 0
    response: web.StreamResponse | None = None
    asker: Asker | None = None

    def begin(self, response: web.StreamResponse) -> None:
        self.response = response

    def count(self, length: int) -> None:
        self.sent += length

    def failed(self, error: Exception) -> web.StreamResponse:
        """The reply to a request that failed; or, where its headers are out already, the end of
        its connection, because nothing but the promised bytes may follow. Bugs are logged.
        """
        if is_exhausted(error):
            error = ExhaustedError(f"the server is short of files or memory: {error}")
        if not isinstance(error, OutlastError | ConnectionError | web.HTTPException):
            log_bug(self.what, error)
        if self.response is not None:
            return close_short(self.request, self.response)
        if isinstance(error, OutlastError):
            return error_reply(error)
        if isinstance(error, ConnectionError):  # the line says how far it got
            return failure(499, "", "the client closed the connection")
        if isinstance(error, web.HTTPException):  # what aiohttp refuses, as a body too large
            return failure(error.status, "", error.reason)
        return failure(500, "", "a bug in outlast: the server's log has the traceback")
