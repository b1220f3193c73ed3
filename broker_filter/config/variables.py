"""The names of variables of the environment: a mistyped one would be passed over in silence otherwise."""

import difflib
import re
from collections.abc import Iterable, Mapping

from broker_filter.errors import ConfigurationError

PREFIX = "ICTC_"
DELIMITER = "__"
NO_SETTINGS = re.compile(
    r"ICTC_(BROKERS|CONFIG|SHARED_DATA|KAFKA_HOME|TAG|QUIET|WEIGHTS|TEST_\w+)"  # of tests, deployments and commands
)
# What Kubernetes sets for each Service whose name begins with ictc; NAME_PORT is one only with such a value.
SERVICE = re.compile(r"ICTC(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)")
SERVICE_PORT = re.compile(r"ICTC(_[A-Z0-9_]+)?_PORT")
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")


def refuse_unknown_variables(environment: Mapping[str, str], sections: Mapping[str, Iterable[str]]) -> None:
    """See that every variable of ours names a setting.

    Parameters
    ----------
    sections
        Names of settings by section.

    Raises
    ------
    ConfigurationError
        Naming the variable, without its value, and the nearest setting; or one that is given twice.
    """
    known = {f"{PREFIX}{section}".upper() for section in sections}
    names = {f"{PREFIX}{section}{DELIMITER}{name}".upper() for section, own in sections.items() for name in own}
    seen: set[str] = set()
    for given, value in environment.items():
        name = given.upper()
        if name in known | names:
            if name in seen:  # of which one would be lost
                raise ConfigurationError(
                    f"the variable {given} is given twice, in small and in capital letters: keep one"
                )
            seen.add(name)
            continue
        if not name.startswith(PREFIX) or _is_foreign(name, value):
            continue
        if any(name.startswith(f"{setting}{DELIMITER}") for setting in names):  # one key of a mapping
            continue
        nearest = difflib.get_close_matches(name, [*names, *known], 1, 0.6)
        hint = f"did you mean {nearest[0]}?" if nearest else "see --help for the settings"
        raise ConfigurationError(
            f"the variable {given} is no setting: {hint} (a section and its setting are joined by two underscores)"
        )


def _is_foreign(name: str, value: str) -> bool:
    if NO_SETTINGS.fullmatch(name) or SERVICE.fullmatch(name):
        return True
    return SERVICE_PORT.fullmatch(name) is not None and SERVICE_ADDRESS.fullmatch(value) is not None
