"""A figure that notebooks show by itself, without pyplot."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOTS_PER_INCH = 110


class Picture(Figure):
    """A figure of a size in inches on a ground of some colour."""

    def __init__(self, width_in: float, height_in: float, ground: str) -> None:
        super().__init__(figsize=(width_in, height_in), facecolor=ground, dpi=DOTS_PER_INCH)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.savefig(out, format="png")
        return out.getvalue()
