"""Sends mail by SMTP, encrypted wherever the mail server offers it."""

import ssl
from smtplib import SMTP
from typing import Any

from django.core.mail.backends.smtp import EmailBackend


class SmtpBackend(EmailBackend):
    """Django's backend with opportunistic STARTTLS for mail servers that need no password.

    RFC 7435 §3: encryption without a verified certificate is better than plain text. With a
    password, STARTTLS is required and the certificate is verified.
    """

    @property
    def connection_class(self) -> type[SMTP]:
        """The client class that `open` of Django's backend calls."""
        if self.use_ssl or self.use_tls:
            return super().connection_class
        return _Opportunistic


class _Opportunistic(SMTP):
    """A connection that uses STARTTLS (RFC 3207) if the server offers it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ehlo_or_helo_if_needed()
        if self.has_extn("starttls"):
            unverified = ssl.create_default_context()
            unverified.check_hostname = False
            unverified.verify_mode = ssl.CERT_NONE
            self.starttls(context=unverified)
