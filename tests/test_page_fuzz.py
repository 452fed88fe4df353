"""The HTTP API, fuzzed from its own OpenAPI description: no server error, and no answer that it does not describe."""

from functools import partial

import schemathesis
from hypothesis import HealthCheck, settings
from pages import DARK, LIGHT, PICTURES, TEXTS, shown
from starlette.testclient import TestClient

from quickstudy.page.app import create_app
from quickstudy.page.safe import Limits
from quickstudy.page.task import Task

CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]
EXAMPLES = {"pictures": DARK + LIGHT, "texts": [*shown("short", "a", "ab"), *shown("long", 20 * "a", 25 * "b")]}
HERE = {"Host": "127.0.0.1"}


class Exporting(Task):
    def graph(self) -> bytes:
        self.learned()
        return b"graph"


APPS = {
    kind: create_app(ready, limits=Limits(sessions=100_000))
    for kind, ready in (("pictures", PICTURES), ("texts", TEXTS))
}
for app in APPS.values():  # which is tested elsewhere, and takes seconds
    app.state.server.sessions.new = partial(Exporting, *app.state.server.sessions.new.args)
quick = settings(max_examples=8, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def fuzz(case, kind: str) -> None:
    """Sends a request as it was made up, and as one of a session that has learned something."""
    page = TestClient(APPS[kind], headers=HERE)
    own = {"X-Session": page.post("/api/sessions").json()["session"]}
    assert page.post("/api/adapt", json={"examples": EXAMPLES[kind]}, headers=own).json()["ready"]
    for headers in (HERE, HERE | own):
        case.headers.update(headers)
        response = case.call()
        case.validate_response(response, checks=CHECKS)


pictures = schemathesis.openapi.from_asgi("/openapi.json", APPS["pictures"], headers=HERE)
texts = schemathesis.openapi.from_asgi("/openapi.json", APPS["texts"], headers=HERE)


@pictures.parametrize()
@quick
def test_nothing_that_is_sent_to_a_page_of_pictures_makes_it_fail(case):
    fuzz(case, "pictures")


@texts.parametrize()
@quick
def test_nothing_that_is_sent_to_a_page_of_texts_makes_it_fail(case):
    fuzz(case, "texts")
