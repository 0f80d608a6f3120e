"""`send_test_mail`: a real SMTP conversation; every failure is one sentence without secrets."""

import re
import ssl
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pydantic import SecretStr
from pytest_django import Settings

from maru.config import backends
from maru.config.env import Env
from tests.live import free_port
from tests.maru.management.smtp_stub import (
    PASSWORD,
    USER,
    SmtpStub,
    make_certificate,
    serving,
)
from tests.maru.server.starting import MANAGE, failed_start

TO = "you@example.com"
LOGIN = f"{USER}:{PASSWORD}@"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: tuple[Path, ssl.SSLContext]) -> ssl.SSLContext:
    """The TLS of a mail server whose certificate no client trusts."""
    return certificate[1]


@pytest.fixture
def trusted(certificate: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the certificate of the mail server."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))


def use(settings: Settings, url: str) -> None:
    """Set Django's settings for mail as MARU_EMAIL_URL does."""
    for name, value in backends.mail(Env(email_url=SecretStr(url))).items():
        setattr(settings, name, value)
    settings.EMAIL_TIMEOUT = 5


def send() -> str:
    out = StringIO()
    call_command("send_test_mail", TO, stdout=out)
    return out.getvalue()


def failure() -> str:
    """Return the sentence with which the command fails."""
    with pytest.raises(CommandError) as failed:
        send()
    sentence = str(failed.value)
    assert failed.value.returncode == 1
    assert re.fullmatch(r"[A-Z][ -~]{20,200}\.", sentence)
    assert not re.search("CANARY|robot|127.0.0.1", sentence)
    return sentence


def test_sent_mail_is_confirmed_in_one_sentence(settings: Settings) -> None:
    with serving(SmtpStub()) as stub:
        use(settings, f"smtp://127.0.0.1:{stub.port}")

        assert send() == f"The mail server has accepted the mail to {TO}.\n"

    ((mail, is_tls),) = stub.mails
    assert f"To: {TO}" in mail
    assert not is_tls


def test_starttls_is_used_without_a_user_where_the_server_offers_it(
    settings: Settings, tls: ssl.SSLContext
) -> None:
    with serving(SmtpStub(tls=tls)) as stub:
        use(settings, f"smtp://127.0.0.1:{stub.port}")
        send()

    assert [is_tls for _mail, is_tls in stub.mails] == [True]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("from_start", [False, True], ids=["smtp", "smtps"])
def test_password_is_sent_over_verified_tls(
    settings: Settings, tls: ssl.SSLContext, *, from_start: bool
) -> None:
    with serving(SmtpStub(tls=tls, from_start=from_start, auth="PLAIN")) as stub:
        use(settings, f"smtp{'s' * from_start}://{LOGIN}127.0.0.1:{stub.port}")
        send()

    assert stub.signed_in == [(f"\0{USER}\0{PASSWORD}", True)]
    assert [is_tls for _mail, is_tls in stub.mails] == [True]


def test_password_is_not_sent_without_starttls(settings: Settings) -> None:
    with serving(SmtpStub(auth="PLAIN")) as stub:
        use(settings, f"smtp://{LOGIN}127.0.0.1:{stub.port}")

        assert "offers no STARTTLS" in failure()

    assert stub.signed_in == stub.mails == []


@pytest.mark.parametrize("from_start", [False, True], ids=["smtp", "smtps"])
def test_password_is_not_sent_under_a_certificate_that_is_not_trusted(
    settings: Settings, tls: ssl.SSLContext, *, from_start: bool
) -> None:
    with serving(SmtpStub(tls=tls, from_start=from_start, auth="PLAIN")) as stub:
        use(settings, f"smtp{'s' * from_start}://{LOGIN}127.0.0.1:{stub.port}")

        assert "certificate of the mail server" in failure()

    assert stub.signed_in == stub.mails == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize(
    ("answers", "auth", "expected"),
    [
        ({"AUTH": "535 no CANARY"}, "PLAIN LOGIN", "user name or the password (code 535)"),
        ({}, "", "offers no sign-in"),
        ({}, "XOAUTH2", "CRAM-MD5, PLAIN or LOGIN"),
        ({"MAIL": "553 no CANARY"}, "PLAIN", "refuses the sender (code 553)"),
        ({"RCPT": "550 no CANARY"}, "PLAIN", "refuses the recipient (code 550)"),
        ({"DATA": "554 no CANARY"}, "PLAIN", "refuses the mail (code 554)"),
        ({"CONNECT": "554 no CANARY"}, "PLAIN", "refuses the mail (code 554)"),
        ({"STAR": "454 no CANARY"}, "PLAIN", "refuses the mail (code 454)"),
        ({"RCPT": ""}, "PLAIN", "has closed the connection"),
    ],
)
def test_refusal_of_the_mail_server_is_one_sentence(
    settings: Settings, tls: ssl.SSLContext, answers: dict[str, str], auth: str, expected: str
) -> None:
    with serving(SmtpStub(tls=tls, auth=auth, answers=answers)) as stub:
        use(settings, f"smtp://{LOGIN}127.0.0.1:{stub.port}")

        assert expected in failure()

    assert stub.mails == []


def test_relay_that_wants_a_sign_in_is_explained(settings: Settings) -> None:
    with serving(SmtpStub(answers={"MAIL": "530 no CANARY"})) as stub:
        use(settings, f"smtp://127.0.0.1:{stub.port}")

        assert "only after a sign-in" in failure()


def test_port_without_tls_is_explained(settings: Settings) -> None:
    with serving(SmtpStub()) as stub:
        use(settings, f"smtps://127.0.0.1:{stub.port}")

        assert failure().startswith("TLS with the mail server failed.")


def test_silent_server_is_a_timeout(settings: Settings) -> None:
    with serving(SmtpStub(silent=True)) as stub:
        use(settings, f"smtp://127.0.0.1:{stub.port}")
        settings.EMAIL_TIMEOUT = 0.2

        assert "does not answer in time" in failure()


def test_unknown_host_and_closed_port_are_named(settings: Settings) -> None:
    use(settings, "smtp://mail.invalid:587")
    assert failure() == "The host in MARU_EMAIL_URL is not found."

    use(settings, f"smtp://127.0.0.1:{free_port()}")
    assert failure().startswith("The mail server cannot be reached: Connection refused.")


def test_missing_mail_server_and_wrong_recipient_end_the_command_with_status_1(
    tmp_path: Path,
) -> None:
    command = (MANAGE[0], "send_test_mail", "--skip-checks")

    unset = failed_start(tmp_path, *command, TO)
    wrong = failed_start(tmp_path, *command, "nobody", MARU_EMAIL_URL="smtp://127.0.0.1:1")

    assert (unset.status, wrong.status) == (1, 1)
    assert unset.sentence.startswith("CommandError: MARU_EMAIL_URL is not set")
    assert wrong.sentence.startswith("CommandError: The recipient must be a mail address")
