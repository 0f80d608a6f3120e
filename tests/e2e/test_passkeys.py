"""Passkeys: creation, second factor and sign-in, with Chromium's virtual authenticator."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Open
from tests.e2e.page_monitor import PageMonitor
from tests.e2e.server import Server
from tests.e2e.test_first_start import PASSWORD, set_up
from tests.live import Installation
from tests.provider import Provider

DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


class NamedServer(Server):
    """The server by a host name: browsers create no passkey for an IP address."""

    @property
    def url(self) -> str:
        return super().url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def server(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An installation before its setup."""
    with (
        Installation(tmp_path_factory.mktemp("passkeys")) as installation,
        NamedServer(installation, provider) as server,
    ):
        yield server


def with_device(page: Page) -> Page:
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
    return page


def test_passkey_is_a_second_factor_and_signs_in_alone(
    server: Server, open_browser: Open, monitor: PageMonitor
) -> None:
    page = with_device(open_browser())
    link = server.installation.setup_link().replace("127.0.0.1", "localhost")
    set_up(page, link)
    page.wait_for_url("**/rooms/**")

    page.goto(f"{server.url}/accounts/2fa/webauthn/add/")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_label("Name")).to_have_value("Passkey 1")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy all").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    codes = page.evaluate("navigator.clipboard.readText()").split()
    assert codes == page.locator("#codes code").all_inner_texts()

    log_out(server, page)
    page.get_by_label("Email").fill("seojun@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Enter your second step")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{server.url}/")

    log_out(server, page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(f"{server.url}/")


def log_out(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/accounts/logout/")
    page.get_by_role("main").get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/**")


def test_missing_passkey_shows_one_sentence(server: Server, open_browser: Open) -> None:
    page = with_device(open_browser())  # the authenticator has no passkey for this server
    page.goto(f"{server.url}/accounts/login/")

    page.get_by_role("button", name="Sign in with a passkey").click()

    expect(page.get_by_text("The passkey could not be used")).to_be_visible()
