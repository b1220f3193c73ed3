"""What is measured of template and difference: sources are Gaussians drawn by hand."""

import pytest
import torch

from model.networks.layers.stamp_shape import DIFFERENCE, STAMP_SHAPE_WIDTH, TEMPLATE, StampShape

SIZE = 24
CONCENTRATION, WIDTH, OFFSET, RATIO, NEAREST = 4, 6, 7, 15, 17


def stamps(template_sigma=1.0, x=0.0, template=1000.0, difference=500.0):
    """One frame in units of noise, [1, 3, H, W]."""
    index = torch.arange(SIZE) - SIZE // 2
    grid_y, grid_x = torch.meshgrid(index, index, indexing="ij")

    def source(total, sigma, at):
        shape = torch.exp(-0.5 * ((grid_x - at) ** 2 + grid_y**2) / sigma**2)
        return total * shape / shape.sum()

    frame = torch.zeros(1, 3, SIZE, SIZE)
    frame[0, TEMPLATE], frame[0, DIFFERENCE] = source(template, template_sigma, x), source(difference, 1.0, 0.0)
    return frame


def measured(scale=(1.0, 1.0, 1.0), **source):
    return StampShape(SIZE, 1.0)(stamps(**source), torch.tensor([scale]))[0]


def test_a_galaxy_is_wider_than_a_star_and_lies_beside():
    """Width and offset grow, concentration falls."""
    star, galaxy, beside = measured(), measured(template_sigma=3.0), measured(x=3.0)
    assert galaxy[WIDTH] > star[WIDTH] + 0.2
    assert galaxy[CONCENTRATION] < star[CONCENTRATION] - 0.3
    assert beside[OFFSET] > star[OFFSET] + 0.5
    assert beside[NEAREST] == pytest.approx(3 / 8, abs=0.01)
    assert star.shape == (STAMP_SHAPE_WIDTH,)


def test_the_change_is_told_in_units_of_what_was_there():
    """Ten times the noise per count in the difference is ten times the ratio; its logarithm moves by one."""
    near, far = measured(), measured(scale=(1.0, 1.0, 10.0))
    assert far[RATIO] - near[RATIO] == pytest.approx(1.0, abs=1e-4)


def test_empty_stamps_have_finite_numbers():
    """Nothing seen, nothing infinite."""
    assert torch.isfinite(StampShape(SIZE, 1.0)(torch.zeros(2, 3, SIZE, SIZE), torch.ones(2, 3))).all()
