"""The closed sets of a standing."""

from django.db import models


class IntervalMethod(models.TextChoices):
    """What was resampled for an interval; the wider of both with few raters or none who differ."""

    RATERS = "raters", "raters resampled"
    WIDER = "wider", "few raters, or all agree: the wider of resampled raters and ratings"
    RATINGS = "ratings", "one rater: ratings resampled"
