"""Each extra is installed into a bare environment, and does there what it is for."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.consumer.support.consuming import wait_until
from tests.private import free_port
from tests.servers.process import StreamServer
from tests.servers.require import skip_or_fail
from tests.services import available, find, missing

from .support.bare import (
    CHECKOUT,
    BareProject,
    build_wheel,
    clean_environment,
    make_environment,
    registry_is_missing,
    run,
)

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(600)]

MakeProject = Callable[..., BareProject]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it would be published, so that a missing file is noticed: the wheel, built
    from the source archive as by ``make dist``.
    """
    folder = tmp_path_factory.mktemp("wheel")
    if reason := registry_is_missing(folder):
        skip_or_fail(reason)
    return build_wheel(folder)


@pytest.fixture
def make_project(tmp_path: Path, wheel: Path) -> MakeProject:
    """Creates a project in an environment with the package, that extra, and nothing else."""

    def make(extra: str = "", settings: str = "", also: tuple[str, ...] = ()) -> BareProject:
        python = make_environment(
            tmp_path / "environment", f"{wheel}[{extra}]" if extra else str(wheel), *also
        )
        return BareProject(tmp_path / "project", python, settings)

    return make


@pytest.fixture
def stream_url(rakaia_server: StreamServer) -> str:
    """A stream with one note."""
    url = rakaia_server.stream()
    send("PUT", url)
    write(url, "a", "first")
    return url


def send(method: str, url: str, body: bytes = b"") -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    urllib.request.urlopen(request, timeout=10).close()


def write(url: str, key: str, text: str) -> None:
    change = {
        "type": "note",
        "key": key,
        "value": {"text": text},
        "headers": {"operation": "upsert"},
    }
    send("POST", url, json.dumps(change).encode())


def use(project: BareProject, url: str) -> None:
    """Consumes the stream, as a first user would, on the project's database."""
    project.run("manage.py", "check", "--database", "default")
    project.run("manage.py", "durable_state", "add", "notes", url)
    printed = project.run("manage.py", "durable_state", "sync", "notes", "--until-up-to-date")
    assert "1 message" in printed
    assert project.notes() == {"a": "first"}
    project.run("manage.py", "durable_state", "verify", "notes")


def database_settings(alias: str) -> str:
    """Settings of this test's own database on the server that the tests use."""
    if alias not in available:
        skip_or_fail(missing[alias])
    kept = {name: value for name, value in available[alias].items() if name != "TEST"}
    database = kept | {"NAME": f"durable_state_extra_{uuid4().hex[:8]}"}
    return f"DATABASES['default'] = {database!r}\n"


@contextmanager
def own_database(alias: str, settings: str) -> Iterator[None]:
    """Creates the database that the settings name, and drops it."""
    name = settings.split("'NAME': '")[1].split("'")[0]
    if alias == "postgres":
        import psycopg

        with psycopg.connect(str(find("postgres")), dbname="postgres", autocommit=True) as server:
            server.execute(f'CREATE DATABASE "{name}"')
            yield
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    else:
        import MySQLdb

        given = available["mysql"]
        server = MySQLdb.connect(
            host=given["HOST"],
            port=given["PORT"] or 3306,
            user=given["USER"],
            password=given["PASSWORD"],
        )
        server.query(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        yield
        server.query(f"DROP DATABASE `{name}`")
        server.close()


def test_no_extra(make_project: MakeProject, stream_url: str) -> None:
    """The package alone follows a stream on SQLite, and all of its parts can be imported."""
    project = make_project()
    use(project, stream_url)
    code = (
        "import durable_state.routing, durable_state.urls, durable_state.tasks,"
        " durable_state.admin,"
        " durable_state.testing; from mysite.celery import app;"
        " app.loader.import_default_modules();"
        " print('durable_state.tasks.consume' in app.tasks)"
    )
    assert project.run("manage.py", "shell", "-v", "0", "-c", code).strip() == "True"
    assert "site-packages" in project.run("manage.py", "findstatic", "durable_state/live.js")
    installed = project.run("-m", "pip", "list", "--format=freeze").lower()
    assert "psycopg" not in installed
    assert "redis" not in installed


@pytest.mark.parametrize(("extra", "alias"), [("postgres", "postgres"), ("mysql", "mysql")])
def test_database_extras(
    make_project: MakeProject, stream_url: str, extra: str, alias: str
) -> None:
    """The extra brings the driver, and the database needs nothing else."""
    settings = database_settings(alias)
    with own_database(alias, settings):
        use(make_project(extra, settings), stream_url)


def test_redis_extra(make_project: MakeProject, stream_url: str, redis_url: str) -> None:
    """A Celery worker with Redis starts and consumes, and the channel layer carries a message."""
    queue = f"durable-state-extra-{uuid4().hex[:8]}"
    settings = (
        f"CELERY_BROKER_URL = {redis_url!r}\n"
        f"CELERY_TASK_DEFAULT_QUEUE = {queue!r}\n"
        "CELERY_TASK_IGNORE_RESULT = True\n"
        "DURABLE_STATE = {'SLICE_SECONDS': 5.0}\n"
        "CHANNEL_LAYERS = {'default': {'BACKEND': 'channels_redis.core.RedisChannelLayer',"
        f" 'CONFIG': {{'hosts': [{redis_url!r}], 'prefix': {queue!r}}}}}}}\n"
    )
    project = make_project("redis", settings)
    project.run("manage.py", "durable_state", "add", "notes", stream_url)
    with celery_worker(project) as worker:
        code = "import mysite.celery; from durable_state.tasks import supervise; supervise.delay()"
        project.run("manage.py", "shell", "-v", "0", "-c", code)
        wait_until(lambda: worker.poll() is not None or project.notes(), 60)
        assert project.notes() == {"a": "first"}

    code = (
        "from asgiref.sync import async_to_sync as s;"
        " from channels.layers import get_channel_layer\n"
        "layer = get_channel_layer()\n"
        "async def ring():\n"
        "    await layer.group_add('g', 'c'); await layer.group_send('g', {'type': 'bell'})\n"
        "    return await layer.receive('c')\n"
        "print(s(ring)()['type'])"
    )
    assert project.run("manage.py", "shell", "-v", "0", "-c", code).strip() == "bell"


@contextmanager
def celery_worker(project: BareProject) -> Iterator[subprocess.Popen[bytes]]:
    """The project's worker; if anything goes wrong, its output is shown."""
    log = project.folder / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [project.python, "-m", "celery", "--app", "mysite", "worker", "--concurrency=2"],
            cwd=project.folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield worker
        assert worker.poll() is None, "the worker has ended"
    except AssertionError as error:
        raise AssertionError(f"{error}\n{log.read_text()}") from error
    finally:
        worker.terminate()
        try:
            worker.wait(20)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def test_webhooks_extra(make_project: MakeProject) -> None:
    """Verifying a signature needs nothing else; without it, a check says so."""
    webhooks = "DURABLE_STATE = {'WEBHOOK_URL': 'https://shop.example.org/doorbells/'}\n"
    project = make_project("webhooks", webhooks)
    project.run("manage.py", "check")
    code = (
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as Key;"
        " from durable_state.protocol.signatures import Signature, is_signed;"
        " key = Key.generate(); signature = Signature('7', 'k', key.sign(b'7.{}'));"
        " print(is_signed(b'{}', signature, key.public_key().public_bytes_raw()))"
    )
    assert project.run("manage.py", "shell", "-v", "0", "-c", code).strip() == "True"

    project.run("-m", "pip", "uninstall", "-y", "cryptography")
    with pytest.raises(AssertionError, match=r"durable_state\.E028"):
        project.run("manage.py", "check")


def test_demo_extra(tmp_path: Path, wheel: Path) -> None:
    """The example needs nothing else; its checked run ends with the right rows."""
    python = make_environment(tmp_path / "environment", f"{wheel}[demo]")
    command = [str(python), "-m", "example_project.demo", "--until-up-to-date"]
    ports = [f"--port={free_port()}", f"--stream-port={free_port()}"]
    printed = run([*command, *ports], CHECKOUT, EXAMPLE_DEMO_DIR=str(tmp_path / "demo"))
    assert "equal to `git ls-tree -r`" in printed


def test_docs_extra(tmp_path: Path, wheel: Path) -> None:
    """Building the site needs nothing else."""
    python = make_environment(tmp_path / "environment", f"{wheel}[docs]")
    strictly = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"]
    command = [str(python), "-m", "sphinx", *strictly, "--conf-dir", "docs", "."]
    run([*command, str(tmp_path / "site")], CHECKOUT)
    assert "Durable State" in (tmp_path / "site" / "index.html").read_text()


def test_every_extra_is_tested() -> None:
    """An extra that is added later is used here too; `dev` is what runs this."""
    import tomllib

    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(extras) == {
        "postgres",
        "mysql",
        "redis",
        "metrics",
        "tracing",
        "webhooks",
        "demo",
        "docs",
        "dev",
    }
