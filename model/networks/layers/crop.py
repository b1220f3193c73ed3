"""The central pixels of stamps.

Legend: ``H W`` pixels.
"""

from torch import Tensor


def central_crop(values: Tensor, size: int) -> Tensor:
    """The central ``size`` x ``size`` of the last two axes; pixel ``n // 2`` is the centre before and after.

    Raises
    ------
    ValueError
        When the stamp is smaller than ``size``.
    """
    height, width = values.shape[-2:]
    if height < size or width < size:
        raise ValueError(f"stamps of {height} x {width} pixels, but the network reads {size} x {size}: pad them first")
    top, left = height // 2 - size // 2, width // 2 - size // 2
    return values[..., top : top + size, left : left + size]
