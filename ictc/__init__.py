"""The public interface: everything that a program of one's own, a notebook or another broker needs.

Alerts as bytes enter; classifications, tables and pictures leave. Names are imported when they are first used, so that
``import ictc`` costs nothing; what is not listed in ``__all__`` may change from one version to the next.
"""

from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from broker_filter.alerts.packet_schema import Schemas
    from broker_filter.errors import ConfigurationError, FatalError, NotClassifiedError, RejectedAlertError
    from broker_filter.look.served import ServedObjects, UnknownObjectError
    from broker_filter.look.story import ObjectStory
    from broker_filter.output.formats import as_json
    from broker_filter.output.read_back import UnreadableClassificationError, read_message
    from broker_filter.packets import series_of
    from broker_filter.records import Classification, Message, Origin, Rejected
    from ictc.classifier import Classifications, Classifier
    from ictc.topic import TopicReader, newest_of_each_object
    from model.past_photometry import History
    from model.series import Series
    from model.serving.card import ModelCard, load_card
    from model.serving.export import export
    from model.serving.predictor import Prediction, Predictor
    from model.simulation.alerts.night import write_night
    from model.taxonomy import Taxonomy, load_taxonomy

_ROOMS = {
    "Classification": "broker_filter.records",
    "Classifications": "ictc.classifier",
    "Classifier": "ictc.classifier",
    "ConfigurationError": "broker_filter.errors",
    "FatalError": "broker_filter.errors",
    "History": "model.past_photometry",
    "Message": "broker_filter.records",
    "ModelCard": "model.serving.card",
    "NotClassifiedError": "broker_filter.errors",
    "ObjectStory": "broker_filter.look.story",
    "Origin": "broker_filter.records",
    "Prediction": "model.serving.predictor",
    "Predictor": "model.serving.predictor",
    "Rejected": "broker_filter.records",
    "RejectedAlertError": "broker_filter.errors",
    "Schemas": "broker_filter.alerts.packet_schema",
    "Series": "model.series",
    "ServedObjects": "broker_filter.look.served",
    "Taxonomy": "model.taxonomy",
    "TopicReader": "ictc.topic",
    "UnknownObjectError": "broker_filter.look.served",
    "UnreadableClassificationError": "broker_filter.output.read_back",
    "as_json": "broker_filter.output.formats",
    "export": "model.serving.export",
    "load_card": "model.serving.card",
    "load_taxonomy": "model.taxonomy",
    "newest_of_each_object": "ictc.topic",
    "read_message": "broker_filter.output.read_back",
    "series_of": "broker_filter.packets",
    "write_night": "model.simulation.alerts.night",
}

__all__ = [
    "Classification",
    "Classifications",
    "Classifier",
    "ConfigurationError",
    "FatalError",
    "History",
    "Message",
    "ModelCard",
    "NotClassifiedError",
    "ObjectStory",
    "Origin",
    "Prediction",
    "Predictor",
    "Rejected",
    "RejectedAlertError",
    "Schemas",
    "Series",
    "ServedObjects",
    "Taxonomy",
    "TopicReader",
    "UnknownObjectError",
    "UnreadableClassificationError",
    "as_json",
    "export",
    "load_card",
    "load_taxonomy",
    "newest_of_each_object",
    "read_message",
    "series_of",
    "write_night",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("ictc")
    if name not in _ROOMS:
        raise AttributeError(f"ictc has no {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_ROOMS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _refuse_another_model() -> None:
    """The package ``model`` is ours, not a ``model.py`` that stands earlier on the import path.

    Raises
    ------
    ImportError
        When another module of that name hides it.
    """
    spec = find_spec("model")
    ours = Path(__file__).resolve().parent.parent / "model"
    where = "nowhere" if spec is None or spec.origin is None else str(Path(spec.origin).resolve())
    if Path(where).parent != ours:
        raise ImportError(
            f"ictc needs its own package 'model' ({ours}), but Python finds {where} under that name: rename that file, "
            "or start Python in another folder"
        )


_refuse_another_model()
