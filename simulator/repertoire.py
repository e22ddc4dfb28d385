"""What may be played, and whose turn it is.

In:  how many have been played.
Out: the plot or the course that comes next: each so-many-th time the next one in turn, so that the rare ones are met,
     too; else one by how often it happens.
"""

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random
from typing import Final

from simulator.courses import COURSES, OF_GATE, Course
from simulator.plots import PLOTS, Tale
from simulator.providers import PROVIDERS

__all__ = ["DECIDING", "OF_A_GATE", "Repertoire"]

_PROVIDERS: Final = tuple(PROVIDERS)
_SHARES: Final = [provider.share for provider in PROVIDERS.values()]


class Repertoire:
    """Courses of one message, and plots of several."""

    def __init__(self, courses: Sequence[Course], plots: Sequence[Tale] = ()) -> None:
        self.courses, self.plots = courses, plots
        self._of = {name: [course for course in courses if name in course.providers] for name in PROVIDERS}
        self._weights = {name: list(accumulate(course.weight for course in some)) for name, some in self._of.items()}

    @property
    def size(self) -> int:
        """How many turns there are."""
        return len(self.courses) + len(self.plots)

    def tale_of(self, number: int, rare_every: int) -> Tale | None:
        """Return the plot whose turn it is; None where it is a course's."""
        place = self._place(number, rare_every)
        return self.plots[place] if place is not None and place < len(self.plots) else None

    def course_of(self, number: int, rare_every: int, rng: Random) -> tuple[Course, str]:
        """Return the course whose turn it is, and a provider that may play it: in each round another one."""
        place = self._place(number, rare_every)
        if place is not None and place >= len(self.plots):
            course = self.courses[place - len(self.plots)]
            cycle = number // rare_every // self.size
            return course, course.providers[(cycle + place) % len(course.providers)]
        provider = rng.choices(_PROVIDERS, _SHARES)[0]
        weights = self._weights[provider]
        return self._of[provider][bisect(weights, rng.random() * weights[-1])], provider

    def _place(self, number: int, rare_every: int) -> int | None:
        """Whose turn it is, the plots coming first; None where nobody's."""
        turn, left = divmod(number, rare_every)
        return None if left else turn % self.size


DECIDING: Final = Repertoire(COURSES)
"""For a plan that says what is decided."""
OF_A_GATE: Final = Repertoire(OF_GATE, PLOTS)
"""For a plan whose messages a gate decides."""
