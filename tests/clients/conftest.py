"""Which clients ask an endpoint."""

import pytest

from tests.campaign import LONG
from tests.clients.envs import HUB_CLIENTS


@pytest.fixture(scope="class", params=HUB_CLIENTS if LONG else HUB_CLIENTS[-1:])
def newest_client(request: pytest.FixtureRequest) -> str:
    """Of the three majors; each of them in `make torture`."""
    return str(request.param)
