"""The commit of the sources that train and evaluate, for the provenance of what they write."""

import subprocess
from pathlib import Path


def commit() -> str | None:
    """The commit of the source tree that this file lies in; None outside a checkout."""
    here = Path(__file__).parent
    try:
        answer = subprocess.run(  # noqa: S603
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
