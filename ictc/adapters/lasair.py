"""Lasair: the newest classification of each object of an output topic, as an annotation.

Annotations go out in batches through Lasair's own client, at a limited rate, again where Lasair was busy or away; what
Lasair accepted is committed in Kafka, so that a restart goes on where it ended. ``ictc lasair --help`` is its program.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ictc import Classification, ConfigurationError, FatalError, TopicReader, newest_of_each_object
from ictc.adapters import required
from ictc.command import add_common_options, guarded

TOKEN_VARIABLE = "LASAIR_TOKEN"  # noqa: S105 - the name of a variable
ENDPOINT = "https://api.lasair.lsst.ac.uk/api"
VERSION_LIMIT = 16  # characters, of Lasair
LASTING_REFUSALS = ("Bad Request", "Unauthorized", "HTTP return code 403", "HTTP return code 404")


class Client(Protocol):
    """What is used of ``lasair.lasair_client``."""

    def annotate_list(self, annotations: list[dict[str, Any]]) -> Mapping[str, Any]: ...


def annotation_of(classification: Classification, topic: str, url: str = "") -> dict[str, Any]:
    """What Lasair is told of a classification.

    Parameters
    ----------
    topic
        Name of the annotator, as Lasair's staff gave it.
    url
        Page about the object; ``{object_id}`` in it is replaced.

    Raises
    ------
    ValueError
        When the alert was not classified: Lasair takes no annotation without a class.
    """
    c = classification
    if c.best is None:
        raise ValueError(f"alert {c.alert_id} of {c.object_id} was not classified ({c.reason})")
    unknown = "" if c.unknown_score is None else f", unknown score {c.unknown_score:.1f}"
    return {
        "objectId": c.object_id,
        "topic": topic,
        "classification": c.best,
        "version": c.classifier_version[-VERSION_LIMIT:],
        "explanation": f"{c.best} {c.probabilities[c.best]:.2f} from {c.observation_count} stamps up to MJD "
        f"{c.time_mjd:.4f}{unknown}",
        "classdict": {
            **{name: round(probability, 4) for name, probability in c.probabilities.items()},
            "unknownScore": c.unknown_score,
            "nObservations": c.observation_count,
            "mjd": c.time_mjd,
            "alertId": str(c.alert_id),  # JavaScript would round it
            "classifier": c.classifier,
            "classifierVersion": c.classifier_version,
        },
        "url": url.format(object_id=c.object_id),
    }


@dataclass
class Annotator:
    """Sends annotations, patiently.

    Parameters
    ----------
    client
        A ``lasair.lasair_client``; None: a dry run, which counts and sends nothing.
    topic
        Name of the annotator, as Lasair's staff gave it.
    batch_limit
        Annotations in one request.
    requests_per_hour
        Most requests in an hour; Lasair gives 100 to a user with an account.
    retry_first_s, retry_longest_s, retry_limit
        Wait after the first refusal that may pass; it doubles, up to the longest; so many attempts in all.
    least_probability
        Of the best class; below it an object is left alone.
    """

    client: Client | None
    topic: str
    url: str = ""
    batch_limit: int = 200
    requests_per_hour: float = 90.0
    retry_first_s: float = 2.0
    retry_longest_s: float = 600.0
    retry_limit: int = 20
    least_probability: float = 0.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    sent_count: int = field(default=0, init=False)
    retry_count: int = field(default=0, init=False)
    _next_request_s: float = field(default=float("-inf"), init=False)

    def annotate(self, classifications: Iterable[Classification]) -> list[dict[str, Any]]:
        """Send the newest classification of each object; the annotations that were sent.

        Raises
        ------
        FatalError
            When Lasair refuses for good (a wrong token, an unknown topic), or is away longer than the retries last.
        """
        annotations = [
            annotation_of(one, self.topic, self.url)
            for one in newest_of_each_object(classifications)
            if one.best is not None and one.probabilities[one.best] >= self.least_probability
        ]
        for first in range(0, len(annotations), self.batch_limit):
            batch = annotations[first : first + self.batch_limit]
            if self.client is not None:
                self._send(self.client, batch)
            self.sent_count += len(batch)
        return annotations

    def _send(self, client: Client, batch: list[dict[str, Any]]) -> None:
        wait_s = self.retry_first_s
        for _ in range(self.retry_limit):
            self._keep_to_the_rate()
            if (refusal := _refusal(client, batch)) is None:
                return
            if refusal.startswith(LASTING_REFUSALS):
                raise FatalError(f"Lasair refuses {len(batch)} annotations of {self.topic}: {refusal}")
            self.retry_count += 1
            self.sleep(wait_s)
            wait_s = min(2 * wait_s, self.retry_longest_s)
        raise FatalError(f"Lasair did not take {len(batch)} annotations in {self.retry_limit} attempts: {refusal}")

    def _keep_to_the_rate(self) -> None:
        now_s = self.clock()
        if now_s < self._next_request_s:
            self.sleep(self._next_request_s - now_s)
        self._next_request_s = max(now_s, self._next_request_s) + 3600.0 / self.requests_per_hour


def _refusal(client: Client, batch: list[dict[str, Any]]) -> str | None:
    """Why Lasair did not take a batch; None when it did."""
    errors = (required("lasair", "lasair").LasairError, OSError)  # requests' errors are OSErrors
    try:
        answer = client.annotate_list(batch)
    except errors as error:
        return str(getattr(error, "message", error)) or type(error).__name__
    return str(answer["error"]) if "error" in answer else None


def open_client(endpoint: str = ENDPOINT, timeout_s: float = 60.0) -> Client:
    """Lasair's client, with the token of the variable LASAIR_TOKEN.

    Raises
    ------
    ConfigurationError
        When the variable or the library is absent.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise ConfigurationError(f"set {TOKEN_VARIABLE} to the token of your Lasair account")
    client: Client = required("lasair", "lasair").lasair_client(token, endpoint=endpoint, timeout=timeout_s)
    return client


def parser() -> argparse.ArgumentParser:
    """Options of ``ictc lasair``."""
    p = argparse.ArgumentParser("ictc-lasair", description="Annotate objects in Lasair with their classes.")
    p.add_argument("--brokers", default="127.0.0.1:9092", metavar="HOST:PORT,...", help="where our output topic is")
    p.add_argument("--topic", required=True, action="append", metavar="TOPIC", help="output topic; may be repeated")
    p.add_argument("--group", default="ictc-lasair", help="consumer group (default: %(default)s)")
    p.add_argument("--annotator", required=True, metavar="NAME", help="topic that Lasair's staff gave you")
    p.add_argument("--endpoint", default=ENDPOINT, metavar="URL", help="Lasair's API (default: %(default)s)")
    p.add_argument("--url", default="", metavar="URL", help="page about an object; {object_id} is replaced")
    p.add_argument("--least-probability", type=float, default=0.0, metavar="P", help="of the best class (default: 0)")
    p.add_argument("--requests-per-hour", type=float, default=90.0, metavar="N", help="(default: %(default)s)")
    p.add_argument("--batch", type=int, default=200, metavar="N", help="annotations a request (default: %(default)s)")
    p.add_argument("--wait-s", type=float, default=30.0, metavar="SECONDS", help="gather for (default: %(default)s)")
    p.add_argument("--idle-exit-s", type=float, metavar="SECONDS", help="end after so long without a message")
    p.add_argument("--dry-run", action="store_true", help="print annotations as JSON lines, send nothing")
    add_common_options(p)
    return p


@guarded("ictc-lasair", ConfigurationError, failed=(FatalError,))
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the annotator; 0 at the end, 1 when Lasair or Kafka refuses, 2 for a wrong setting."""
    options = parser().parse_args(arguments)
    annotator = Annotator(
        None if options.dry_run else open_client(options.endpoint),
        options.annotator,
        options.url,
        options.batch,
        options.requests_per_hour,
        least_probability=options.least_probability,
    )
    # A dry run has a group of its own and so leaves the real one's place alone.
    group = f"{options.group}-dry-run" if options.dry_run else options.group
    with TopicReader(options.brokers, options.topic, group) as reader:
        for batch in reader.batches(10 * options.batch, options.wait_s, options.idle_exit_s):
            annotations = annotator.annotate(batch)
            if options.dry_run:
                for annotation in annotations:
                    print(json.dumps(annotation))
    print(f"ictc-lasair: {annotator.sent_count} annotations, {reader.unreadable_count} unreadable", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
