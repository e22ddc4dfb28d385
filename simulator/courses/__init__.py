"""All that can become of a message, as courses: functions that write a script each.

Promise: every event type, status, sub-status and anomaly of docs/reference/providers and docs/explanation/status.md
has a course.
"""

from typing import Final

from simulator.courses import failures, matching, records, usual, wishes
from simulator.courses.course import Course

__all__ = ["COURSES", "OF_GATE", "Course"]

COURSES: Final[tuple[Course, ...]] = (
    *usual.COURSES,
    *failures.COURSES,
    *wishes.COURSES,
    *records.COURSES,
    *matching.COURSES,
)

OF_GATE: Final = tuple(course for course in COURSES if not course.decides)
"""Those that a gate decides."""
