"""Picks the next scenario.

In:  how many were picked before.
Out: a single-message or multi-message scenario: every n-th time the next one in turn, so that rare ones occur as well;
     otherwise a single-message scenario at random, by weight.
"""

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Final

from simulator.multi_message import MULTI_MESSAGE_SCENARIOS
from simulator.multi_message.timeline import MultiMessageScenario
from simulator.providers import PROVIDERS
from simulator.scenarios import GATE_SCENARIOS, SCENARIOS, Scenario

__all__ = ["WITHOUT_GATE", "WITH_GATE", "ScenarioPicker"]

_PROVIDERS: Final = tuple(PROVIDERS)
_SHARES: Final = [provider.share for provider in PROVIDERS.values()]


class ScenarioPicker:
    """Picks among single-message and multi-message scenarios."""

    def __init__(self, scenarios: Sequence[Scenario], multi_message: Sequence[MultiMessageScenario] = ()) -> None:
        self.scenarios, self.multi_message = scenarios, multi_message
        self._of = {name: [scenario for scenario in scenarios if name in scenario.providers] for name in PROVIDERS}
        self._weights = {
            name: list(accumulate(scenario.weight for scenario in some)) for name, some in self._of.items()
        }

    @property
    def turns(self) -> int:
        """The number of turns in a cycle."""
        return len(self.scenarios) + len(self.multi_message)

    def multi_message_turn(self, number: int, rare_every: int) -> MultiMessageScenario | None:
        """Return the multi-message scenario whose turn it is, or None."""
        turn = self._turn(number, rare_every)
        return self.multi_message[turn] if turn is not None and turn < len(self.multi_message) else None

    def scenario_turn(self, number: int, rare_every: int, rng: Random) -> tuple[Scenario, str]:
        """Return the scenario whose turn it is, or a random one; and a provider for it, another one in each cycle."""
        turn = self._turn(number, rare_every)
        if turn is not None and turn >= len(self.multi_message):
            scenario = self.scenarios[turn - len(self.multi_message)]
            cycle = number // rare_every // self.turns
            return scenario, scenario.providers[(cycle + turn) % len(scenario.providers)]
        provider = rng.choices(_PROVIDERS, _SHARES)[0]
        weights = self._weights[provider]
        return self._of[provider][bisect(weights, rng.random() * weights[-1])], provider

    def _turn(self, number: int, rare_every: int) -> int | None:
        """Return the index of the scenario whose turn it is, multi-message ones first; None: pick at random."""
        turn, left = divmod(number, rare_every)
        return None if left else turn % self.turns


WITHOUT_GATE: Final = ScenarioPicker(SCENARIOS)
"""For a plan that contains the decisions."""
WITH_GATE: Final = ScenarioPicker(GATE_SCENARIOS, MULTI_MESSAGE_SCENARIOS)
"""For a plan where a gate decides."""
