"""Adapters to other brokers and services, one file each; each needs the extra of its name (``ictc[lasair]``, ...).

They know the public interface of ``ictc`` and the library that they adapt to, and nothing else of this program.
"""

import importlib
from types import ModuleType

from ictc import ConfigurationError


def required(module: str, extra: str) -> ModuleType:
    """A library that an adapter stands on.

    Raises
    ------
    ConfigurationError
        When it is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.partition(".")[0] != error.name.partition(".")[0]:
            raise  # it is there, and something that it needs is not
        raise ConfigurationError(
            f"ictc.adapters.{extra} needs {module.partition('.')[0]}: pip install '.[{extra}]'"
        ) from error
