"""Losses by known values."""

import math

import pytest
import torch
from torch.nn import functional

from model.training.learning import losses
from model.training.learning.dino_head import PROTOTYPES, DinoHead

FINE_TUNE_COUNTS = torch.tensor([362.0, 400.0, 1290.0, 72.0])


def logits(rows: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, generator=generator), torch.randint(4, (rows,), generator=generator)


def test_class_balanced_weights_are_those_of_the_published_counts():
    """The effective-number weights of the fine-tuning counts have their known values and sum to the class count."""
    weights = losses.class_balanced_weights(FINE_TUNE_COUNTS, 0.999)
    assert weights.tolist() == pytest.approx([0.596, 0.549, 0.250, 2.605], abs=1e-3)
    assert losses.class_balanced_weights(FINE_TUNE_COUNTS, 0.0).tolist() == [1, 1, 1, 1]


def test_ldam_margins_are_those_of_the_published_counts():
    """The rarest class has the largest margin, one half."""
    assert losses.ldam_margins(FINE_TUNE_COUNTS).tolist() == pytest.approx([0.334, 0.326, 0.243, 0.5], abs=1e-3)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_margin_comes_off_the_label_alone(scale):
    """LDAM equals cross entropy of logits whose label entry is lower by its margin, in the units of the head."""
    o, y = logits()
    lowered = o.clone()
    lowered[torch.arange(6), y] -= scale * losses.ldam_margins(FINE_TUNE_COUNTS)[y]
    expected = functional.cross_entropy(lowered, y, reduction="none")
    torch.testing.assert_close(losses.ldam(o, y, FINE_TUNE_COUNTS, scale=scale), expected)


def test_focal_without_focus_is_cross_entropy():
    """With gamma 0 both focal losses are the cross entropy."""
    o, y = logits()
    plain = losses.cross_entropy(o, y, FINE_TUNE_COUNTS)
    torch.testing.assert_close(losses.focal(o, y, FINE_TUNE_COUNTS, gamma=0.0), plain)
    torch.testing.assert_close(losses.focal_of_mean(o, y, FINE_TUNE_COUNTS, gamma=0.0), plain.mean().reshape(1))


def test_focal_at_even_odds():
    """At p = 1/2, gamma 2, the loss is ln 2 / 4."""
    value = losses.focal(torch.zeros(1, 2), torch.tensor([0]), torch.ones(2))
    assert value.item() == pytest.approx(math.log(2) / 4)


@pytest.mark.parametrize("focal", [losses.focal, losses.focal_of_mean])
@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.5, 1.0, 2.0])
def test_a_certain_answer_has_a_finite_gradient(focal, gamma):
    """Also where gamma is less than 1 and the slope of the focal factor has no bound."""
    o = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal(o, torch.tensor([0]), torch.ones(2), gamma=gamma).sum().backward()
    assert torch.isfinite(o.grad).all()


def test_logit_adjustment_shifts_by_the_log_prior():
    """Equal logits under logit adjustment answer the prior, and balanced softmax is the same with tau 1."""
    o = torch.zeros(4, 4)
    y = torch.arange(4)
    prior = FINE_TUNE_COUNTS / FINE_TUNE_COUNTS.sum()
    adjusted = losses.logit_adjusted(o, y, FINE_TUNE_COUNTS)
    torch.testing.assert_close(adjusted, -prior.log())
    assert (-adjusted).tolist() == pytest.approx([-1.769, -1.670, -0.499, -3.384], abs=1e-3)
    torch.testing.assert_close(losses.balanced_softmax(o, y, FINE_TUNE_COUNTS), adjusted)


def test_every_class_loss_goes_down_the_right_way():
    """A step against the gradient of any class loss makes the label likelier."""
    for name, loss in losses.CLASS_LOSSES.items():
        o, y = logits(seed=3)
        o.requires_grad_(True)
        loss(o, y, FINE_TUNE_COUNTS).mean().backward()
        assert (o.grad[torch.arange(6), y] < 0).all(), name


def test_cosine_distance_runs_from_zero_to_four():
    """BYOL's error is 0 for parallel, 2 for orthogonal and 4 for opposite vectors, whatever their lengths."""
    x = torch.tensor([[2.0, 0.0]])
    for other, expected in (([5.0, 0.0], 0.0), ([0.0, 1.0], 2.0), ([-3.0, 0.0], 4.0)):
        assert losses.cosine_distance(x, torch.tensor([other])).item() == pytest.approx(expected, abs=1e-6)


def test_contrast_of_two_clean_pairs():
    """Two classes of two equal, mutually opposite views give -log of the pair's share of three."""
    views = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    label = torch.tensor([0, 0, 1, 1])
    tau = 0.5
    share = math.exp(1 / tau) / (math.exp(1 / tau) + 2 * math.exp(-1 / tau))
    value = losses.supervised_contrastive(views, label, tau)
    assert value.tolist() == pytest.approx([-math.log(share)] * 4, abs=1e-6)


def test_balanced_contrast_does_not_change_when_a_class_is_repeated():
    """Copying the negatives of a view leaves its balanced loss as it was, and raises the plain one."""
    generator = torch.Generator().manual_seed(5)
    views, prototypes = torch.randn(4, 3, generator=generator), torch.randn(2, 3, generator=generator)
    prototypes[1] = views[2]
    views[3] = views[2]
    label = torch.tensor([0, 0, 1, 1])
    more = torch.cat([views, views[2:], views[2:]])
    more_label = torch.tensor([0, 0, 1, 1, 1, 1, 1, 1])
    before = losses.balanced_contrastive(views, label, prototypes)[:2]
    after = losses.balanced_contrastive(more, more_label, prototypes)[:2]
    torch.testing.assert_close(before, after)
    plain = losses.supervised_contrastive(views, label)[:2]
    assert (losses.supervised_contrastive(more, more_label)[:2] > plain).all()


def test_dino_is_least_for_a_student_that_agrees():
    """The teacher's own sharpened answer has a smaller loss than another."""
    teacher = torch.tensor([[0.2, -0.1, 0.0]])
    centre = torch.zeros(3)
    same = losses.dino(teacher * 2.5, teacher, centre)
    assert same.item() < losses.dino(teacher.flip(1), teacher, centre).item()


def test_the_head_of_dino_answers_with_cosines():
    """Whatever the precision around it, it gives cosines in float32, the same for prototypes of any length."""
    torch.manual_seed(0)
    head, features = DinoHead(16, 8), torch.randn(5, 16)
    single = head(features)
    with torch.autocast("cpu", torch.bfloat16):
        half = head(features)
    assert single.shape == half.shape == (5, PROTOTYPES)
    assert half.dtype == torch.float32
    assert float(single.detach().abs().max()) <= 1 + 1e-6
    torch.testing.assert_close(half, single, rtol=0, atol=0.02)
    with torch.no_grad():
        head.prototypes_PD *= 7
        torch.testing.assert_close(head(features), single)
