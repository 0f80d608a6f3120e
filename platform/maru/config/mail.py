"""Sends mail by SMTP, encrypted wherever the mail server offers it."""

import smtplib
import socket
import ssl
from smtplib import SMTP
from typing import Any, Final

from django.conf import settings
from django.core.mail.backends.smtp import EmailBackend

_CHECK_PORT: Final = (
    "Check the host and the port in MARU_EMAIL_URL; "
    "a port that uses TLS from the start needs smtps://."
)
_NO_STARTTLS: Final = (
    "The mail server offers no STARTTLS, and Maru sends no password without TLS. "
    "Begin MARU_EMAIL_URL with smtps:// if the server uses TLS from the start."
)
_NEEDS_SIGN_IN: Final = (
    "The mail server accepts mail only after a sign-in or over TLS. Write a user name and a "
    "password into MARU_EMAIL_URL, or begin it with smtps://."
)
_SENTENCES: Final[dict[type[OSError], str]] = {
    smtplib.SMTPNotSupportedError: "The mail server offers no sign-in. Remove the user name and "
    "the password from MARU_EMAIL_URL, or change the port.",
    smtplib.SMTPServerDisconnected: f"The mail server has closed the connection. {_CHECK_PORT}",
    smtplib.SMTPException: "The mail server offers no sign-in with CRAM-MD5, PLAIN or LOGIN. "
    "Use another port.",
    ssl.SSLCertVerificationError: "The certificate of the mail server is not valid for the host "
    "in MARU_EMAIL_URL, or no known authority has issued it.",
    ssl.SSLError: "TLS with the mail server failed. Begin MARU_EMAIL_URL with smtps:// only if the "
    "port uses TLS from the start, otherwise with smtp://.",
    socket.gaierror: "The host in MARU_EMAIL_URL is not found.",
}
"""Sentences by exception, a subclass before its base class."""


class SmtpBackend(EmailBackend):
    """Django's backend with opportunistic STARTTLS for mail servers that need no password.

    RFC 7435 §3: encryption without a verified certificate is better than plain text. With a
    password, STARTTLS is required and the certificate is verified.
    """

    _partial_connection: SMTP | None  # of Django's backend; its type stubs lack it

    @property
    def connection_class(self) -> type[SMTP]:
        """The client class that `open` of Django's backend calls."""
        if self.use_ssl or self.use_tls:
            return super().connection_class
        return _Opportunistic

    def open(self) -> bool | None:
        """Connect and sign in; close the connection if that fails, which Django leaves open."""
        try:
            return super().open()
        except OSError:
            if self._partial_connection is not None:
                self._partial_connection.close()
                self._partial_connection = None
            raise


class _Opportunistic(SMTP):
    """A connection that uses STARTTLS (RFC 3207) if the server offers it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            self.ehlo_or_helo_if_needed()
            if self.has_extn("starttls"):
                unverified = ssl.create_default_context()
                unverified.check_hostname = False
                unverified.verify_mode = ssl.CERT_NONE
                self.starttls(context=unverified)
        except BaseException:
            self.close()
            raise


def is_printed() -> bool:
    """Return True if mail is only printed to the log, because MARU_EMAIL_URL is not set."""
    printed: bool = settings.EMAIL_BACKEND == "django.core.mail.backends.console.EmailBackend"
    return printed


def why_not_sent(error: OSError) -> str:
    """Return one sentence about an error of `SmtpBackend`, without any text of the mail server.

    Such a text may repeat the user name. Every exception of `smtplib` is an OSError.
    """
    # smtplib reports a timeout during the conversation as a closed connection.
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return f"The mail server does not answer in time. {_CHECK_PORT}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = ", ".join(sorted({str(code) for code, _text in error.recipients.values()}))
        return f"The mail server refuses the recipient (code {codes}). Check the address."
    if isinstance(error, smtplib.SMTPResponseException):
        return _why_refused(error)
    if isinstance(error, smtplib.SMTPNotSupportedError) and "STARTTLS" in str(error):
        return _NO_STARTTLS
    for kind, sentence in _SENTENCES.items():
        if isinstance(error, kind):
            return sentence
    reason = error.strerror or type(error).__name__
    return f"The mail server cannot be reached: {reason}. {_CHECK_PORT}"


def _why_refused(error: smtplib.SMTPResponseException) -> str:
    code = error.smtp_code
    if code == 530:  # RFC 4954 §6, RFC 3207 §4
        return _NEEDS_SIGN_IN
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return (
            f"The mail server refuses the user name or the password (code {code}). "
            "Correct them in MARU_EMAIL_URL."
        )
    if isinstance(error, smtplib.SMTPSenderRefused):
        return f"The mail server refuses the sender (code {code}). Correct MARU_EMAIL_FROM."
    return f"The mail server refuses the mail (code {code}). Its log says why."
