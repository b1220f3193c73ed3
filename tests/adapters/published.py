"""Classifications as a service would publish them, for the tests of adapters."""

from dataclasses import replace

from ictc import Classification


def classification(number: int, object_id: str = "ZTF24aaaaaaa", **changes: object) -> Classification:
    """The answer after an object's alert of this number: SNIa, surer with each alert."""
    probability = 1 - 0.5 / (1 + number)
    one = Classification(
        survey="ztf",
        object_id=object_id,
        alert_id=1_000_000_000_000_000 + number,
        time_mjd=60_500.25 + number,
        band="gr"[number % 2],
        observation_count=number + 1,
        known_count=number + 1,
        probabilities={
            "AGN": (1 - probability) / 4,
            "SNIa": probability,
            "Variable": (1 - probability) / 4,
            "SNOther": (1 - probability) / 2,
        },
        classifier="vigil",
        classifier_version="ztf-0123456789ab",
        taxonomy_version="ictc-1",
        unknown_score=0.4,
        ingest_time_ms=1_700_000_000_000 + number,
        publication_time_ms=1_700_000_000_100 + number,
    )
    return replace(one, **changes)  # type: ignore[arg-type]
