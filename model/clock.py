"""Clocks and calendars of people and machines, from MJD (TAI), the clock of every series here."""

import numpy as np

SECONDS_PER_DAY = 86_400.0
TAI_MINUS_UTC_S = 37.0  # since 2017-01-01, before ZTF's first alert; IERS Bulletin C announces any change
MJD_OF_UNIX_EPOCH = 40_587


def unix_ms(time_mjd: float) -> int:
    """MJD (TAI) as Unix milliseconds (UTC); before 2017 off by at most five seconds."""
    return round(1000 * ((time_mjd - MJD_OF_UNIX_EPOCH) * SECONDS_PER_DAY - TAI_MINUS_UTC_S))


def calendar_date(mjd: float) -> str:
    """Date of a modified Julian date, of whatever clock, as YYYYMMDD."""
    return str(np.datetime64("1858-11-17") + np.timedelta64(int(mjd), "D")).replace("-", "")
