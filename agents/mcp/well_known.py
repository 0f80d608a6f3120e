"""Where a server and its authorization server describe themselves: addresses by the RFCs.

All functions take URLs that `oauth` has checked, and read them with the parser that requests use.
"""

import httpx


def resource_urls(url: str, challenge: str) -> list[str]:
    """Return where the metadata of the server may be: RFC 9728 §3.1 and §5.1."""
    base, path = origin(url), _path(url)
    well_known = f"{base}/.well-known/oauth-protected-resource"
    urls = [well_known + path, well_known] if path else [well_known]
    named = challenge_parameter(challenge, "resource_metadata")
    return [named, *urls] if named else urls


def issuer_urls(issuer: str) -> list[str]:
    """Return where the metadata of an issuer may be: RFC 8414 §3.1, OpenID Discovery §4."""
    base, path = origin(issuer), _path(issuer)
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
    return origin(resource) == origin(url) and f"{_path(url)}/".startswith(f"{_path(resource)}/")


def origin(url: str) -> str:
    """Return the scheme, the host and the port of a URL; a host in ASCII, no default port."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode('ascii')}"


def _path(url: str) -> str:
    """Return the path of a URL as it is sent, without a slash at its end."""
    return httpx.URL(url).raw_path.partition(b"?")[0].decode("ascii").rstrip("/")
