"""Sites with their data, tasks and subjects; scenarios, which make a federation of a data set."""

from .federation import (
    CONTRASTS as CONTRASTS,
    SPLITS as SPLITS,
    Columns as Columns,
    Conditions as Conditions,
    Dataset as Dataset,
    Federation as Federation,
    FederationError as FederationError,
    Site as Site,
    Subject as Subject,
    Task as Task,
)
