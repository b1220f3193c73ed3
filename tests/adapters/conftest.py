"""Adapters are tested where their library is: ``make test-adapters`` makes an environment for each.

Here, outside these environments, only those whose library this environment happens to hold are collected.
"""

from importlib.util import find_spec

LIBRARIES = {"lasair": "lasair", "hop": "hop", "fink": "pyspark", "ampel": "ampel.abstract", "boom": "onnxruntime"}


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


collect_ignore = [f"test_{name}.py" for name, module in LIBRARIES.items() if not _is_there(module)]
