#!/usr/bin/env bash
# Install the program into a virtual environment: what the image is made of, without an image.
#
#   deploy/container/install.sh PREFIX [cpu|cuda]
#
# PREFIX becomes a virtual environment that holds the console scripts in PREFIX/bin, and PREFIX/sbom.cdx.json.
# The CPU flavour takes torch from TORCH_INDEX_URL when that is set (an index of CPU builds: PyTorch's installation
# page names it), otherwise from pip's default index, as the CUDA flavour always does.
set -euo pipefail

prefix=${1:?usage: install.sh PREFIX [cpu|cuda]}
flavour=${2:-cpu}
source=$(cd "$(dirname "$0")/../.." && pwd)
constraints=$source/constraints.txt
python=${PYTHON:-python3}

case $flavour in
    cpu) torch_index=${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} ;;
    cuda) torch_index= ;;
    *) echo "flavour is '$flavour': give cpu or cuda" >&2; exit 2 ;;
esac

"$python" -m venv "$prefix"
pip() { "$prefix/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

# shellcheck disable=SC2086 # the option and its value are two words, or none
pip install --quiet --no-compile --constraint "$constraints" $torch_index torch
pip install --quiet --no-compile --constraint "$constraints" "$source"
pip check

# The bill of materials is written by a tool that does not stay in the result.
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
"$python" -m venv "$tool"
"$tool/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --constraint "$constraints" cyclonedx-bom
"$tool/bin/cyclonedx-py" environment --output-reproducible --output-format JSON \
    --output-file "$prefix/sbom.cdx.json" "$prefix/bin/python"

# pip has done its work: nothing at run time may install anything.
pip uninstall --quiet --yes setuptools wheel 2>/dev/null || true
"$prefix/bin/python" -m pip uninstall --quiet --yes pip
"$prefix/bin/ictc-broker" --help >/dev/null
