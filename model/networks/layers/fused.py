"""Work on every element of a tensor in one pass over memory, compiled where a training asks for it.

Step by step, an expression reads and writes memory at each of its steps; compiled, it is one loop, 3 to 7 times as fast
on a processor. Compiling takes half a minute and a C++ compiler, so that nothing is compiled until :func:`fuse` says
so: a training's ``--compile``.
"""

import os
import shutil
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")

SHAPES = 64  # for which one function may be compiled
BACKEND = "inductor"

_compiling = False


class CompilerMissingError(ValueError):
    """There is nothing to compile with."""


def has_compiler() -> bool:
    """Whether there is a C++ compiler: the one that ``CXX`` names, or g++."""
    return shutil.which(_compiler()) is not None


def _compiler() -> str:
    return os.environ.get("CXX", "g++")


def fuse(on: bool = True) -> None:
    """Compile what is marked as :func:`fused` from now on, or no longer.

    Raises
    ------
    CompilerMissingError
        Without a C++ compiler.
    """
    global _compiling  # noqa: PLW0603 - one switch for a process
    if on and not has_compiler():
        raise CompilerMissingError(f"no C++ compiler {_compiler()!r}: install g++, set CXX, or leave --compile out")
    _compiling = on


def fused(function: Callable[..., Result]) -> Callable[..., Result]:
    """The same function of tensors, compiled while :func:`fuse` is on. It gives no gradient.

    It is compiled once for every shape that it meets, but for the last axis but one, whose length may be any.
    """
    compiled: dict[str, Callable[..., Result]] = {}

    @wraps(function)
    def either(*arguments: Any) -> Result:
        with torch.no_grad():
            if not _compiling:
                return function(*arguments)
            if BACKEND not in compiled:
                compiled[BACKEND] = torch.compile(function, backend=BACKEND)
            plain = [value.detach() if isinstance(value, Tensor) else value for value in arguments]
            for value in plain:
                if isinstance(value, Tensor):
                    for axis in {*range(value.ndim)} - {value.ndim - 2}:
                        torch._dynamo.mark_static(value, axis)  # a length that may vary costs divisions in each loop
            with torch._dynamo.config.patch(specialize_float=True, recompile_limit=SHAPES):
                return compiled[BACKEND](*plain)

    return either
