"""Known vulnerabilities of the versions that we pin: one line, and one for each finding.

    python deploy/audit.py [--strict]

pip-audit does the work; what it writes of packages that its index knows no advisories for fills screens, so it is
counted here. The exit status is 1 when there is a vulnerability. An index that cannot be asked is said, and is an error
only with ``--strict``: a machine without internet can still lint.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
OPTIONS = ("--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json", "--aliases", "on")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the audit; 1 when something must be done."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--strict", action="store_true", help="a package that could not be audited is an error")
    parser.add_argument("--constraints", type=Path, default=CONSTRAINTS, help="pinned versions (default: ours)")
    options = parser.parse_args(arguments)
    command = [sys.executable, "-m", "pip_audit", *OPTIONS, "--requirement", str(options.constraints)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own environment's
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"audit: not done, pip-audit ends with {done.returncode}: {reason}", file=sys.stderr)
        return 1 if options.strict else 0
    return report(packages, options.strict)


def report(packages: Sequence[dict], strict: bool) -> int:
    """Print what was found; 1 when something must be done."""
    skipped = [package for package in packages if "skip_reason" in package]
    bad = [package for package in packages if package.get("vulns")]
    for package in bad:
        for finding in package["vulns"]:
            names = ", ".join([finding["id"], *finding.get("aliases", ())])
            fixed = ", ".join(finding.get("fix_versions", ())) or "none yet"
            print(f"audit: {package['name']} {package['version']}: {names}; mended in {fixed}", file=sys.stderr)
    print(
        f"audit: {len(packages)} pinned versions, {len(bad)} with known vulnerabilities, "
        f"{len(skipped)} that the index has no advisories for"
    )
    return 1 if bad or (skipped and strict) else 0


if __name__ == "__main__":
    sys.exit(main())
