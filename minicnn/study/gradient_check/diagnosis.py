"""Of the causes that are known, the one for which the evidence speaks."""

from __future__ import annotations

from collections.abc import Callable

from . import causes_of_places, causes_of_the_check, causes_of_values
from .case import Case, Finding

# In this order: what leaves the sharpest traces first. One that only says where the error lies comes after all that
# say how the numbers came about.
CAUSES: tuple[Callable[[Case], Finding | None], ...] = (
    causes_of_the_check.within_rounding,
    causes_of_the_check.not_a_number,
    causes_of_the_check.rounding,
    causes_of_the_check.kink,
    causes_of_values.nothing_arrived,
    causes_of_values.constant_factor,
    causes_of_places.only_a_part_arrived,
    causes_of_places.windows_overlap,
    causes_of_places.moved,
    causes_of_values.masked_by_the_gradient,
    causes_of_values.proportional_error,
    causes_of_values.missing_term,
    causes_of_values.forgotten_factor,
    causes_of_values.factor_by_index,
    causes_of_values.single_precision,
    causes_of_places.at_the_edge,
    causes_of_places.at_some_indices,
    causes_of_places.kernel_turned,
)


def diagnose(case: Case) -> Finding | None:
    """The first cause whose traces are there; None if none of them fits."""
    for cause in CAUSES:
        if finding := cause(case):
            return finding
    return None
