"""How flows share links: max-min fairness, which is what TCP comes near to among equals.

Progressive filling: the link with the least for each of its flows is filled first, and its flows
are fixed at that (Bertsekas and Gallager, Data Networks, 6.5.2).
"""

import heapq
from collections.abc import Sequence

Links = tuple[int, ...]


def max_min(flows: Sequence[Links], capacity: Sequence[float]) -> tuple[list[float], list[float]]:
    """The rate of each flow, given the links that it passes, and what is left of each link."""
    rates = [0.0] * len(flows)
    left = list(capacity)
    members: dict[int, list[int]] = {}
    for number, links in enumerate(flows):
        for link in links:
            members.setdefault(link, []).append(number)
    open_flows = {link: len(numbers) for link, numbers in members.items()}
    fixed = bytearray(len(flows))
    heap = [(left[link] / count, link) for link, count in open_flows.items()]
    heapq.heapify(heap)
    while heap:
        share, link = heapq.heappop(heap)
        count = open_flows[link]
        if not count:
            continue
        now = left[link] / count
        if now > share * (1 + 1e-9):  # others were fixed below their share here: there is more
            heapq.heappush(heap, (now, link))
            continue
        now = max(now, 0.0)
        for number in members[link]:
            if fixed[number]:
                continue
            fixed[number] = 1
            rates[number] = now
            for other in flows[number]:
                left[other] -= now
                open_flows[other] -= 1
    return rates, [max(rest, 0.0) for rest in left]
