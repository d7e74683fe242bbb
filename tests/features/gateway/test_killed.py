"""Upstreams that are processes, and are killed and started again at random: every stream comes
whole and once, or ends in an error event.
"""

import contextlib
import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.campaign import LONG, SEED
from tests.features.gateway.gateways import Answer, Caller, gateway
from tests.providersim import Fault, answer_text
from tests.providersim.processes import ProviderProcess

UPSTREAMS = 5
AT_ONCE = 12
TOKENS = 16
# Each token has its time, so that streams are under way when a provider is killed. The test does
# not wait for it: its pace is that of the answers.
SLOWLY = (Fault("drip", seconds=0.02),)


def _routes(upstreams: list[ProviderProcess]) -> str:
    return f"""
[endpoints.many]
url = {json.dumps([one.url for one in upstreams])}
continues = "prefill"
[routes.m]
targets = ["many:sim-model"]
first-token = 60
stall = 60
"""


class _Killer:
    """Kills one provider after some answers, and starts it again; then the next. A stream sees
    fewer of them die than there are.
    """

    def __init__(self, upstreams: list[ProviderProcess], dice: random.Random) -> None:
        self._upstreams, self._dice = upstreams, dice
        self._left = threading.Semaphore(0)
        self._over = threading.Event()
        self.kills = 0

    def answered(self) -> None:
        self._left.release()

    def run(self) -> None:
        while not self._over.is_set():
            for _ in range(self._dice.randrange(AT_ONCE // 2, AT_ONCE)):
                self._left.acquire()
            if not self._over.is_set():
                one = self._dice.choice(self._upstreams)
                one.kill()
                self.kills += 1
                one.start()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._left.release(AT_ONCE)
            thread.join()


def _stream(caller: Caller, number: int) -> Answer:
    asked = [{"role": "user", "content": f"number {number}"}]
    return caller.chat(stream=True, messages=asked)


def _all_come(tmp_path: Path, count: int) -> None:
    with contextlib.ExitStack() as stack:
        upstreams = [
            stack.enter_context(ProviderProcess(tokens=TOKENS, faults=SLOWLY))
            for _ in range(UPSTREAMS)
        ]
        caller = stack.enter_context(gateway(tmp_path, _routes(upstreams)))
        killer = _Killer(upstreams, random.Random(SEED))
        continued = 0
        with killer.at_work(), ThreadPoolExecutor(AT_ONCE) as pool:

            def ask(number: int) -> tuple[int, Answer]:
                answer = _stream(caller, number)
                killer.answered()
                return number, answer

            asked = 0
            # Where all kills came before or after a stream's tokens, there are more of them.
            while not continued and asked < 10 * count:
                for number, answer in pool.map(ask, range(asked, asked + count)):
                    whole = answer_text(f"user: number {number}\n", TOKENS)
                    assert answer.status == 200, answer.body
                    assert answer.done, answer.events[-1]
                    assert answer.text == whole
                    assert not any("error" in event for event in answer.events)
                    continued += bool(answer.note.get("continued"))
                asked += count
        print(f"{asked} streams, {killer.kills} kills, {continued} went on elsewhere")
        assert killer.kills >= count // 30
        assert continued


def test_providers_are_killed_at_random(tmp_path: Path) -> None:
    _all_come(tmp_path, 60)


@pytest.mark.torture
@pytest.mark.skipif(not LONG, reason="make torture")
@pytest.mark.timeout(900)
def test_providers_are_killed_for_long(tmp_path: Path) -> None:
    _all_come(tmp_path, 1000)
