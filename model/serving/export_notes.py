"""Notes inside an ONNX file: what its user must know, from the model card, as strings.

Legend: ``N`` objects, ``T`` frames, ``P`` epochs without stamp, ``C`` image channels, ``H W`` pixels, ``K`` classes.
"""

import json

from model.past_photometry import HISTORY_DAYS, LIMIT_SIGMA
from model.series import BANDS
from model.serving.card import ModelCard
from model.serving.predictor import SURVEY_INPUTS

PADDING = "0 on padding, where it is not read: mask says what padding is"


def metadata(card: ModelCard, free_length: bool) -> dict[str, str]:
    """Everything: what each input and output is, the order of classes, and where the weights come from.

    Parameters
    ----------
    free_length
        Whether the graph takes any number of frames; otherwise it takes as many as the network reads.
    """
    facts = SURVEY_INPUTS[card.survey]
    return {
        "classes": json.dumps(card.classes),
        "taxonomy_version": card.taxonomy_version,
        "network": json.dumps(dict(card.network)),
        "model_version": card.version,
        "trained": json.dumps(card.trained),
        "survey": card.survey,
        "channels": json.dumps(card.channels),
        "bands": json.dumps({band: index for index, band in enumerate(BANDS)}),
        "bands_trained": card.bands,
        "size_px": str(card.size_px),
        "pixel_scale_arcsec": str(facts.arcsec_per_pixel),
        "frames": f"1 to {card.frame_limit}" if free_length else f"exactly {card.frame_limit}, padded",
        "epochs_without_stamp": f"up to {card.history_limit}",
        "inputs": json.dumps(inputs(card)),
        "outputs": json.dumps(outputs(card)),
        "normalisation": (
            "inside the graph: give stamps in nJy per pixel, NaN where not observed, and scale as 1.4826 times the "
            "median absolute deviation of each stamp's pixels from their median"
        ),
        "calibration": json.dumps({"temperature": card.temperature, "logit_offset": card.logit_offset, "inside": True}),
        "provenance": json.dumps(dict(card.provenance)),
    }


def inputs(card: ModelCard) -> dict[str, str]:
    """What each input means; a network that does not read one may not have it."""
    bands = ", ".join(f"{index} {band}" for index, band in enumerate(BANDS))
    differences = "difference" in card.channels
    of_what = "of the difference image (science minus template; negative where the source is fainter than in the "
    of_what += "template)" if differences else "at the object's position on the science image, light of its host too"
    images = ", ".join(card.channels)
    if differences:
        images += "; the difference is science minus template, also for sources that are published as negative"
    explained = {
        "stamps": f"float32 [N, T, C, H, W], nJy per pixel, NaN where not observed; C: {images}; the source is in the "
        f"middle, pixel [{card.size_px // 2}, {card.size_px // 2}] of {card.size_px} x {card.size_px}",
        "t": f"float32 [N, T], days (TAI) since the object's first frame here, ascending; {PADDING}",
        "band": f"int64 [N, T]: {bands}; trained on {card.bands}; {PADDING} (and it is not taken for {BANDS[0]})",
        "mask": "bool [N, T], True for frames, False for padding, which stands at the end",
        "flux": f"float32 [N, T], nJy: AB magnitude 31.4 - 2.5 log10(flux); of a point source {of_what}; 0 where "
        f"unknown; {PADDING}",
        "flux_error": f"float32 [N, T], nJy, one standard deviation of flux; 0 where unknown; {PADDING}",
        "scale": "float32 [N, T, C], nJy per pixel: 1.4826 times the median absolute deviation of each stamp's pixels "
        "from their median; 1 on padding",
    }
    if not card.history_limit:
        return explained
    days = HISTORY_DAYS.get(card.survey)
    reach = "" if days is None else f", of the last {days:g} days before each alert"
    return explained | {
        "history_t": "float32 [N, P], days since the object's first frame (negative before it), ascending, none after "
        f"the last frame, none that a frame shows, no visit twice{reach}; P at least 1; {PADDING}",
        "history_band": f"int64 [N, P], numbered as band; {PADDING}",
        "history_mask": "bool [N, P], True for epochs, False for padding, which stands at the end; all False: nothing "
        "is known beside the frames",
        "history_flux": f"float32 [N, P], nJy, of the difference as flux; 0 where nothing was seen; {PADDING}",
        "history_flux_error": f"float32 [N, P], nJy, positive; where nothing was seen the limit over {LIMIT_SIGMA:g} "
        f"(of a {LIMIT_SIGMA:g} sigma limit); {PADDING}",
    }


def outputs(card: ModelCard) -> dict[str, str]:
    """What each output means; ``unknown`` is there where the card has a calibrated score."""
    explained = {"probs": f"float32 [N, K], calibrated, sum 1; K: {', '.join(card.classes)}"}
    if card.unknown is not None:
        explained["unknown"] = (
            f"float32 [N], how unlike everything in training ({card.unknown.kind}): 0 is usual, 1 a robust deviation "
            "more; larger is stranger"
        )
    return explained
