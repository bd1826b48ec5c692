"""Tables that are named like ours, are not tables, or allow less than usual."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections

from durable_state.databases import capabilities, copying
from durable_state.models import DeadLetter
from durable_state.testing import apply
from tests.app.models import File
from tests.wire import change

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "postgres", "mysql"])

MANY = 120


@contextmanager
def named(
    alias: str, name: str, do: Sequence[str] = (), undo: Sequence[str] = ()
) -> Iterator[None]:
    """Files are kept in a table of that name, or of a name that the statements use themselves."""
    do = do or [f"ALTER TABLE app_file RENAME TO {connections[alias].ops.quote_name(name)}"]
    undo = undo or [f"ALTER TABLE {connections[alias].ops.quote_name(name)} RENAME TO app_file"]
    _run(alias, do)
    _call(name)
    try:
        yield
        File.objects.using(alias).all().delete()
    finally:
        _call("app_file")
        _run(alias, undo)


def _run(alias: str, statements: Sequence[str]) -> None:
    capabilities.forget()
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _call(name: str) -> None:
    File._meta.db_table = name
    for field in File._meta.concrete_fields:
        field.__dict__.pop("cached_col", None)


def files(blob: str) -> list[dict[str, Any]]:
    return [change("file", f"k{n}", blob=blob, mode="m", commit="c") for n in range(MANY)]


def check_life(alias: str) -> None:
    """Rows are inserted, many and one are updated, one is deleted, one is refused."""
    assert apply("h", files("one"), using=alias) == (MANY, 0, 0)
    assert apply("h", files("two"), using=alias) == (MANY, 0, 0)
    assert apply("h", files("three")[:1], using=alias) == (1, 0, 0)
    gone = {"type": "file", "key": "k1", "headers": {"operation": "delete"}}
    long = change("file", "k2", blob="b" * 60, mode="m", commit="c")
    assert apply("h", [gone, long], using=alias) == (1, 0, 1)
    blobs = dict(File.objects.using(alias).values_list("path", "blob"))
    expected = {f"k{n}": "two" for n in range(2, MANY)} | {"k0": "three"}
    assert blobs == expected


@pytest.mark.usefixtures("writer")
@pytest.mark.parametrize(
    "name", ["changes", "durable_state_changes", "held", "found", "wanted", "order"]
)
def test_a_table_named_like_a_thing_of_ours(database: str, name: str) -> None:
    """An alias, a temporary table, a word of SQL."""
    with named(database, name):
        check_life(database)


VIEW = ["ALTER TABLE app_file RENAME TO kept", "CREATE VIEW shown AS SELECT * FROM kept"]
NO_VIEW = ["DROP VIEW shown", "ALTER TABLE kept RENAME TO app_file"]
INSTEAD = [
    *VIEW[:1],
    "CREATE VIEW shown AS SELECT DISTINCT * FROM kept",
    """CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    CASE TG_OP
    WHEN 'INSERT' THEN INSERT INTO kept (path, blob, mode, commit, note)
        VALUES (NEW.path, NEW.blob, NEW.mode, NEW.commit, NEW.note);
    WHEN 'UPDATE' THEN UPDATE kept SET blob = NEW.blob, mode = NEW.mode, commit = NEW.commit
        WHERE id = OLD.id;
    ELSE DELETE FROM kept WHERE id = OLD.id; RETURN OLD;
    END CASE; RETURN NEW; END$$""",
    (
        "CREATE TRIGGER instead INSTEAD OF INSERT OR UPDATE OR DELETE ON shown"
        " FOR EACH ROW EXECUTE FUNCTION instead()"
    ),
]
NOT_INSTEAD = ["DROP VIEW shown", "DROP FUNCTION instead()", *NO_VIEW[1:]]


@pytest.mark.parametrize(
    ("alias", "do", "undo"),
    [
        ("postgres", VIEW, NO_VIEW),
        ("postgres", INSTEAD, NOT_INSTEAD),
        (
            "mysql",
            ["RENAME TABLE app_file TO kept", VIEW[1]],
            ["DROP VIEW shown", "RENAME TABLE kept TO app_file"],
        ),
    ],
    ids=["postgres", "postgres-instead-of", "mysql"],
)  # fmt: skip
def test_a_view_that_takes_rows(
    alias: str, do: list[str], undo: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """By itself or through a trigger: COPY and joins do not work on it, which is logged once."""
    with caplog.at_level(logging.WARNING), named(alias, "shown", do, undo):
        check_life(alias)
    said = [record.message for record in caplog.records if "one by one" in record.message]
    assert said == ["Rows of shown are written one by one, which is slower: it is not a table."]


def test_a_table_with_a_rule() -> None:
    """COPY would write past the rule, which a plain INSERT obeys."""
    rule = (
        "CREATE RULE counted AS ON INSERT TO app_file DO ALSO INSERT INTO counts VALUES (NEW.path)"
    )
    _run("postgres", ["CREATE TABLE counts (path text)", rule])
    try:
        apply("h", files("one"), using="postgres")
        with connections["postgres"].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM counts")
            assert cursor.fetchone() == (MANY,)
    finally:
        _run("postgres", ["DROP RULE counted ON app_file", "DROP TABLE counts"])


@contextmanager
def as_role() -> Iterator[str]:
    """We are a role with the rights of any user of the table, and no others."""
    connection = connections["postgres"]
    role = f"plain_{connection.settings_dict['NAME']}"[-40:]
    _run(
        "postgres",
        [
            f"CREATE ROLE {role}",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
            f"REVOKE TEMP ON DATABASE {connection.settings_dict['NAME']} FROM PUBLIC",
            f"SET ROLE {role}",
        ],
    )
    try:
        yield role
    finally:
        database = connection.settings_dict["NAME"]
        _run(
            "postgres",
            [
                "RESET ROLE",
                f"GRANT TEMP ON DATABASE {database} TO PUBLIC",
                f"DROP OWNED BY {role}",
                f"DROP ROLE {role}",
            ],
        )


def test_a_role_without_temporary_tables(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are still inserted by COPY, and updated without."""
    copied: list[str] = []
    original = copying.copy_rows

    def watched(connection: Any, table: str, columns: Any) -> None:
        copied.append(table)
        original(connection, table, columns)

    monkeypatch.setattr("durable_state.databases.postgresql.copy_rows", watched)
    with caplog.at_level(logging.WARNING), as_role():
        check_life("postgres")
    assert copied.count("app_file") == 1
    said = [record.message for record in caplog.records if "app_file" in record.message]
    assert said == [
        "Rows of app_file are updated one by one, which is slower: the role has no TEMP privilege."
    ]


def test_row_level_security(caplog: pytest.LogCaptureFixture) -> None:
    """Rows that the policy lets us write are written; another one becomes its own letter."""
    policy = "CREATE POLICY apart ON app_file USING (true) WITH CHECK (blob <> 'no')"
    _run("postgres", [policy, "ALTER TABLE app_file ENABLE ROW LEVEL SECURITY"])
    try:
        with caplog.at_level(logging.WARNING), as_role():
            check_life("postgres")
            bad = change("file", "bad", blob="no", mode="m", commit="c")
            assert apply("h", [bad, *files("four")], using="postgres") == (MANY, 0, 1)
            assert apply("h", [bad], using="postgres") == (0, 0, 1)
            letter = DeadLetter.objects.using("postgres").get(key="bad")
            assert letter.reason == "integrity"
            assert "policy" in letter.detail
        assert "row-level security" in caplog.text
    finally:
        _run(
            "postgres",
            ["ALTER TABLE app_file DISABLE ROW LEVEL SECURITY", "DROP POLICY apart ON app_file"],
        )


def test_security_that_comes_while_we_run() -> None:
    """The first attempt fails completely, and the next one knows."""
    with as_role() as role:
        assert apply("h", files("one"), using="postgres") == (MANY, 0, 0)
        with connections["postgres"].cursor() as cursor:
            cursor.execute("RESET ROLE")
            cursor.execute("ALTER TABLE app_file ENABLE ROW LEVEL SECURITY")
            cursor.execute("CREATE POLICY apart ON app_file USING (true)")
            cursor.execute(f"SET ROLE {role}")
        more = [change("file", f"x{n}", blob="b", mode="m", commit="c") for n in range(MANY)]
        with pytest.raises(Exception, match="row-level security"):
            apply("h", more, using="postgres")
        assert apply("h", more, using="postgres") == (MANY, 0, 0)
        _run("postgres", ["RESET ROLE", "DROP POLICY apart ON app_file",
                          "ALTER TABLE app_file DISABLE ROW LEVEL SECURITY"])  # fmt: skip


def test_a_partitioned_table_without_a_partition_for_a_row() -> None:
    """It is the row's fault."""
    keys = ", ".join(f"'k{n}'" for n in range(MANY))
    with named(
        "postgres",
        "parted",
        [
            (
                "CREATE TABLE parted (LIKE app_file INCLUDING DEFAULTS INCLUDING IDENTITY,"
                " UNIQUE (path)) PARTITION BY LIST (path)"
            ),
            f"CREATE TABLE parted_k PARTITION OF parted FOR VALUES IN ({keys})",
        ],
        ["DROP TABLE parted"],
    ):
        check_life("postgres")
        bad = change("file", "nowhere", blob="b", mode="m", commit="c")
        assert apply("h", [bad, *files("four")], using="postgres") == (MANY, 0, 1)
        letter = DeadLetter.objects.using("postgres").get(key="nowhere")
        assert letter.reason == "integrity"
