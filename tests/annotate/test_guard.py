"""Nobody but the user's own browser gets an answer."""

from __future__ import annotations

import pytest
from labelling import ADDRESS, TOKEN
from starlette.testclient import TestClient

from detfinetune.annotate.server import build_app
from detfinetune.annotate.store import LabelStore


@pytest.fixture
def stranger(store: LabelStore) -> TestClient:
    """A client without the token."""
    return TestClient(build_app(store, TOKEN, cookie="own"), base_url=ADDRESS)


@pytest.mark.parametrize(
    "path", ["/", "/page/main.js", "/api/images", "/api/none", "/?token=guess"]
)
def test_without_the_token_nothing_is_served(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 403
    assert answer.json()["error"].startswith("The token is missing or wrong. Open the address")


def test_the_address_with_the_token_opens_the_page_and_leaves_a_cookie(
    stranger: TestClient,
) -> None:
    entrance = stranger.get(f"/?token={TOKEN}", follow_redirects=False)
    assert (entrance.status_code, entrance.headers["location"]) == (303, "/")
    cookie = entrance.headers["set-cookie"]
    assert cookie.startswith(f"own={TOKEN};")
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    page = stranger.get("/")
    assert page.status_code == 200
    assert "<title>" in page.text
    assert stranger.get("/page/main.js").status_code == 200


@pytest.mark.parametrize("value", ["own=guess", "other=" + TOKEN, "own", "\xff=\xff;;"])
def test_another_cookie_is_not_enough(stranger: TestClient, value: str) -> None:
    answer = stranger.get("/api/images", headers={"Cookie": value.encode("latin-1")})  # type: ignore[dict-item]
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8123", 200), ("localhost:9000", 200), ("[::1]:8123", 200), ("LOCALHOST", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example:8123", 403), ("", 403), ("[", 403),
        ("evil@127.0.0.1", 403),
    ],
)  # fmt: skip
def test_only_names_of_this_machine_are_answered(
    client: TestClient, host: str, status: int
) -> None:
    answer = client.get("/api/classes", headers={"Host": host})
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"].endswith("Open it as 127.0.0.1 or localhost.")


@pytest.mark.parametrize(
    ("origin", "status"),
    [(ADDRESS, 200), ("http://127.0.0.1:9999", 403), ("https://evil.example", 403), ("null", 403)],
)
def test_pages_of_other_sites_and_ports_are_refused(
    client: TestClient, origin: str, status: int
) -> None:
    answer = client.post("/api/classes", json={"name": "x"}, headers={"Origin": origin})
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_a_preflight_of_another_site_is_refused(client: TestClient) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "PUT"}
    assert client.options("/api/classes/0", headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/", "/api/images", "/page/main.js", "/none"])
def test_all_answers_have_headers_of_security(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-cache"
