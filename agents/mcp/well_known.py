"""Where a server and its authorization server describe themselves: addresses by the RFCs."""

from urllib.parse import urlsplit


def resource_urls(url: str, challenge: str) -> list[str]:
    """Return where the metadata of the server may be: RFC 9728 §3.1 and §5.1."""
    base, path = origin(url), urlsplit(url).path.rstrip("/")
    well_known = f"{base}/.well-known/oauth-protected-resource"
    urls = [well_known + path, well_known] if path else [well_known]
    named = challenge_parameter(challenge, "resource_metadata")
    return [named, *urls] if named else urls


def issuer_urls(issuer: str) -> list[str]:
    """Return where the metadata of an issuer may be: RFC 8414 §3.1, OpenID Discovery §4."""
    base, path = origin(issuer), urlsplit(issuer).path.rstrip("/")
    return [
        f"{base}/.well-known/oauth-authorization-server{path}",
        f"{base}/.well-known/openid-configuration{path}",
        *([f"{base}{path}/.well-known/openid-configuration"] if path else []),
    ]


def challenge_parameter(challenge: str, name: str) -> str:
    """Return a quoted parameter of a WWW-Authenticate header (RFC 9110 §11.2), or an empty text."""
    _, found, rest = challenge.partition(f'{name}="')
    return rest.partition('"')[0] if found else ""


def covers(resource: str, url: str) -> bool:
    """Return True if the metadata of `resource` may speak for the server at `url`."""
    of, at = urlsplit(resource), urlsplit(url)
    same_origin = (of.scheme, of.netloc.lower()) == (at.scheme, at.netloc.lower())
    return same_origin and f"{at.path.rstrip('/')}/".startswith(f"{of.path.rstrip('/')}/")


def origin(url: str) -> str:
    """Return the scheme, the host and the port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
