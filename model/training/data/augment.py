"""Augmentation on torch: frames disturbed as the sky might disturb them. It knows no labels.

Legend: ``B`` objects, ``T`` frames, ``C`` channels, ``H W`` pixels. Every random draw comes from the generator given,
which lives on the processor whatever the device, so that runs can be repeated elsewhere.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from model.networks.contract import Frames, LightCurve, in_order_of_time
from model.past_photometry import HISTORY_LIMIT
from model.series import BANDS

# Of (science, template, difference): the noise of one visit is not in its template.
TEMPLATE_CHANNEL, DIFFERENCE_CHANNEL = 1, 2
FEWEST_FRAMES = 1
RUN = 3  # frames: what ConvEntion reads in one piece
MISSED_ARE_REPORTED = 0.5  # share of the objects of which later packets tell the missed alerts


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How strongly to disturb; zeros change nothing."""

    dihedral: bool = True  # flips and quarter turns, one draw per object
    rotation_deg: float = 0.0  # largest turn either way, bilinear
    rotation_probability: float = 0.5
    draw_runs: int = 0  # of ``RUN`` frames that follow each other: how many to learn from in a step; 0: all
    drop_frames: float = 0.0  # largest fraction of frames to forget; the fraction is uniform below it
    truncate_probability: float = 0.0  # of keeping only a prefix, of uniform length
    late_probability: float = 0.0  # of forgetting everything before a random frame, as a stream joined late would
    without_history: float = 0.15  # share of the objects whose packets tell of nothing, where the others' do
    short_history: float = 0.5  # share of the objects whose packets tell of a part of the days only
    noise_probability: float = 0.0  # of adding noise to an object
    noise_factor: float = 1.0  # largest factor by which an object's noise grows
    noisy_photometry: bool = True  # add the noise to point-source fluxes as well as to pixels
    single_alerts: float = 0.0  # share of the batches in which one alert of each object is all that came, its past told
    colour_shift_mag: float = 0.0  # scatter by which an object's bands are shifted against each other

    @property
    def turns_stamps(self) -> bool:
        """Whether two views of the same frames differ (:func:`change_view`)."""
        return self.dihedral or self.rotation_deg * self.rotation_probability > 0

    @property
    def changes_epochs(self) -> bool:
        """Whether views with frames of their own differ in them (:func:`change_epochs`)."""
        strengths = self.drop_frames, self.truncate_probability, self.late_probability, self.single_alerts
        noise = self.noise_probability > 0 and self.noise_factor > 1
        return self.draw_runs > 0 or any(strengths) or noise or self.colour_shift_mag > 0


def dihedral(frames: Frames, generator: torch.Generator) -> Frames:
    """Turn and flip each object by one of the eight symmetries of the square."""
    turns_B = torch.randint(8, (len(frames.scale_BTC),), generator=generator)
    pixels, mask = frames.pixels_BTCHW.clone(), frames.pixel_mask_BTCHW.clone()
    for turn in range(1, 8):
        rows = torch.nonzero(turns_B == turn)[:, 0].to(pixels.device)
        if len(rows) == 0:
            continue
        for tensor in (pixels, mask):
            moved = torch.rot90(tensor[rows], turn % 4, (-2, -1))
            tensor[rows] = moved.flip(-1) if turn >= 4 else moved
    return Frames(pixels, mask, frames.scale_BTC, frames.curve)


def rotate(frames: Frames, largest_deg: float, probability: float, generator: torch.Generator) -> Frames:
    """Turn each object by one angle within ``largest_deg``, bilinear; what turns in from outside is masked."""
    pixels = frames.pixels_BTCHW
    batch, length, channels, height, width = pixels.shape
    angle_B = (torch.rand(batch, generator=generator) * 2 - 1) * math.radians(largest_deg)
    angle_B = torch.where(torch.rand(batch, generator=generator) < probability, angle_B, 0.0).to(pixels.device)
    cos, sin, none = torch.cos(angle_B), torch.sin(angle_B), torch.zeros_like(angle_B)
    turn_B23 = torch.stack([torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)], 1)
    planes = (batch, length * channels, height, width)
    grid = functional.affine_grid(turn_B23, list(planes), align_corners=False).to(pixels.dtype)
    turned = functional.grid_sample(pixels.reshape(planes), grid, align_corners=False).reshape(pixels.shape)
    seen = frames.pixel_mask_BTCHW.to(pixels.dtype).reshape(planes)
    covered = functional.grid_sample(seen, grid, align_corners=False).reshape(pixels.shape)
    mask = covered > 0.5
    return Frames(torch.where(mask, turned / covered.clamp(min=0.5), 0.0), mask, frames.scale_BTC, frames.curve)


def keep_frames(frames: Frames, keep_BT: Tensor, reported_BT: Tensor | None = None) -> Frames:
    """Forget the frames that are False in ``keep_BT``: the rest move together and time starts at the first of them.

    Parameters
    ----------
    reported_BT
        Of the others, those that a later packet tells of: where series have a history they join it. In any case
        nothing later than the last frame stays in it.
    """
    curve, keep_BT = frames.curve, keep_BT.to(frames.curve.mask_BT.device) & frames.curve.mask_BT
    seen, order_BT = compacted(curve, keep_BT, FEWEST_FRAMES)
    first_B1, last_B1 = seen.time_BT[:, :1], seen.time_BT.amax(1, keepdim=True)
    history = curve.history
    if history is not None:
        reported_BT = torch.zeros_like(keep_BT) if reported_BT is None else reported_BT.to(keep_BT.device) & ~keep_BT
        history, _ = in_order_of_time(history, replace(curve, mask_BT=reported_BT & curve.mask_BT))
        past_BP = history.mask_BT & (history.time_BT <= last_B1)
        newest_BP = past_BP.flip(1).cumsum(1).flip(1) <= HISTORY_LIMIT
        history = since(compacted(history, past_BP & newest_BP)[0], first_B1)
    row_B1 = torch.arange(len(order_BT), device=order_BT.device)[:, None]
    pixel_BT = seen.mask_BT[..., None, None, None]
    return Frames(
        frames.pixels_BTCHW[row_B1, order_BT] * pixel_BT,
        frames.pixel_mask_BTCHW[row_B1, order_BT] & pixel_BT,
        torch.where(seen.mask_BT[..., None], frames.scale_BTC[row_B1, order_BT], 1.0),
        replace(since(seen, first_B1), history=history),
    )


def shift_colours(frames: Frames, scatter_mag: float, generator: torch.Generator) -> Frames:
    """Make every band of an object brighter or fainter by a draw of its own, the changes and their past alike.

    What is shifted is the light that changed: the difference image, as much of the science image, and all photometry.
    Where there is one image only it is shifted whole. Two bands differ by ``scatter_mag``, a standard deviation.
    """
    curve = frames.curve
    shift_BL = scatter_mag / math.sqrt(2) * torch.randn(len(frames.scale_BTC), len(BANDS), generator=generator)
    factor_BL = (10 ** (-0.4 * shift_BL)).to(curve.flux_BT.device)

    def shifted(of: LightCurve) -> LightCurve:
        factor_BT = factor_BL.gather(1, of.band_BT)
        return replace(of, flux_BT=of.flux_BT * factor_BT, flux_error_BT=of.flux_error_BT * factor_BT)

    factor_BT111 = factor_BL.gather(1, curve.band_BT)[..., None, None, None]
    pixels, seen, scale_BTC = frames.pixels_BTCHW, frames.pixel_mask_BTCHW, frames.scale_BTC
    if pixels.shape[2] > DIFFERENCE_CHANNEL:
        science, template, difference = pixels.split(1, 2)
        science = torch.where(seen[:, :, :1], science + (factor_BT111 - 1) * difference, 0.0)
        pixels = torch.cat([science, template, factor_BT111 * difference], 2)
        changed_C = torch.arange(pixels.shape[2], device=pixels.device) != TEMPLATE_CHANNEL
        factor_BTC = torch.where(changed_C, factor_BT111[..., 0, 0], 1.0)
    else:
        pixels, factor_BTC = factor_BT111 * pixels, factor_BT111[..., 0, 0]
    scale_BTC = torch.where(curve.mask_BT[..., None], scale_BTC * factor_BTC, scale_BTC)
    history = None if curve.history is None else shifted(curve.history)
    return Frames(pixels, seen, scale_BTC, replace(shifted(curve), history=history))


def single_alerts(
    frames: Frames, without_history: float, generator: torch.Generator, history_days: float = math.inf
) -> Frames:
    """Of each object a random alert, and what its packet tells of the days before; of some objects it tells nothing."""
    length_B = frames.curve.mask_BT.sum(1).cpu()
    chosen_B = (
        (torch.rand(len(length_B), generator=generator) * length_B).long().clamp(max=frames.scale_BTC.shape[1] - 1)
    )
    silent_B1 = torch.rand(len(length_B), 1, generator=generator) < without_history
    days_B1 = torch.where(silent_B1, 0.0, history_days)
    device = frames.scale_BTC.device
    return one_frame(frames, chosen_B.to(device), days_B1.to(device))


def one_frame(frames: Frames, chosen_B: Tensor, history_days: float | Tensor) -> Frames:
    """What is known of each object when one of its alerts came, and its packet tells of the days before.

    ``history_days`` may differ by object: [B, 1].
    """
    curve = frames.curve
    reach_B1 = curve.time_BT.gather(1, chosen_B[:, None]) - history_days
    frames = replace(frames, curve=curve.keep_epochs(lambda history: history.time_BT >= reach_B1))
    keep_BT = torch.arange(curve.mask_BT.shape[1], device=chosen_B.device) == chosen_B[:, None]
    return keep_frames(frames, keep_BT, curve.time_BT >= reach_B1)


def compacted(curve: LightCurve, keep_BT: Tensor, fewest: int = 0) -> tuple[LightCurve, Tensor]:
    """Some frames of a light curve moved together, padding at the end, and the index of each where it was."""
    length = max(int(keep_BT.sum(1).max()), fewest)
    order_BT = torch.argsort((~keep_BT).to(torch.int8), dim=1, stable=True)[:, :length]
    mask_BT = keep_BT.gather(1, order_BT)
    moved = curve.map(lambda values: values.gather(1, order_BT) * mask_BT)
    return replace(moved, mask_BT=mask_BT, history=None), order_BT


def since(curve: LightCurve, first_B1: Tensor) -> LightCurve:
    """The light curve with its times since another zero."""
    moved_B = first_B1[:, 0] if curve.zero_B is None else curve.zero_B + first_B1[:, 0]
    return replace(curve, time_BT=(curve.time_BT - first_B1) * curve.mask_BT, zero_B=moved_B)


def drop(frames: Frames, how: Augmentation, generator: torch.Generator, history_days: float = math.inf) -> Frames:
    """Forget random frames and, for some objects, all before or all after a random one; at least one frame stays.

    Where series have a history, packets tell of it: of ``history_days``, or a part of them, before a stream was joined
    late, of half of the objects the frames that were missed, of some objects nothing. Epochs are forgotten as often as
    frames.
    """
    curve, mask_BT = frames.curve, frames.curve.mask_BT.cpu()
    batch, length = mask_BT.shape
    fraction_B1 = torch.rand(batch, 1, generator=generator) * how.drop_frames
    caught_BT = torch.rand(batch, length, generator=generator) >= fraction_B1
    real_B1 = mask_BT.sum(1, keepdim=True)
    cut_B1 = (torch.rand(batch, 1, generator=generator) * real_B1).floor().long() + 1  # 1..real
    cut = torch.rand(batch, 1, generator=generator) < how.truncate_probability
    start_B1 = (torch.rand(batch, 1, generator=generator) * torch.where(cut, cut_B1, real_B1)).floor().long()
    late = torch.rand(batch, 1, generator=generator) < how.late_probability
    before_end_BT = torch.where(cut, torch.arange(length)[None, :] < cut_B1, True)
    joined_BT = torch.where(late, torch.arange(length)[None, :] >= start_B1, True)
    keep_BT = caught_BT & before_end_BT & joined_BT
    keep_BT[:, 0] |= ~(keep_BT & mask_BT).any(1)
    if curve.history is None:
        return keep_frames(frames, keep_BT)
    known_B1 = torch.rand(batch, 1, generator=generator) >= how.without_history
    missed_are_reported_B1 = torch.rand(batch, 1, generator=generator) < MISSED_ARE_REPORTED
    reported_BP = torch.rand(curve.history.mask_BT.shape, generator=generator) >= fraction_B1
    time_BT, first_B1 = curve.time_BT.cpu(), (keep_BT & mask_BT).int().argmax(1, keepdim=True)
    part_B1 = (torch.rand(batch, 1, generator=generator) / max(how.short_history, 1e-6)).clamp(max=1)
    reach_B1 = time_BT.gather(1, first_B1) - part_B1 * history_days
    reported_BT = torch.where(joined_BT, missed_are_reported_B1, caught_BT) & known_B1 & (time_BT >= reach_B1)
    reported_BP &= known_B1 & (curve.history.time_BT.cpu() >= reach_B1)
    past = curve.keep_epochs(lambda history: reported_BP.to(history.mask_BT.device))
    return keep_frames(replace(frames, curve=past), keep_BT, reported_BT)


def draw(frames: Frames, runs: int, generator: torch.Generator) -> Frames:
    """Some random runs of frames that follow each other, in their order, for all others: fewer frames to compute.

    The runs begin at multiples of ``RUN``, so that each is what a network that reads groups of so many would be shown.
    """
    curve, mask_BT = frames.curve, frames.curve.mask_BT.cpu()
    length_B = mask_BT.sum(1)
    rank_BR = torch.rand(len(mask_BT), -(-mask_BT.shape[1] // RUN), generator=generator)
    rank_BR[torch.arange(rank_BR.shape[1])[None, :] * RUN >= length_B[:, None]] = math.inf
    drawn_BR = rank_BR.argsort(dim=1).argsort(dim=1) < runs
    keep_BT = drawn_BR.repeat_interleave(RUN, 1)[:, : mask_BT.shape[1]]
    drawn = keep_frames(frames, keep_BT)
    return replace(drawn, curve=replace(drawn.curve, drawn_from_B=length_B.to(curve.mask_BT.device)))


def add_noise(
    frames: Frames, probability: float, largest_factor: float, photometry: bool, generator: torch.Generator
) -> Frames:
    """Make some objects noisier, by up to ``largest_factor``: the same white noise in science and difference."""
    pixels, curve = frames.pixels_BTCHW, frames.curve
    batch, length, channels, height, width = pixels.shape
    factor_B = 1 + (largest_factor - 1) * torch.rand(batch, generator=generator)
    factor_B = torch.where(torch.rand(batch, generator=generator) < probability, factor_B, 1.0)
    added_B = torch.sqrt(factor_B**2 - 1).to(pixels.device)  # in units of the noise that is there
    rows = torch.nonzero(factor_B > 1)[:, 0]
    white = torch.randn(len(rows), length, 1, height, width, generator=generator).to(pixels.device)
    rows = rows.to(pixels.device)
    touched_C = torch.ones(channels, device=pixels.device)
    if channels > TEMPLATE_CHANNEL:
        touched_C[TEMPLATE_CHANNEL] = 0
    last_BT = frames.scale_BTC[:, :, -1]  # of the difference, or of the only channel
    sigma_BT = added_B[:, None] * last_BT
    noise = white * sigma_BT[rows][..., None, None, None] * touched_C[:, None, None]
    pixels = pixels.index_add(0, rows, torch.where(frames.pixel_mask_BTCHW[rows], noise, 0.0))
    scale_BTC = torch.sqrt(frames.scale_BTC**2 + (sigma_BT[..., None] * touched_C) ** 2)
    scale_BTC = torch.where(curve.mask_BT[..., None], scale_BTC, frames.scale_BTC)
    if photometry:
        deviate_BT = torch.randn(batch, length, generator=generator).to(pixels.device)
        error_BT = added_B[:, None] * curve.flux_error_BT
        noisier_BT = torch.sqrt(curve.flux_error_BT**2 + error_BT**2)
        curve = replace(curve, flux_BT=curve.flux_BT + deviate_BT * error_BT, flux_error_BT=noisier_BT)
    return Frames(pixels, frames.pixel_mask_BTCHW, scale_BTC, curve)


def change_epochs(
    frames: Frames, how: Augmentation, generator: torch.Generator, history_days: float = math.inf
) -> Frames:
    """What two views of one object share: which frames there are, how noisy they are, what colour."""
    if how.colour_shift_mag > 0:
        frames = shift_colours(frames, how.colour_shift_mag, generator)
    if how.single_alerts > 0 and float(torch.rand((), generator=generator)) < how.single_alerts:
        frames = single_alerts(frames, how.without_history, generator, history_days)
    elif how.drop_frames > 0 or how.truncate_probability > 0 or how.late_probability > 0:
        frames = drop(frames, how, generator, history_days)
    if how.draw_runs > 0:
        frames = draw(frames, how.draw_runs, generator)
    if how.noise_probability > 0 and how.noise_factor > 1:
        frames = add_noise(frames, how.noise_probability, how.noise_factor, how.noisy_photometry, generator)
    return frames


def change_view(frames: Frames, how: Augmentation, generator: torch.Generator) -> Frames:
    """In what two views of one object differ: how the sky is turned."""
    if how.rotation_deg > 0:
        frames = rotate(frames, how.rotation_deg, how.rotation_probability, generator)
    return dihedral(frames, generator) if how.dihedral else frames
