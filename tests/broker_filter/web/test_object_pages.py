"""Pages and query interface over real requests, without a network."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from night_of_objects import Service, answer
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from broker_filter.monitoring.http import application
from broker_filter.output.formats import as_json
from broker_filter.records import Accounts
from broker_filter.web.api import BURST, Api
from broker_filter.web.index import ObjectIndex
from broker_filter.web.objects import Lobby, Objects
from broker_filter.web.pages import Pages
from broker_filter.web.rate_limit import RateLimit
from model.serving.card import load_card

SIDE_PX = load_card("ztf").size_px


def app(lobby: Lobby, limit: RateLimit | None = None) -> Starlette:
    """The application as a service has it, with the query interface."""
    api = Api(lobby, lambda: Accounts(10, 8, {"no_stamps": 1}, {"corrupt": 1}), limit or RateLimit(1e6, 10**6))
    return application({}, None, [*Pages(lobby).routes(), *api.routes()])


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[TestClient]:
    """Somebody who asks."""
    with TestClient(app(service.lobby)) as asking:
        yield asking


class _Links(HTMLParser):
    """Everything that a page would load or go to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.inline_scripts = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "script" and values.get("type") != "application/json" and "src" not in values:
            self.inline_scripts += 1
        self.inline_scripts += any(name.startswith("on") for name in values)
        self.loaded += [str(values[name]) for name in ("src",) if name in values]
        self.loaded += [str(values["href"])] if tag == "link" else []


@pytest.mark.parametrize("path", ["/objects", "/object/{}", "/api", "/object/none", "/objects?class=x&ra=1"])
def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline(
    client: TestClient, service: Service, path: str
) -> None:
    """Every file that a page needs is the service's own, and is there."""
    answer = client.get(path.format(service.longest))
    page = _Links()
    page.feed(answer.text)
    assert page.inline_scripts == 0 and "script-src 'self'" in answer.headers["content-security-policy"]
    for address in page.loaded:
        assert address.startswith("/static/") and client.get(address).status_code == 200


def test_list_shows_and_filters_objects(client: TestClient, service: Service) -> None:
    """The list has every object, a search for one leads to its page, and a wrong value is named beside the list."""
    page = client.get("/objects").text
    assert all(name in page for name in service.answers)
    best = service.answers[service.longest][-1].best
    assert service.longest in client.get("/objects", params={"class": best, "min_probability": "0"}).text
    assert "No object meets" in client.get("/objects?max_magnitude=1").text
    assert set(re.findall(r"<option>(\w+)</option>", page)) >= {*load_card("ztf").classes, "Asteroid", "Bogus"}
    to_object = client.get("/objects", params={"id": service.longest}, follow_redirects=False)
    assert to_object.status_code == 303 and to_object.headers["location"] == f"/object/{service.longest}"
    beyond = client.get("/objects", params={"id": service.longest, "offset": 1}, follow_redirects=False)
    assert beyond.status_code == 200  # the one object is on the page before
    wrong = client.get("/objects?min_probability=2")
    assert wrong.status_code == 422 and "min_probability: Input should be less than or equal to 1" in wrong.text


def test_object_page_holds_its_story(client: TestClient, service: Service) -> None:
    """The page carries every answer, light curve and alert with stamps; the same come when its script asks for news."""
    page = client.get(f"/object/{service.longest}").text
    (embedded,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data = orjson.loads(embedded)
    assert data == client.get(f"/object/{service.longest}/data").json()
    answers = service.answers[service.longest]
    assert [one["alertId"] for one in data["classifications"]] == [str(one.alert_id) for one in answers]
    assert [one["mjd"] for one in data["lightCurve"]] == sorted(one["mjd"] for one in data["lightCurve"])
    assert set(data["stamps"]) == {str(one.alert_id) for one in answers if one.probabilities}
    assert {point["kind"] for point in data["lightCurve"]} >= {"stamp"}


def test_stamps_are_pictures(client: TestClient, service: Service) -> None:
    """Each kind of stamp is a PNG of the size that the network reads; what is not there is 404."""
    import io

    alert_id = service.answers[service.longest][-1].alert_id
    for kind in ("science", "template", "difference"):
        answer = client.get(f"/object/{service.longest}/stamps/{alert_id}/{kind}.png")
        assert Image.open(io.BytesIO(answer.content)).size == (SIDE_PX, SIDE_PX)
    assert client.get(f"/object/{service.longest}/stamps/1/science.png").status_code == 404
    assert client.get(f"/object/{service.longest}/stamps/{alert_id}/other.png").status_code == 404


def test_hostile_ids_are_only_text(client: TestClient) -> None:
    """Text from an address comes back escaped, wherever it stands."""
    for path in ("/object/%3Cscript%3Ealert(1)%3C%2Fscript%3E", "/objects?id=%3Cscript%3Ealert(1)%3C%2Fscript%3E"):
        assert "<script>alert" not in client.get(path).text
    assert client.get("/objects?id=' OR 1=1 --").status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/object/{}/stamps/" + "9" * 5000 + "/science.png", 404),
        ("/object/{}/stamps/" + "9" * 19 + "/science.png", 404),
        ("/api/objects/{}/stamps/" + "9" * 5000, 404),
        ("/api/objects?min_alerts=" + "9" * 19, 422),
        ("/objects?min_alerts=" + "9" * 19, 422),
        ("/api/objects?min_unknown=nan", 200),
        ("/api/objects?ra=nan&dec=0", 422),
    ],
)
def test_numbers_of_an_address_have_bounds(client: TestClient, service: Service, path: str, status: int) -> None:
    """A number that is too large for anything is the asker's fault, and no failure of ours."""
    assert client.get(path.format(service.longest)).status_code == status


def test_pages_show_only_signs_that_can_be_seen(service: Service, tmp_path: Path) -> None:
    """An id with an escape sequence, or with marks that turn the direction of writing, is shown with its escapes."""
    hostile = "ZTF\x1b[2J\x9b\u202e<b>"
    index, lobby = ObjectIndex(tmp_path / "objects.sqlite"), Lobby()
    index.enter([answer(hostile)])
    index.flush()
    lobby.introduce(Objects(index, service.store, {"ztf": ()}, ["SNIa", "AGN"], service.objects.taxonomy))
    with TestClient(app(lobby)) as asking:
        pages = [
            asking.get(path).text for path in ("/objects", f"/object/{quote(hostile)}", f"/object/x{quote(hostile)}")
        ]
    index.close()
    for page in pages:
        assert page.replace("\n", "").isprintable()
        assert r"ZTF\x1b[2J\x9b\u202e&lt;b&gt;" in page


def test_api_lists_pages_and_cones(client: TestClient, service: Service) -> None:
    """Pages follow each other to the end without a gap; a cone about an object finds it, one beside it does not."""
    names, address = [], "/api/objects?limit=2&order=alerts"
    while address:
        page = client.get(address).json()
        names += [one["objectId"] for one in page["objects"]]
        address = page["next"]
    assert sorted(names) == sorted(service.answers) and page["total"] == len(service.answers)
    one = client.get(f"/api/objects/{service.longest}").json()
    inside = client.get("/api/objects", params={"ra": one["ra"], "dec": one["dec"], "radius": 2}).json()
    assert service.longest in [values["objectId"] for values in inside["objects"]]
    outside = client.get("/api/objects", params={"ra": one["ra"], "dec": -one["dec"], "radius": 2}).json()
    assert outside == {"total": 0, "offset": 0, "next": None, "objects": []}


def test_api_gives_an_object_as_it_was_published(client: TestClient, service: Service) -> None:
    """The classifications of an object are the output's own records."""
    answers = sorted(service.answers[service.longest], key=lambda one: one.time_mjd)
    one = client.get(f"/api/objects/{service.longest}").json()
    assert one["classifications"] == [orjson.loads(orjson.dumps(as_json(answer))) for answer in answers]
    assert [link["name"] for link in one["links"]][:3] == ["ALeRCE", "Fink", "Lasair"]
    stamps = client.get(f"/api/objects/{service.longest}/stamps/{answers[-1].alert_id}").json()
    assert stamps["unit"] == "nJy" and [len(rows) for rows in stamps["stamps"].values()] == [SIDE_PX] * 3


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/objects/none", 404, "not seen that object"),
        ("/api/objects?ra=5", 422, "a cone needs ra and dec"),
        ("/api/objects?limit=501", 422, "limit: Input should be less than or equal to 500"),
        ("/api/objects?radius=nan&ra=1&dec=1", 422, "radius"),
        ("/api/objects?clas=AGN", 422, "clas: Extra inputs are not permitted"),
        ("/api/objects/{}/stamps/-121540793515135009", 404, "holds no stamps of alert -121540793515135009"),
        ("/api/alerts", 422, "ids: Field required"),
        ("/api/alerts?ids=1,x", 422, "ids: String should match"),
        ("/api/alerts?ids=" + ",".join(["1"] * 101), 422, "ids: String should match"),
    ],
)
def test_api_says_what_is_wrong(client: TestClient, service: Service, path: str, status: int, words: str) -> None:
    """A wrong request names its parameter and the limit."""
    answer = client.get(path.format(service.longest))
    assert answer.status_code == status and words in answer.json()["error"]


def test_api_finds_alerts_by_id(client: TestClient, service: Service) -> None:
    """Answers to any alerts come in order of time, as they were published; ids of nobody are left out."""
    wanted = [answers[-1] for answers in service.answers.values()]
    ids = ",".join(str(one.alert_id) for one in wanted)
    classifications = client.get(f"/api/alerts?ids={ids},7,-7,{10**19 - 1}").json()["classifications"]
    in_time = sorted(wanted, key=lambda one: one.time_mjd)
    assert classifications == [orjson.loads(orjson.dumps(as_json(one))) for one in in_time]


def test_api_is_read_only(client: TestClient) -> None:
    """Nothing can be written."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/api/objects").status_code == 405


def test_api_describes_itself(client: TestClient) -> None:
    """OpenAPI names every path and parameter, and the accounts are those of the service."""
    document = client.get("/api/openapi.json").json()
    assert document["openapi"] == "3.1.0" and len(document["paths"]) == 5
    names = {one["name"] for one in document["paths"]["/api/objects"]["get"]["parameters"]}
    assert {"class", "ra", "dec", "radius", "limit", "offset", "changed"} <= names
    assert "/api/objects/{object_id}" in client.get("/api").text
    assert client.get("/api/accounts").json()["notClassified"] == {"no_stamps": 1}


def test_api_limits_the_rate_of_a_client(service: Service) -> None:
    """A client that asks too often is told how long to wait; after that it is answered again."""
    now = [0.0]
    with TestClient(app(service.lobby, RateLimit(10.0, 3, lambda: now[0]))) as client:
        assert [client.get("/api/accounts").status_code for _ in range(4)] == [200, 200, 200, 429]
        assert client.get("/api/accounts").headers["retry-after"] == "1"
        now[0] += 0.1
        assert client.get("/api/accounts").status_code == 200
    assert BURST > 3


def test_rate_limit_keeps_few_clients_and_no_grudge() -> None:
    """Each address has its own bucket; those forgotten begin with a full one."""
    now = [0.0]
    limit = RateLimit(1.0, 1, lambda: now[0])
    assert limit.wait_s("a") == 0 and limit.wait_s("b") == 0 and limit.wait_s("a") == pytest.approx(1.0)
    for n in range(5000):
        limit.wait_s(str(n))
    assert limit.wait_s("a") == 0


def test_pages_wait_for_the_service_to_start() -> None:
    """Before the store is open, pages and interface say so and when to come again."""
    with TestClient(app(Lobby())) as client:
        assert client.get("/objects").status_code == client.get("/api/objects").status_code == 503
        assert client.get("/objects").headers["retry-after"] == "5"
