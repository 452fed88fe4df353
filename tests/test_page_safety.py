import base64
import io
import zipfile

import numpy as np
import pytest
from pages import DARK, LIGHT, begin, client, encoded, grey, shown
from PIL import Image

from quickstudy.page.safe import Limits, Refused, decoded

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture
def page():
    with client() as one:
        yield one


def goes_on(page, own) -> bool:
    return page.post("/api/predict", json={"queries": [grey(1)]}, headers=own).status_code == 200


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as inside:
        inside.writestr("run.js", "alert(1)")
    return file.getvalue()


def photograph(kind: str = "JPEG") -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return base64.b64decode(encoded(Image.fromarray(noise), kind))


HOSTILE = {
    "a 200-megapixel bomb": (lambda: encoded(Image.new("1", (20_000, 10_000))), 413, "pixels, and 25,000,000 in all"),
    "a 30-megapixel bomb": (lambda: encoded(Image.new("1", (6_000, 5_000))), 413, "has 6,000 x 5,000 pixels"),
    "a PNG that is a zip": (lambda: base64_of(photograph("PNG") + archive()), 415, "bytes behind its picture"),
    "a JPEG that is a zip": (lambda: base64_of(photograph() + archive()), 415, "bytes behind its picture"),
    "a zip": (lambda: base64_of(archive()), 415, "is no PNG or JPEG picture"),
    "a page": (lambda: base64_of(b"<svg onload=alert(1)>"), 415, "is no PNG or JPEG picture"),
    "half a PNG": (lambda: base64_of(photograph("PNG")[:-40]), 415, "cut short"),
    "half a JPEG": (lambda: base64_of(photograph()[:-40]), 415, "cut short"),
    "a broken PNG": (lambda: base64_of(photograph("PNG")[:60] + b"?" + photograph("PNG")[61:]), 415, "is a broken"),
    "a GIF": (lambda: base64_of(photograph("GIF")), 415, "is no PNG or JPEG picture"),
    "no base64": (lambda: "pictures/cat.png", 422, "is not base64"),
    "beyond ASCII": (lambda: "ä" * 8, 422, "is not base64"),
    "many bytes": (lambda: base64_of(bytes(4_000_001)), 413, "has 4,000,001 bytes, and 4,000,000 are allowed"),
}


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_while_a_second_session_goes_on(page, name):
    make, status, why = HOSTILE[name]
    content, mine, other = make(), begin(page), begin(page)
    page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=other)
    refused = page.post("/api/adapt", json={"examples": [*DARK, *shown("bad", content)]}, headers=mine)
    assert refused.status_code == status
    assert "example 2 " in refused.json()["detail"]
    assert why in refused.json()["detail"]
    assert goes_on(page, other)
    assert page.post("/api/adapt", json={"examples": LIGHT}, headers=mine).json()["classes"] == {"light": 2}


def test_whole_pictures_are_taken():
    for kind in ("PNG", "JPEG"):
        image, data = decoded(base64_of(photograph(kind)), "one", Limits())
        assert (image.size, data) == ((60, 40), photograph(kind))
    progressive = io.BytesIO()
    Image.open(io.BytesIO(photograph())).save(progressive, "JPEG", progressive=True, restart_marker_blocks=2)
    assert decoded(base64_of(progressive.getvalue()), "one", Limits())[0].size == (60, 40)


def test_a_large_photograph_is_decoded_small():
    for image, kind in ((Image.new("RGB", (4000, 3000)), "JPEG"), (Image.new("P", (4000, 3000)), "PNG")):
        assert decoded(encoded(image, kind), "one", Limits())[0].size == (384, 288)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_no_damage_to_a_file_does_more_than_refuse_it(kind):
    draw, whole, refused = np.random.default_rng(0), np.frombuffer(photograph(kind), dtype=np.uint8), []
    for _ in range(300):
        damaged = whole.copy()
        places = draw.integers(2, len(whole), draw.integers(1, 6))
        damaged[places] = draw.integers(0, 256, len(places))
        try:
            decoded(base64_of(damaged.tobytes()), "one", Limits())
        except Refused as error:
            refused.append(error.status)
    assert len(refused) > 30
    assert set(refused) <= {413, 415}


def test_ten_thousand_files_are_refused_while_a_second_session_goes_on(page):
    mine, other = begin(page), begin(page)
    page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=other)
    refused = page.post("/api/adapt", json={"examples": 10_000 * DARK[:1]}, headers=mine)
    assert refused.status_code == 413
    assert "at most 600 items" in refused.json()["detail"]
    forms = [("files", (f"{number}.png", b"x", "image/png")) for number in range(10_000)]
    refused = page.post("/api/adapt", files=forms, headers=mine)
    assert refused.status_code == 415
    assert "takes JSON" in refused.json()["detail"]
    assert goes_on(page, other)


def test_examples_classes_and_queries_are_counted(page):
    own = begin(page)
    page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own)
    for examples, why in (
        (shown("dark", *[grey(1, seed) for seed in range(9)]), "class 'dark' would have 11 examples, and 10 are"),
        ([one for number in range(19) for one in shown(f"class {number}", grey(9))], "there would be 21 classes"),
    ):
        refused = page.post("/api/adapt", json={"examples": examples}, headers=own)
        assert (refused.status_code, why in refused.json()["detail"]) == (413, True)
    refused = page.post("/api/predict", json={"queries": 21 * [grey(1)]}, headers=own)
    assert (refused.status_code, "at most 20 items" in refused.json()["detail"]) == (413, True)
    assert page.post("/api/forget", json={"examples": []}, headers=own).json()["classes"] == {"dark": 2, "light": 2}


def test_a_body_that_is_too_large_is_refused_whatever_it_says_of_itself():
    with client(limits=Limits(body_bytes=2000)) as page:
        own = begin(page) | {"Content-Type": "application/json"}
        for content in (b" " * 2001, iter([b" " * 1500, b" " * 1500])):
            refused = page.post("/api/adapt", content=content, headers=own)
            assert (refused.status_code, "2,000 bytes at most" in refused.json()["detail"]) == (413, True)


def test_odd_json_is_refused(page):
    own = begin(page) | {"Content-Type": "application/json"}
    for content in (b"[" * 100_000, b"{", b'{"examples": [{"label": "\\ud800", "content": "x"}]}', b"", b"\xff\xfe"):
        found = page.post("/api/adapt", content=content, headers=own)
        assert found.status_code in (400, 422)
        assert isinstance(found.json()["detail"], str)


def test_a_wrong_token_is_refused_while_a_second_session_goes_on():
    with client(token=TOKEN) as page:
        right = {"Authorization": f"Bearer {TOKEN}"}
        own = right | {"X-Session": page.post("/api/sessions", headers=right).json()["session"]}
        page.post("/api/adapt", json={"examples": DARK + LIGHT}, headers=own)
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {TOKEN}x"}):
            for path in ("/api/sessions", "/api/adapt", "/api/predict", "/api/forget"):
                refused = page.post(path, json={}, headers=own | {"Authorization": ""} | given)
                assert refused.status_code == 401
                assert refused.headers["www-authenticate"] == "Bearer"
            assert page.get("/api/task", headers=own | {"Authorization": ""} | given).status_code == 401
        assert goes_on(page, own)
        assert page.get("/", headers={"Host": "example.org"}).status_code == 200


def test_other_sites_reach_neither_the_page_nor_the_api(page):
    for host in ("example.org", "example.org:8000", "", "127.0.0.1.example.org", "[::1"):
        refused = page.get("/", headers={"Host": host})
        assert (refused.status_code, "name of this machine" in refused.json()["detail"]) == (400, True)
    for host in ("localhost:8000", "[::1]:8000", "127.0.0.1"):
        assert page.get("/", headers={"Host": host}).status_code == 200
    refused = page.post("/api/sessions", headers={"Sec-Fetch-Site": "cross-site"})
    assert (refused.status_code, refused.json()["detail"]) == (403, "this request comes from the page of another site.")
    plain = page.post("/api/adapt", content="{}", headers={"Content-Type": "text/plain"})
    assert (plain.status_code, "not 'text/plain'" in plain.json()["detail"]) == (415, True)
