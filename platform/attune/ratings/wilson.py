"""The interval of a share."""

import math

Z_95 = 1.959963984540054


def wilson_interval(n_wins: int, n_decided: int) -> tuple[float, float]:
    """Wilson (1927), JASA 22: the 95% score interval of a share, (0, 1) of nothing."""
    if n_decided == 0:
        return 0.0, 1.0
    share, z2 = n_wins / n_decided, Z_95**2
    centre = (share + z2 / (2 * n_decided)) / (1 + z2 / n_decided)
    reach = Z_95 / (1 + z2 / n_decided)
    reach *= math.sqrt(share * (1 - share) / n_decided + z2 / (4 * n_decided**2))
    return max(0.0, centre - reach), min(1.0, centre + reach)
