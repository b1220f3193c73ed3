"""Published flux error as a function of change, template flux and limiting magnitude: the odd ones, ZTF's."""

import numpy as np
from numpy.typing import NDArray

# ``sigmapsf`` is not the error of the background. With x the change and t the light of the template at the same place,
# over a fifth of the flux of ``diffmaglim``, its square is a + b x + (c x)^2 + d t + (e t)^2 times the background's:
# fitted to 817 public alerts of all kinds, whose scatter about it is 0.25 in the logarithm. It grows as if photons were
# dear, as the errors of fits with scaled residuals do.
ZTF_TERMS = (0.186, 0.132, 0.0229, 0.0054, 0.0045)


def ztf_error(flux_N: NDArray, static_N: NDArray, background_error_N: NDArray) -> NDArray[np.float64]:
    """The published error of changes over static light, in one unit; ``background_error_N`` is a fifth of the limit."""
    constant, linear, square, static, static_square = ZTF_TERMS
    background_error_N = np.asarray(background_error_N, np.float64)
    x_N, t_N = np.abs(flux_N) / background_error_N, np.maximum(static_N, 0) / background_error_N
    variance_N = constant + linear * x_N + (square * x_N) ** 2 + static * t_N + (static_square * t_N) ** 2
    error_N: NDArray[np.float64] = background_error_N * np.sqrt(variance_N)
    return error_N
