"""Both images, built with the commands of the Dockerfile, on real services."""

import json
import os
import re
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.cluster.harness import SECRET_KEY
from tests.cluster.harness.services import Postgres, Redis
from tests.deadlines import DEADLINE
from tests.deploy.container import Container
from tests.deploy.image import Builder, Image

ANOTHER_ADDRESS = "10.9.8.7"


@pytest.fixture(scope="module")
def builder() -> Iterator[Builder]:
    with tempfile.TemporaryDirectory(prefix="maru-images-") as folder:
        yield Builder(Path(folder))


@pytest.fixture(scope="module")
def settings_of_production(postgres: Postgres, redis: Redis) -> dict[str, str]:
    return {
        "MARU_DATABASE_URL": postgres.url,
        "MARU_REDIS_URL": redis.url,
        "MARU_SECRET_KEY": SECRET_KEY,
    }


@pytest.fixture(scope="module")
def as_built(builder: Builder) -> set[tuple[Path, int]]:
    """The files of the web image before a process has run in it."""
    return files(builder.build("web"))


@pytest.fixture(scope="module")
def web(
    builder: Builder,
    as_built: set[tuple[Path, int]],
    settings_of_production: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Container]:
    """A web process of the image, on a database migrated with the image."""
    folder = tmp_path_factory.mktemp("web")
    settings = {**settings_of_production, "MARU_HOSTS": ANOTHER_ADDRESS}
    container = Container(folder, builder.build("web"), **settings)
    container.manage("migrate", "--verbosity", "0")
    with container:
        yield container


@pytest.fixture(scope="module")
def worker(
    builder: Builder,
    settings_of_production: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("worker")
    container = Container(folder, builder.build("agents"), **settings_of_production)
    container.launch()
    yield container
    container.stop()


def files(image: Image) -> set[tuple[Path, int]]:
    """Return every file of an image with its modification time; follow links to other stages."""
    folders = os.walk(image.root, followlinks=True)
    found = (Path(folder, name) for folder, _, names in folders for name in names)
    return {(path, path.stat().st_mtime_ns) for path in found}


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:
        text: str = response.read().decode()
        return text


def test_web_image_serves_pages_and_static_files(web: Container) -> None:
    login = page(f"{web.url}/accounts/login/")
    style = re.search(r'"(/static/[^"]+\.[0-9a-f]{12}\.css)"', login)

    print(f"A web process of the image takes {web.resident_mib()} MiB.")
    assert style is not None
    assert page(web.url + style[1])


def test_only_the_agents_image_contains_the_engine(web: Container, worker: Container) -> None:
    command = ("python", "-c", "import importlib.util as u; print(u.find_spec('crewai') is None)")

    assert web.execute(*command).stdout == "True\n"
    assert worker.execute(*command).stdout == "False\n"


def test_web_image_cannot_import_the_engine(web: Container) -> None:
    done = web.execute("python", "-c", "import crewai")

    assert "No module named 'crewai'" in done.stderr


async def test_agents_image_answers_a_question_sent_to_the_web_image(
    web: Container, worker: Container
) -> None:
    (room,) = web.populate(1, 1)

    async with web.socket(room.members[0]) as socket:
        await socket.join(room.id)
        await socket.say(room.id, "Are you there?")
        completed = await socket.until_type("message.completed", seconds=3 * DEADLINE)

    assert json.loads(page(f"{web.url}/readyz")) == {"status": "ok"}
    assert worker.execute(*worker.image.healthcheck).returncode == 0
    assert completed["message"]["author"]["kind"] == "persona"
    assert len(socket.of_type("message.delta")) > 1


def test_health_check_of_the_image_detects_a_dead_process(web: Container, tmp_path: Path) -> None:
    nowhere = Container(tmp_path, web.image)

    assert web.execute(*web.image.healthcheck).returncode == 0
    assert nowhere.execute(*web.image.healthcheck).returncode != 0


@pytest.mark.parametrize(("host", "status"), [(ANOTHER_ADDRESS, 200), ("10.9.8.8", 400)])
def test_process_accepts_only_its_configured_host_names(
    web: Container, host: str, status: int
) -> None:
    answer = httpx.get(
        f"{web.url}/accounts/login/", headers={"Host": f"{host}:8000"}, trust_env=False
    )

    assert answer.status_code == status


def test_processes_do_not_write_to_the_image(
    as_built: set[tuple[Path, int]], web: Container
) -> None:
    page(f"{web.url}/accounts/login/")

    web.stop()
    web.start()

    assert files(web.image) == as_built
    assert not [path for path, _ in as_built if path.name == ".env"]
