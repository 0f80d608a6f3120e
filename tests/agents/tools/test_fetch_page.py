"""The tool that fetches a page: what it reads, and what it refuses."""

import asyncio
import gzip
import os
import socket
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from time import process_time
from typing import Any
from uuid import UUID

import pytest
from pytest_django.fixtures import Settings

from agents.egress.dns import resolver
from agents.tools import fetch_page
from tests.agents.egress.test_guard import (
    INVALID_URLS,
    LOOPBACK,
    PRIVATE,
    Canary,
    canary,  # noqa: F401 - a fixture
)
from tests.agents.tools.pages import ORIGIN, TEAM, Web, fetch, open_web
from tests.deadlines import DEADLINE

ARTICLE = """<!doctype html><html lang="ko"><head><title>결제
조사</title><style>p{}</style><script>var a = "script"</script></head><body>
<nav>MENU</nav><main><h1>조사 결과</h1><p>열네 명 가운데 여섯 명. <a href="/x">보고서</a></p>
<ul><li>승인 지연</li><li>빈 장바구니</li></ul><table><tr><th>원인</th><td>4</td></tr></table>
<p hidden>HIDDEN</p><p style="display:none">HIDDEN</p></main><footer>FOOT</footer></body></html>"""
SPOOF = "http://1.1.1.1%s@127.0.0.1/"
CONFUSING = (
    *(SPOOF % "", SPOOF % "\\", SPOOF % ":80", SPOOF % "\t", SPOOF % "/\\", SPOOF % "?x\\"),
    *("http://127.0.0.1#@1.1.1.1/", "http://127.0.0.1?@1.1.1.1/", "http://127.0.0.1:80@1.1.1.1/"),
    *("http:127.0.0.1/", "http:/127.0.0.1/", "http:///127.0.0.1/", "http://[::ffff:7f00:1]/"),
    *("http://1.1.1.1:22/", "http://1.1.1.1:25/", "https://1.1.1.1:0/", "http://1.1.1.1:80:80/"),
    *("http://1.1.1.1\u202e/", "http://1.1.1.1\x00/", "http://1.1.1.1/a b", "HTTP://LOCALHOST/"),
)


@pytest.fixture
async def web(settings: Settings) -> AsyncIterator[Web]:
    async with open_web(settings) as web:
        yield web


async def test_a_page_becomes_title_url_and_text(web: Web) -> None:
    web.put(ARTICLE, path="/a?q=%EA%B2%B0#part")
    web.put(ARTICLE, path="/a?q=%EA%B2%B0")

    result = await fetch("/a?q=결#part")

    assert not result.failed
    head, text = result.text.split("\n\n", 1)
    assert head == f"Title: 결제 조사\nURL: {ORIGIN}/a?q=%EA%B2%B0"
    for part in ("조사 결과", "열네 명 가운데", "보고서", "승인 지연", "빈 장바구니", "원인", "4"):
        assert part in text
    for part in ("MENU", "FOOT", "HIDDEN", "script", "<", "p{}"):
        assert part not in text


async def test_nothing_about_us_is_sent(web: Web) -> None:
    web.put("x", "text/plain", Set_Cookie="a=b")
    await fetch()
    await fetch()

    for head in web.heads:
        names = {line.partition(":")[0].lower() for line in head.splitlines()[1:] if line}
        assert names == {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert "User-Agent: Maru\r\n" in head


KINDS = [
    ("text/plain", b"caf\xc3\xa9", "café"),
    ("text/plain; charset=iso-8859-1", b"caf\xe9", "café"),
    ("application/json", b'{"a": [1]}', '{"a": [1]}'),
    ("application/rss+xml", "<rss><b>가</b></rss>".encode(), "<rss><b>가</b></rss>"),
    ("text/html", '<meta charset="euc-kr"><p>똠방각하'.encode("cp949"), "똠방각하"),
    ("text/html; charset=ks_c_5601-1987", "<p>똠방각하".encode("cp949"), "똠방각하"),
    ("text/html; charset=shift_jis", "<p>①高".encode("cp932"), "①高"),
    ("text/html; charset=utf-8", b"\xff\xfe" + "<p>가".encode("utf-16-le"), "가"),
    ("text/html; charset=punycode", "<p>가".encode(), "가"),
    ("text/html; charset=nonsense", "<p>가나다라".encode(), "가나다라"),
    ("text/html; charset=utf-8", b"<p>a\xff\xfeb", "a��b"),
    ('text/html; charset="utf-8"; x="', b"<p>ok", "ok"),
    ("text/html", "<p>a\ud800b".encode("utf-8", "surrogatepass"), "b"),
]


async def test_charsets_and_kinds(web: Web) -> None:
    for kind, body, text in KINDS:
        web.put(body, kind)
        result = await fetch()
        assert not result.failed, kind
        assert result.text.split("\n\n", 1)[1].endswith(text), kind


async def test_other_kinds_are_refused(web: Web) -> None:
    for kind in ("", "image/png", "application/pdf", "text/css", "text/html2", "a\x01b", "text"):
        web.put("<p>x", kind)
        assert (await fetch()).failed, kind


async def test_a_compressed_page_is_read(web: Web) -> None:
    for encoding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        web.put(compress(b"<p>compressed"), Content_Encoding=encoding)
        assert "compressed" in (await fetch()).text, encoding


async def test_another_compression_is_refused(web: Web) -> None:
    for encoding in ("br", "zstd", "gzip, gzip", "gzip"):
        web.put(b"<p>not compressed like this", Content_Encoding=encoding)
        assert (await fetch()).failed, encoding


async def test_redirects_are_followed_by_hand_five_times(web: Web) -> None:
    for number in range(7):
        location = f"/{number + 1}" if number else "//8.8.8.8/1"
        web.put(b"", status="302 Found", path=f"/{number}", Location=location)
    web.put("<p>arrived", path="/5")

    result = await fetch("/0")
    web.put(b"", status="302 Found", path="/5", Location="/6")
    too_many = await fetch("/0")

    assert "arrived" in result.text
    assert "URL: http://8.8.8.8/5" in result.text
    assert "redirects" in too_many.text
    assert [head.split()[1] for head in web.proxy.heads[:2]] == ["1.1.1.1:80", "8.8.8.8:80"]
    assert len(web.proxy.heads) == 12


@pytest.mark.parametrize("status", ["404 Not Found", "500 X", "304 Not Modified", "302 Found"])
async def test_an_error_status_is_a_failure(web: Web, status: str) -> None:
    web.put("<p>secret words of an error page", status=status)

    result = await fetch()

    assert result.failed
    assert "secret" not in result.text
    assert status[:3] in result.text


def targets() -> list[str]:
    return [f"http://{host}/" for host in (*LOOPBACK, *PRIVATE)] + [*CONFUSING]


async def test_an_address_that_is_not_public_is_refused(web: Web) -> None:
    invalid = [url for url in INVALID_URLS if "?" not in url and "/#" not in url]
    for url in (*targets(), *invalid):
        assert (await fetch_page.run({"url": url}, TEAM)).failed, url

    assert web.proxy.heads == []


async def test_a_redirect_to_an_address_that_is_not_public_is_refused(web: Web) -> None:
    schemes = ("file:///etc/passwd", "gopher://127.0.0.1/", "data:text/html,x", "javascript:x")
    for url in (*targets(), *schemes):
        if url.isprintable():  # another one is no header
            web.put(status="302 Found", Location=url)
            assert (await fetch()).failed, url

    assert {head.split()[1] for head in web.proxy.heads} == {"1.1.1.1:80"}


async def test_no_byte_reaches_a_private_address_that_the_operator_allows_to_providers(
    canary: Canary,  # noqa: F811
    settings: Settings,
) -> None:
    settings.EGRESS_ALLOW = frozenset({f"127.0.0.1:{canary.port}", f"localhost:{canary.port}"})

    for host in LOOPBACK:
        assert (await fetch_page.run({"url": f"http://{host}:{canary.port}/"}, TEAM)).failed

    assert canary.received == []


async def test_dns_rebinding_has_no_effect(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.put("<p>page")
    real, given = socket.getaddrinfo, ["1.1.1.1", "127.0.0.1"]

    def fake(host: Any, *rest: Any, **options: Any) -> Any:
        return real(given.pop(0) if host == "page.example" else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fake)

    first = await fetch(origin="http://page.example")
    resolver.clear_cache()
    second = await fetch(origin="http://page.example")

    assert "page" in first.text
    assert "host: page.example\r\n" in web.heads[0].lower()
    assert second.failed
    assert [head.split()[1] for head in web.proxy.heads] == ["1.1.1.1:80"]


async def test_a_name_with_a_public_and_a_private_address_is_refused(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [(0, 0, 0, "", (address, 80)) for address in ("1.1.1.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)

    assert (await fetch(origin="http://page.example")).failed
    assert web.proxy.heads == []


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
    while True:
        writer.write(b"<p>endless words of a page</p>" * 2_000)
        await writer.drain()


async def huge(writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 104857600\r\n\r\n"
    )
    for _ in range(1_600):
        writer.write(b"x" * 65_536)
        await writer.drain()


@pytest.mark.parametrize("body", [endless, huge])
async def test_a_page_is_cut_after_two_megabytes(web: Web, body: Any) -> None:
    web.pages["/"] = body

    result = await fetch()
    await asyncio.wait_for(web.left.wait(), DEADLINE)

    assert not result.failed
    assert result.text.endswith("[cut after 2 MB]")
    assert len(result.text) < 64 * 1024


async def test_a_decompression_bomb_is_cut(web: Web) -> None:
    layer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(layer.compress(b"<p>word " * 131_072) for _ in range(200)) + layer.flush()
    assert len(bomb) < fetch_page.MAX_BYTES
    web.put(bomb, Content_Encoding="gzip")
    began = process_time()

    result = await fetch()

    assert result.text.endswith("[cut after 2 MB]")
    assert process_time() - began < 1  # 200 MB are not inflated


async def test_a_silent_server_costs_fifteen_seconds_at_most(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>begun")
        await asyncio.Event().wait()

    web.pages["/"] = silent
    assert fetch_page.SECONDS <= 15
    monkeypatch.setattr(fetch_page, "SECONDS", 0.3)

    result = await fetch()
    await asyncio.wait_for(web.left.wait(), DEADLINE)

    assert (result.failed, result.short) == (True, "timeout")


SIZE = fetch_page.MAX_BYTES
BOMBS = {
    "formatting": "<a><b><i><p>" * (SIZE // 12),
    "attributes": "<p " + " ".join(f"a{n}=1" for n in range(SIZE // 10)) + ">x",
}


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_occupies_only_a_process_of_its_own(web: Web, name: str) -> None:
    web.put(BOMBS[name])
    began = process_time()

    bomb = await fetch()
    web.put("<p>an ordinary page")
    after = await fetch()

    assert bomb.failed
    assert "ordinary" in after.text
    assert process_time() - began < 1  # of this process
    assert children() == []


async def test_a_stop_ends_the_process_of_the_page(web: Web) -> None:
    web.put(BOMBS["attributes"])

    fetching = asyncio.create_task(fetch())
    async with asyncio.timeout(DEADLINE):
        while not children():  # noqa: ASYNC110 - a process has no event of its start
            await asyncio.sleep(0.01)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)

    assert fetching.cancelled()
    assert children() == []


async def test_the_process_has_no_secrets_and_opens_nothing(
    web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MARU_SECRET_KEY", "CANARY")
    program = tmp_path / "program.py"
    real = fetch_page.PROGRAM.read_text()
    probe = """
def read_html(page):
    import os
    found = [repr(dict(os.environ))]
    for attempt in ("open('/etc/passwd')", "os.pipe()", "os.fork() or os._exit(0)"):
        try:
            eval(attempt)
            found.append("did " + attempt)
        except OSError as error:
            found.append(type(error).__name__)
    return "probe", "\\n".join(found)


if __name__"""
    program.write_text(real.replace("\nif __name__", probe, 1))
    monkeypatch.setattr(fetch_page, "PROGRAM", program)
    web.put("<p>x")

    result = await fetch()

    assert "Title: probe" in result.text
    assert "CANARY" not in result.text
    assert "MARU" not in result.text
    assert "did open" not in result.text
    assert "did os.pipe" not in result.text
    if os.geteuid():  # root may exceed the limit of processes
        assert "did os.fork" not in result.text


async def test_pages_of_a_team_are_read_one_after_another(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.put("<p>page")
    at_once, most = 0, 0
    real = fetch_page._run_program

    async def counted(page: fetch_page.Page) -> bytes:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            return await real(page)
        finally:
            at_once -= 1

    monkeypatch.setattr(fetch_page, "_run_program", counted)
    own = await asyncio.gather(*(fetch() for _ in range(6)))
    of_one_team = most
    others = await asyncio.gather(
        *(fetch_page.run({"url": ORIGIN}, UUID(int=n)) for n in range(1, 9))
    )

    assert of_one_team == 1
    assert 1 < most <= fetch_page.MAX_PROCESSES
    assert not any(result.failed for result in (*own, *others))


async def test_a_page_without_text_says_so(web: Web) -> None:
    web.put("<body><div id=app></div><script>render()</script>")

    result = await fetch()

    assert result.failed
    assert "scripts" in result.text


def children() -> list[int]:
    """Return the processes of `page_text` that this process has started."""
    found = []
    for each in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(each.read_text().rpartition(") ")[2].split()[1])
            command = each.with_name("cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if parent == os.getpid() and b"page_text" in command:
            found.append(int(each.parent.name))
    return found
