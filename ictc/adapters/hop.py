"""SCiMMA's Hopskotch: publish the classifications of an output topic, and read them from Hopskotch.

Messages are JSON with the fields of our output schema, so that ``hop subscribe`` prints what it gets. What Hopskotch
has taken is committed in Kafka. ``ictc hop --help`` is the program; credentials are those that ``hop auth`` keeps.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from ictc import Classification, ConfigurationError, FatalError, TopicReader, as_json, read_message
from ictc.adapters import required
from ictc.command import add_common_options, guarded


class Publisher:
    """Writes classifications to a Hopskotch topic.

    Parameters
    ----------
    url
        ``kafka://HOST[:PORT]/TOPIC``.
    auth
        True: the credentials of ``hop auth``; False: none; or ``hop.auth.Auth``.
    least_probability
        Of the best class; what is below it, or not classified, is not published.
    """

    def __init__(self, url: str, auth: Any = True, least_probability: float = 0.0) -> None:
        hop = required("hop", "hop")
        self._blob = required("hop.models", "hop").JSONBlob
        self._producer = hop.Stream(auth=auth).open(url, "w")
        self._least_probability = least_probability
        self._failures: list[str] = []
        self.sent_count = 0

    def publish(self, classifications: Iterable[Classification], test: bool = False) -> int:
        """Write them and wait until Hopskotch has them; the number that was written.

        Parameters
        ----------
        test
            Marked so that ordinary readers pass over them.

        Raises
        ------
        FatalError
            When one was not delivered.
        """
        count = 0
        for one in classifications:
            if one.best is None or one.probabilities[one.best] < self._least_probability:
                continue
            blob = self._blob(content=orjson.loads(orjson.dumps(as_json(one))))
            self._producer.write(blob, key=one.object_id, test=test, delivery_callback=self._note)
            count += 1
        self._producer.flush()
        if self._failures:
            raise FatalError(f"Hopskotch did not take {len(self._failures)} of {count}: {self._failures[0]}")
        self.sent_count += count
        return count

    def close(self) -> None:
        """End the connection."""
        self._producer.close()

    def _note(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._failures.append(str(error))


def subscribe(
    url: str, auth: Any = True, group: str | None = None, from_start: bool = False, until_end: bool = False
) -> Iterator[Classification]:
    """Classifications that somebody published with this adapter.

    Parameters
    ----------
    url
        ``kafka://HOST[:PORT]/TOPIC``.
    group
        Consumer group; None: a new one.
    from_start
        Where a new group begins: the topic's first message rather than what comes next.
    until_end
        End at the last message that is there, instead of waiting for more.
    """
    hop = required("hop", "hop")
    start = required("hop.io", "hop").StartPosition
    stream = hop.Stream(auth=auth, start_at=start.EARLIEST if from_start else start.LATEST, until_eos=until_end)
    with stream.open(url, "r", group_id=group) as messages:
        for blob in messages:
            yield read_message(orjson.dumps(blob.content))


def parser() -> argparse.ArgumentParser:
    """Options of ``ictc hop``."""
    p = argparse.ArgumentParser("ictc-hop", description="Publish classifications on SCiMMA's Hopskotch.")
    p.add_argument("url", metavar="kafka://HOST/TOPIC", help="where to, e.g. kafka://kafka.scimma.org/GROUP.TOPIC")
    p.add_argument("--brokers", default="127.0.0.1:9092", metavar="HOST:PORT,...", help="where our output topic is")
    p.add_argument("--topic", required=True, action="append", metavar="TOPIC", help="output topic; may be repeated")
    p.add_argument("--group", default="ictc-hop", help="consumer group (default: %(default)s)")
    p.add_argument("--no-auth", action="store_true", help="without the credentials of hop auth")
    p.add_argument("--least-probability", type=float, default=0.0, metavar="P", help="of the best class (default: 0)")
    p.add_argument("--idle-exit-s", type=float, metavar="SECONDS", help="end after so long without a message")
    p.add_argument("--test", action="store_true", help="mark messages as a test")
    add_common_options(p)
    return p


@guarded("ictc-hop", ConfigurationError, failed=(FatalError,))
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the publisher; 0 at the end, 1 when Hopskotch or Kafka refuses, 2 for a wrong setting."""
    options = parser().parse_args(arguments)
    publisher = Publisher(options.url, not options.no_auth, options.least_probability)
    with TopicReader(options.brokers, options.topic, options.group) as reader:
        for batch in reader.batches(wait_s=1.0, idle_limit_s=options.idle_exit_s):
            publisher.publish(batch, options.test)
    publisher.close()
    print(f"ictc-hop: {publisher.sent_count} published, {reader.unreadable_count} unreadable", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
