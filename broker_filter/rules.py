"""Rules over the fields of a classification, and the topics of those of which a rule is true.

A rule is an expression of the library rule-engine, which parses a grammar of its own (no Python is evaluated), knows
the types of its names beforehand and reads mappings only. A rule is compiled, names and types checked, when settings
are read. A comparison with a value that is unknown decides nothing: then the classification is not routed.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from rule_engine import Context, DataType, Rule, resolve_item
from rule_engine.errors import EngineError, EvaluationError

from broker_filter.errors import ConfigurationError

LONGEST_RULE = 2_000  # characters
NO_NUMBER = (ArithmeticError, ValueError)  # raised by what is no number, or one of too many digits
PROBABILITY = "p_"  # p_SNIa, p_AGN ... as the columns of tables are called
_NUMBER, _TEXT, _FLAG = DataType.FLOAT, DataType.STRING, DataType.BOOLEAN
NAMES: Mapping[str, Any] = {
    **dict.fromkeys(
        (
            *("mjd", "night", "ra", "dec", "flux", "fluxError", "magnitude", "magnitudeError", "snr", "realBogus"),
            *("nObservations", "nKnown", "nHistory", "unknownScore", "daysSinceFirst", "daysSinceBrightest"),
            *("coverage", "ssDistance", "ssMagnitude"),
        ),
        _NUMBER,
    ),
    **dict.fromkeys(
        ("objectId", "survey", "band", "status", "reason", "best", "previousClass", "classifier", "evidence"), _TEXT
    ),
    **dict.fromkeys(("revision", "changedMind"), _FLAG),
    "predictionSet": DataType.ARRAY(_TEXT),
}
REMEDY = f"names are {', '.join(sorted(NAMES))} and {PROBABILITY}CLASS, e.g. {PROBABILITY}SNIa"


class Decision(StrEnum):
    """What a rule says of a classification; a label of a metric."""

    ROUTED = "routed"
    NOT_ROUTED = "not_routed"
    UNDECIDED = "undecided"  # a value that the rule compares is unknown


@dataclass(frozen=True)
class Route:
    """A topic, and which classifications go there.

    Raises
    ------
    ConfigurationError
        When the rule is no expression, or has a name or a type that it may not have.
    """

    name: str
    topic: str
    rule: str

    def __post_init__(self) -> None:
        compiled = self._compiled
        kind = compiled.statement.expression.result_type
        if kind not in (_FLAG, DataType.UNDEFINED):
            raise ConfigurationError(
                f"routes.{self.name}.rule {self.rule!r} is a {kind.name.lower()}, not true or false"
            )

    @cached_property
    def _compiled(self) -> Rule:
        if len(self.rule) > LONGEST_RULE:
            raise ConfigurationError(
                f"routes.{self.name}.rule has {len(self.rule)} characters, at most {LONGEST_RULE}: make several routes"
            )
        context = Context(type_resolver=_type_of, resolver=resolve_item)
        try:
            return Rule(self.rule, context=context)
        except KeyError as error:
            nearest = difflib.get_close_matches(str(error.args[0]), NAMES, 1)
            hint = f"did you mean {nearest[0]}? " if nearest else ""
            raise ConfigurationError(
                f"routes.{self.name}.rule has no name {error.args[0]!r}: {hint}{REMEDY}"
            ) from error
        except EngineError as error:
            raise ConfigurationError(f"routes.{self.name}.rule {self.rule!r}: {error.message}") from error
        except (*NO_NUMBER, RecursionError, MemoryError) as error:  # of what it says itself, computed when it is read
            raise ConfigurationError(
                f"routes.{self.name}.rule {self.rule!r} cannot be computed: {type(error).__name__}"
            ) from error

    @property
    def classes(self) -> frozenset[str]:
        """The classes whose probabilities the rule reads."""
        names = self._compiled.context.symbols
        return frozenset(name.removeprefix(PROBABILITY) for name in names if name.startswith(PROBABILITY))

    def decide(self, values: Mapping[str, Any]) -> Decision:
        """What the rule says of these values, by ``values_of``."""
        try:
            return Decision.ROUTED if self._compiled.matches(values) else Decision.NOT_ROUTED
        except (EvaluationError, RecursionError, *NO_NUMBER):
            return Decision.UNDECIDED


def _type_of(name: str) -> Any:
    if name.startswith(PROBABILITY) and len(name) > len(PROBABILITY):
        return _NUMBER
    return NAMES[name]
