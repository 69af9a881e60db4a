"""Sites with their data, tasks and subjects; scenarios, which make a federation of a data set."""

from .federation import Federation as Federation
from .roster import Conditions as Conditions, Roster as Roster, count_of as count_of, exact as exact
from .site import SPLITS as SPLITS, Dataset as Dataset, Site as Site, Subject as Subject
from .task import (
    CONTRASTS as CONTRASTS,
    Columns as Columns,
    FederationError as FederationError,
    Task as Task,
    contrast_order as contrast_order,
)
