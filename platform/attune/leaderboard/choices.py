"""The closed sets of a standing."""

from django.db import models


class IntervalMethod(models.TextChoices):
    """What was resampled for an interval; with few raters the wider of both is reported."""

    RATERS = "raters", "raters resampled"
    WIDER = "wider", "few raters: the wider of resampled raters and ratings"
    RATINGS = "ratings", "one rater: ratings resampled"
