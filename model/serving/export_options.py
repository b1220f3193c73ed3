"""Command line of ``ictc-export``, answered before torch is imported."""

import argparse
from pathlib import Path

from model.commands import add_common_options

OPSET, OPSETS = 20, range(20, 26)  # with an operator of its own for GELU, and known to torch and onnxruntime


def export_parser() -> argparse.ArgumentParser:
    """Options of ``ictc-export``."""
    parser = argparse.ArgumentParser("ictc-export", description="Write weights as an ONNX file.")
    parser.add_argument("weights", help="path of weights, or the name of shipped ones, such as ztf")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx")
    help_text = f"ONNX operator set, {OPSETS[0]} to {OPSETS[-1]} (default: {OPSET})"
    parser.add_argument("--opset", type=int, default=OPSET, metavar="N", help=help_text)
    add_common_options(parser)
    return parser
