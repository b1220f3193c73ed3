"""The schema registry: Confluent's protocol over HTTP. What it answers for one id concerns one id.

This id's messages are rejected: 404 with a registry's own code; 400, 403 and other refusals; an answer without a
schema.
The operator's, the service stops: 401, 407, a login page, a redirect to another host, 404 or 403 to everything.
Tried again, not before the time that it asks for: 429, 5xx, no answer. An id that fails for long while others are
answered is rejected.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpx2 as httpx

from broker_filter.alerts.schema_source import RegisteredSchema
from broker_filter.avro.parse import MAX_SCHEMA_BYTES
from broker_filter.config import RegistrySettings
from broker_filter.errors import ConfigurationError, RejectedAlertError, Rejection, RetryableError
from broker_filter.http_answers import UNENCODED, UnacceptableAnswerError, certificates, content_of, wait_of
from broker_filter.secret import masked_address

REDIRECT_LIMIT = 5
ANSWER_LIMIT_BYTES = 2 * MAX_SCHEMA_BYTES  # JSON within JSON
REFERENCES_LIMIT = 64  # schemas that one schema names, all together
LONGEST_SUBJECT = 1_000  # characters; of a topic's name it has 255
LONGEST_WAIT_S = 60.0  # that a Retry-After is believed
WHOLE_ANSWER_TIMEOUTS = 3  # timeouts within which all of an answer is there
GIVE_UP_AFTER_S = 300.0  # of failures of one id, while the registry answers for others
JSON_TYPE = "application/vnd.schemaregistry.v1+json"
REGISTRY_CODES = range(40_400, 40_500)  # error_code of a registry that lacks something; a wrong path has 404 or none
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
_OUR_RIGHTS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED)
FAILURES = ("retry", "unknown", "refused")  # what ``on_failure`` is told


class _RefusalError(Exception):
    """An answer that is no success, and no failure that passes."""

    def __init__(self, status: int, code: int | None, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status, self.code = status, code


class _SilentError(RetryableError):
    """There was no answer at all."""


class Registry:
    """A client that asks once each time, and waits ``timeout_s`` for the next byte, three times that for all of them.

    It takes answers without a content encoding only: a kilobyte of another may be a gigabyte.

    Parameters
    ----------
    on_failure
        Called with a word for each answer that is no schema: ``unknown``, ``refused``, ``retry``.
    clock
        Monotonic seconds.

    Raises
    ------
    ConfigurationError
        When no registry is set, or its address is none.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        on_failure: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.url is None:
            raise ConfigurationError("registry.url is not set")
        self._base, self._shown = settings.url.rstrip("/") + "/", masked_address(settings.url)
        self._on_failure, self._clock = on_failure, clock
        login = None
        if settings.username is not None:
            login = (settings.username, settings.password.get_secret_value() if settings.password else "")
        self._open = partial(
            httpx.Client, auth=login, timeout=settings.timeout_s, follow_redirects=False, verify=certificates()
        )
        self._client = self._open()
        self._whole_answer_s = WHOLE_ANSWER_TIMEOUTS * settings.timeout_s
        self._query = dict(httpx.URL(settings.url).params)
        self._has_answered = False
        self._rest_s, self._away_until_s = settings.timeout_s, 0.0
        self._not_before_s: dict[int, float] = {}
        self._failing_since_s: dict[int, float] = {}

    def schema(self, schema_id: int) -> RegisteredSchema:
        """The schema of an id, with those that it names.

        Raises
        ------
        RejectedAlertError
            ``UNKNOWN_SCHEMA_ID`` when this id is not to be had, ``BAD_SCHEMA`` when it is no Avro schema.
        RetryableError
            When the registry does not answer for now.
        ConfigurationError
            When it refuses us, or is no registry.
        """
        if self._clock() < self._away_until_s:  # nobody waits for a timeout for each of many ids
            raise RetryableError(f"schema id {schema_id}: the registry at {self._shown} did not answer a moment ago")
        waited_for = self._not_before_s.get(schema_id, 0.0) - self._clock()
        if waited_for > 0:
            raise RetryableError(f"schema id {schema_id}: the registry asked us to wait {waited_for:.0f} s more")
        try:
            registered = self._registered(schema_id)
        except _RefusalError as error:
            raise self._of_one_id(schema_id, error) from error
        except RetryableError as error:
            self._on_failure("retry")
            raise self._still_failing(schema_id, error) from error
        self._has_answered = True
        self._failing_since_s.pop(schema_id, None)
        self._not_before_s.pop(schema_id, None)
        return registered

    def _registered(self, schema_id: int) -> RegisteredSchema:
        answer = self._ask("GET", f"schemas/ids/{schema_id}", schema_id=schema_id)
        if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
            raise RejectedAlertError(
                Rejection.BAD_SCHEMA, f"schema id {schema_id}: the registry answers without a schema"
            )
        kind = answer.get("schemaType") or "AVRO"
        if kind != "AVRO":
            raise RejectedAlertError(
                Rejection.BAD_SCHEMA, f"schema id {schema_id} is {_short(kind)}, only AVRO is read"
            )
        named: dict[tuple[str, int], str] = {}
        self._follow(answer.get("references") or [], named, schema_id)
        return RegisteredSchema(answer["schema"], tuple(named.values()))

    def _follow(self, references: Any, named: dict[tuple[str, int], str], schema_id: int, depth: int = 0) -> None:
        """Fetch what a schema names, the innermost first."""
        for reference in references if isinstance(references, list) else []:
            try:
                subject, version = str(reference["subject"]), int(reference["version"])
                path = f"subjects/{quote(subject, safe='')}/versions/{version}"
                if len(subject) > LONGEST_SUBJECT:
                    raise ValueError("a subject longer than any")
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise RejectedAlertError(
                    Rejection.BAD_SCHEMA,
                    f"schema id {schema_id}: a reference without subject or version: {_short(reference)}",
                ) from error
            if (subject, version) in named:
                continue
            if len(named) >= REFERENCES_LIMIT or depth >= REFERENCES_LIMIT:
                raise RejectedAlertError(
                    Rejection.TOO_LARGE, f"schema id {schema_id} names more than {REFERENCES_LIMIT} schemas"
                )
            answer = self._ask("GET", path, schema_id=schema_id)
            if not isinstance(answer, dict) or not isinstance(answer.get("schema"), str):
                raise RejectedAlertError(
                    Rejection.BAD_SCHEMA, f"schema id {schema_id}: {_short(subject)} has no schema"
                )
            self._follow(answer.get("references") or [], named, schema_id, depth + 1)
            named[subject, version] = answer["schema"]

    def _of_one_id(self, schema_id: int, error: _RefusalError) -> RejectedAlertError | ConfigurationError:
        """What a refusal means: this id's matter where the registry knows the address and us, else the operator's."""
        own_code = error.code is not None and error.code in REGISTRY_CODES
        if not own_code and not self._has_answered and (wrong := self._wrong_address()) is not None:
            return wrong
        missing = error.status == HTTPStatus.NOT_FOUND
        self._on_failure("unknown" if missing else "refused")
        what = "is not known to the registry" if missing else f"is refused by the registry ({error})"
        return RejectedAlertError(Rejection.UNKNOWN_SCHEMA_ID, f"schema id {schema_id} {what}")

    def _wrong_address(self) -> ConfigurationError | None:
        try:
            self.subjects()
        except ConfigurationError as error:
            return error
        except RetryableError:
            return None
        return None

    def _still_failing(self, schema_id: int, error: RetryableError) -> RetryableError | RejectedAlertError:
        """Give an id up that fails for long while the registry answers for others; an outage is nobody's fault.

        Where neither this nor something else has an answer at all, nothing is asked for a while.
        """
        since_s = self._failing_since_s.setdefault(schema_id, self._clock())
        is_silent, is_long = isinstance(error, _SilentError), self._clock() - since_s >= GIVE_UP_AFTER_S
        if not (is_silent or is_long):
            return error
        try:
            self.subjects()
        except (RetryableError, ConfigurationError) as other:
            if is_silent and isinstance(other, _SilentError):
                self._away_until_s = self._clock() + self._rest_s
            return error
        if not is_long:
            return error
        self._failing_since_s.pop(schema_id)
        self._on_failure("refused")
        return RejectedAlertError(
            Rejection.UNKNOWN_SCHEMA_ID,
            f"schema id {schema_id}: the registry fails for it for {GIVE_UP_AFTER_S:.0f} s, and answers others: "
            f"{error}",
        )

    def subjects(self) -> int:
        """How many subjects the registry has.

        Raises
        ------
        ConfigurationError
            It refuses us, or is no registry.
        RetryableError
            It does not answer.
        """
        try:
            answer = self._ask("GET", "subjects")
        except _RefusalError as error:
            raise ConfigurationError(f"registry.url {self._shown} is no schema registry of ours: {error}") from error
        if not isinstance(answer, list):
            raise ConfigurationError(f"registry.url {self._shown} is no schema registry: no list of subjects")
        return len(answer)

    def register(self, subject: str, schema: str) -> int:
        """Register a schema; its id, the same each time.

        Raises
        ------
        ConfigurationError
            When the registry refuses it.
        RetryableError
            When it does not answer.
        """
        try:
            answer = self._ask("POST", f"subjects/{quote(subject, safe='')}/versions", {"schema": schema})
        except _RefusalError as error:
            raise ConfigurationError(
                f"the schema registry refuses our schema: {error}; register it yourself and give output.schema_id"
            ) from error
        if not isinstance(answer, dict) or type(answer.get("id")) is not int:
            raise ConfigurationError(f"registry.url {self._shown} is no schema registry: it answers without an id")
        return answer["id"]

    def _ask(self, method: str, path: str, body: Any = None, schema_id: int | None = None) -> Any:
        """One question, with redirects on the same host; the answer's JSON."""
        address = urljoin(self._base if not self._query else self._base.partition("?")[0].rstrip("/") + "/", path)
        for _ in range(REDIRECT_LIMIT):
            answer, content = self._send(method, address, body)
            if not answer.has_redirect_location:
                return self._read(answer, content, schema_id)
            address = self._redirected(address, answer.headers["location"])
        raise ConfigurationError(f"registry.url {self._shown} redirects more than {REDIRECT_LIMIT} times")

    def _send(self, method: str, address: str, body: Any) -> tuple[httpx.Response, bytes]:
        """One request, whose whole answer has a time: ``timeout_s`` begins anew with each byte."""
        too_slow = threading.Event()
        client = self._client

        def give_up() -> None:
            too_slow.set()
            client.close()  # which ends the reading of its answer

        timer = threading.Timer(self._whole_answer_s, give_up)
        timer.daemon = True
        timer.start()
        try:
            return self._exchange(method, address, body)
        except Exception as error:
            if not too_slow.is_set():
                raise
            raise _SilentError(
                f"the registry at {self._shown} has not answered as a whole within {self._whole_answer_s:g} s"
            ) from error
        finally:
            timer.cancel()
            if too_slow.is_set():
                self._client = self._open()

    def _exchange(self, method: str, address: str, body: Any) -> tuple[httpx.Response, bytes]:
        headers = {"Accept": f"{JSON_TYPE}, application/json", "Content-Type": JSON_TYPE, **UNENCODED}
        try:
            with self._client.stream(method, address, params=self._query, headers=headers, json=body) as answer:
                try:
                    return answer, content_of(answer, ANSWER_LIMIT_BYTES)
                except UnacceptableAnswerError as error:
                    raise _RefusalError(answer.status_code, None, str(error)) from error
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"registry.url {self._shown}: {error}") from error
        except (httpx.HTTPError, OSError) as error:
            raise _SilentError(f"the registry at {self._shown} does not answer: {type(error).__name__}") from error

    def _redirected(self, address: str, location: str) -> str:
        try:
            target = urljoin(address, location)
            old, new = urlsplit(address), urlsplit(target)
        except ValueError as error:
            raise ConfigurationError(
                f"registry.url {self._shown} sends us to {_short(location)}, which is no address: {error}"
            ) from error
        if new.hostname != old.hostname or new.scheme not in ("https", old.scheme):
            raise ConfigurationError(
                f"registry.url {self._shown} sends us to {new.scheme}://{new.hostname}: a login page, or a registry "
                "that moved; give its own address in registry.url"
            )
        return target

    def _read(self, answer: httpx.Response, content: bytes, schema_id: int | None) -> Any:
        status = answer.status_code
        if status in _OUR_RIGHTS:
            raise ConfigurationError(
                f"the schema registry at {self._shown} refuses us ({status}): check registry.username and .password"
            )
        if status in _TRY_AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._remember_wait(answer, schema_id)
            raise RetryableError(f"the registry at {self._shown} answers {status}")
        is_page = answer.headers.get("content-type", "").lower().startswith("text/html")
        if is_page and status == HTTPStatus.OK:
            raise ConfigurationError(
                f"registry.url {self._shown} answers with a web page, perhaps a login: give the registry's own address"
            )
        try:
            fields = httpx.Response(200, content=content).json()
        except (ValueError, RecursionError) as error:
            if status == HTTPStatus.OK:
                raise _RefusalError(status, None, "an answer that is no JSON") from error
            fields = None
        if status != HTTPStatus.OK:
            code, text = (fields.get("error_code"), fields.get("message")) if isinstance(fields, dict) else (None, None)
            raise _RefusalError(status, code if type(code) is int else None, str(text or answer.reason_phrase)[:200])
        return fields

    def _remember_wait(self, answer: httpx.Response, schema_id: int | None) -> None:
        if schema_id is not None and (pause_s := wait_of(answer.headers, LONGEST_WAIT_S)) is not None:
            self._not_before_s[schema_id] = self._clock() + pause_s

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _short(value: object) -> str:
    """What a registry says, as text that no log or header has to fear."""
    return ascii(value)[:80]
