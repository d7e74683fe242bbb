"""Test C: a mixture likelihood ratio over sampled text, valid at any time.

E = (mean over alternatives a of ∏ q_a) / (max over honest numerics h of ∏ p_h). Whichever of the
honest distributions the text comes from, E is at most a non-negative martingale that starts at 1;
by Ville's inequality it reaches 1/alpha with a probability of at most alpha, at any time. Source:
Ramdas et al., Game-theoretic statistics and safe anytime-valid inference (2023); the maximum below
is universal inference (Wasserman, Ramdas and Balakrishnan, 2020).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np


class MixtureEProcess:
    """The evidence against all honest distributions, as it grows with each token."""

    def __init__(self, alternatives: Sequence[str], honest: Sequence[str]) -> None:
        if not alternatives or not honest:
            raise ValueError("a process needs an alternative and an honest distribution")
        self._alternatives = dict.fromkeys(alternatives, 0.0)
        self._honest = dict.fromkeys(honest, 0.0)
        self.highest = 0.0
        """The highest log E so far."""

    @property
    def log_e(self) -> float:
        """The natural logarithm of the evidence; 0 before the first token."""
        ratios = np.array(list(self._alternatives.values())) - max(self._honest.values())
        top = float(ratios.max())
        if top == -math.inf:
            return -math.inf
        return top + math.log(float(np.exp(ratios - top).mean()))

    def add(self, alternatives: Mapping[str, float], honest: Mapping[str, float]) -> float:
        """Counts one token; the values are its log probabilities in nats. Returns log E. An
        impossible token of all honest distributions at once is evidence without end.
        """
        for name in self._alternatives:
            self._alternatives[name] += alternatives[name]
        for name in self._honest:
            # A floor keeps a difference of infinities out: e**-1e6 is 0 to any alternative.
            self._honest[name] += max(honest[name], -1e6)
        found = self.log_e
        self.highest = max(self.highest, found)
        return found

    def alarm(self, alpha: float) -> bool:
        """Whether the evidence has ever reached 1/`alpha`."""
        return self.highest >= -math.log(alpha)

    def weights(self) -> Mapping[str, float]:
        """How the evidence is shared among the alternatives: they sum to 1."""
        logs = np.array(list(self._alternatives.values()))
        top = float(logs.max())
        if top == -math.inf:
            return dict.fromkeys(self._alternatives, 1 / len(self._alternatives))
        shares = np.exp(logs - top)
        return dict(zip(self._alternatives, (shares / shares.sum()).tolist(), strict=True))
