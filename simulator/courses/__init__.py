"""All that can become of a message, as courses: functions that write a script each.

Promise: every event type, status, sub-status and anomaly of CONTRACT sections 3 and 4 has a course.
"""

from typing import Final

from simulator.courses import failures, matching, records, usual, wishes
from simulator.courses.course import Course

__all__ = ["COURSES", "Course", "in_turn"]

COURSES: Final[tuple[Course, ...]] = (
    *usual.COURSES,
    *failures.COURSES,
    *wishes.COURSES,
    *records.COURSES,
    *matching.COURSES,
)


def in_turn(number: int) -> tuple[int, str]:
    """Return the course whose turn it is, by its place, and a provider for it: another one in each round."""
    cycle, place = divmod(number, len(COURSES))
    providers = COURSES[place].providers
    return place, providers[(cycle + place) % len(providers)]
