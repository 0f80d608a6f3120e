"""The socket on which a web process listens: TCP, or a Unix socket that only the proxy opens.

A socket is bound at start, so that a mistake is found at once, and listens when the process is
ready. A failure ends the process with one sentence.
"""

import errno
import fcntl
import os
import socket
import stat
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from maru.config import terminal
from maru.config.addresses import UNIX

UNACKNOWLEDGED_SECONDS: Final = 30
"""The kernel drops a peer that has vanished, or that reads nothing, after this time (RFC 5482)."""
_NOT_THE_OWNER_OR_GROUP: Final = 0o117

_locks: list[int] = []
"""Descriptors of the lock files of this process. The kernel frees the locks when it ends."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound but does not listen yet, or end the process."""
    path = unix_path(host)
    try:
        listener = _bind_tcp(host, port) if path is None else _bind_unix(path)
    except OSError as error:
        terminal.give_up(why_not(error, host, port))
    listener.setblocking(False)
    return listener


def unix_path(host: str) -> Path | None:
    """Return the path of the Unix socket that MARU_HOST names, or None if it names an address."""
    return Path(host.removeprefix(UNIX)) if host.startswith(UNIX) else None


def why_not(error: OSError, host: str, port: int) -> str:
    """Return the sentence for an address on which the process cannot listen."""
    path = unix_path(host)
    if path is not None:
        if error.errno == errno.EADDRINUSE:
            return (
                f"Another process listens on the Unix socket {path}. "
                "Stop it, or choose another path with MARU_HOST."
            )
        if error.errno == errno.EEXIST:
            return (
                f"{path} exists and is no socket, so Maru does not replace it. "
                "Choose another path with MARU_HOST."
            )
        return (
            f"Maru cannot create the Unix socket {path}: {error.strerror}. "
            "Its folder must exist, and Maru must be able to write to it."
        )
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use. "
            "Stop the program that uses it, or choose another port with MARU_PORT."
        )
    return f"Maru cannot listen on {host}:{port}: {error.strerror}. Change MARU_HOST or MARU_PORT."


def url_of(listener: socket.socket) -> str:
    """Return the URL of a TCP listener for a browser on this machine."""
    host, port = listener.getsockname()[:2]
    if ip_address(host).is_unspecified:
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def remove_file(listener: socket.socket) -> None:
    """Remove the file of a Unix socket, so that no further client connects."""
    if listener.family == socket.AF_UNIX:
        with suppress(OSError):  # its folder may be gone
            Path(listener.getsockname()).unlink()


def _bind_tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections inherit it
        vanished = UNACKNOWLEDGED_SECONDS * 1_000
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, vanished)
    return _bound(listener, (host, port))


def _bind_unix(path: Path) -> socket.socket:
    """Bind with mode 0660: the user and the group of the process may connect."""
    _lock(path)
    _remove_stale(path)
    before = os.umask(_NOT_THE_OWNER_OR_GROUP)  # a chmod after the bind would be too late
    try:
        return _bound(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), str(path))
    finally:
        os.umask(before)


def _bound(listener: socket.socket, address: tuple[str, int] | str) -> socket.socket:
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _lock(path: Path) -> None:
    """Lock `<path>.lock` until the process ends. Raises EADDRINUSE if another process holds it.

    A process that starts has bound the socket and does not listen yet: without the lock, its file
    would look like one that a killed process has left.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _locks.append(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None


def _remove_stale(path: Path) -> None:
    """Remove a socket on which no process listens. Raises EADDRINUSE or EEXIST for other files."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is EAGAIN
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
