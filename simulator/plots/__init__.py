"""What the gate goes by, as plots: functions that write a `Plot` each.

Promise: every outcome and reason of docs/explanation/gate.md has a plot, with what takes it back where something does.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from simulator.plot import Plot
from simulator.plots import accounts, addresses, wishes

__all__ = ["PLOTS", "Tale"]


class Tale(NamedTuple):
    """A plot and its name."""

    name: str
    play: Callable[[Plot], None]


PLOTS: Final = tuple(Tale(name, play) for name, play in (*accounts.PLOTS, *addresses.PLOTS, *wishes.PLOTS))
