"""An error that one row causes, in database, driver or field, becomes a letter of that row
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, ProgrammingError, connections, models

from durable_state.databases.faults import blames_a_row, is_outage
from durable_state.databases.postgresql import _deferred
from durable_state.models import DeadLetter
from durable_state.testing import apply
from tests.app.models import File, Profile, Stamp
from tests.wire import change

from .support.plans import plan_for, put

pytestmark = [
    pytest.mark.usefixtures("writer"),
    pytest.mark.django_db(transaction=True, databases=["default", "postgres", "mysql"]),
]


@contextmanager
def altered(alias: str, do: Sequence[str], undo: Sequence[str]) -> Iterator[None]:
    """The table of files is replaced for a while, and empty before and after."""
    _deferred.cache_clear()
    with connections[alias].cursor() as cursor:
        for statement in do:
            cursor.execute(statement)
    try:
        yield
    finally:
        _deferred.cache_clear()
        File.objects.using(alias).all()._raw_delete(alias)
        with connections[alias].cursor() as cursor:
            for statement in undo:
                cursor.execute(statement)


def files(**blobs: str) -> list[dict[str, Any]]:
    return [change("file", key, blob=blob, mode="m", commit="c") for key, blob in blobs.items()]


def check_letter(alias: str, messages: list[dict[str, Any]], reason: str, detail: str) -> None:
    """The message of "bad" is refused: beside others, by itself, and as a change of a row."""
    assert apply("h", messages, using=alias) == (len(messages) - 1, 0, 1)
    rows = File.objects.using(alias).values_list("path", flat=True)
    assert set(rows) == {message["key"] for message in messages} - {"bad"}
    letter = DeadLetter.objects.using(alias).get()
    assert (letter.key, letter.reason) == ("bad", reason)
    assert detail in letter.detail
    (bad,) = (message for message in messages if message["key"] == "bad")
    assert apply("h", [bad], using=alias) == (0, 0, 1)
    assert apply("h", files(bad="good"), using=alias) == (1, 0, 0)
    assert apply("h", [bad], using=alias) == (0, 0, 1)
    assert File.objects.using(alias).get(path="bad").blob == "good"
    gone = {"type": "file", "key": "bad", "headers": {"operation": "delete"}}
    assert apply("h", [gone], using=alias) == (1, 0, 0)
    assert not DeadLetter.objects.using(alias).exists()


def trigger(body: str, when: str = "BEFORE INSERT OR UPDATE", kind: str = "") -> list[str]:
    """A PostgreSQL trigger that checks each row."""
    return [
        (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$BEGIN IF NEW.blob = 'no' THEN {body}; END IF; RETURN NEW; END$$"
        ),
        (
            f"CREATE {kind} TRIGGER refuse {when} ON app_file"
            f"{' DEFERRABLE INITIALLY DEFERRED' if kind else ''}"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        ),
    ]


UNDO_TRIGGER = ["DROP TRIGGER refuse ON app_file", "DROP FUNCTION refuse()"]
AND_SO_ON = {f"k{number}": f"b{number}" for number in range(60)}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("RAISE EXCEPTION 'not today'", "integrity"),
        ("RAISE EXCEPTION 'not today' USING ERRCODE = 'ZZ123'", "integrity"),
        ("RAISE EXCEPTION 'not today' USING ERRCODE = '42501'", "integrity"),
        ("RAISE EXCEPTION 'not today' USING ERRCODE = 'check_violation'", "integrity"),
        ("ASSERT false, 'not today'", "integrity"),
        ("PERFORM 'not today'::integer", "data"),
        ("PERFORM 1 / (length(NEW.blob) - 2), 'not today'", "data"),
    ],
)
def test_a_trigger_that_raises(body: str, reason: str) -> None:
    """By its own SQLSTATE, by any other, by mistake."""
    detail = "division by zero" if "/" in body else "not today"
    with altered("postgres", trigger(body), UNDO_TRIGGER):
        check_letter("postgres", files(**AND_SO_ON, bad="no"), reason, detail)


def test_a_trigger_whose_error_passes_by_itself() -> None:
    """A trigger may ask for the transaction to be retried, as PostgreSQL does."""
    body = "RAISE EXCEPTION 'later' USING ERRCODE = 'serialization_failure'"
    with altered("postgres", trigger(body), UNDO_TRIGGER):
        with pytest.raises(Exception, match="later"):
            apply("h", files(a="b", bad="no"), using="postgres")
        assert not DeadLetter.objects.using("postgres").exists()


@pytest.mark.parametrize(
    ("alias", "refuse"),
    [
        (
            "default",
            (
                "BEFORE {} ON app_file WHEN NEW.blob = 'no'"
                " BEGIN SELECT RAISE(ABORT, 'not today'); END"
            ),
        ),
        (
            "mysql",
            (
                "BEFORE {} ON app_file FOR EACH ROW IF NEW.blob = 'no' THEN"
                " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not today'; END IF"
            ),
        ),
    ],
)
def test_a_trigger_of_the_other_databases(alias: str, refuse: str) -> None:
    """RAISE of SQLite, SIGNAL of MariaDB."""
    with altered(
        alias,
        [
            f"CREATE TRIGGER refuse {refuse.format('INSERT')}",
            f"CREATE TRIGGER refuse2 {refuse.format('UPDATE')}",
        ],
        ["DROP TRIGGER refuse", "DROP TRIGGER refuse2"],
    ):
        check_letter(alias, files(**AND_SO_ON, bad="no"), "integrity", "not today")


def test_deferred_constraints_are_checked_row_by_row() -> None:
    """An error that PostgreSQL finds at COMMIT would cost the whole batch, again and again."""
    body = "RAISE EXCEPTION 'not today'"
    created = trigger(body, "AFTER INSERT OR UPDATE", "CONSTRAINT")
    with altered("postgres", created, UNDO_TRIGGER):
        check_letter("postgres", files(**AND_SO_ON, bad="no"), "integrity", "not today")


def test_a_deferred_foreign_key_that_no_mapping_knows() -> None:
    """It points to a table of the application's, and fails only at COMMIT."""
    with altered(
        "postgres",
        [
            "CREATE TABLE blobs (name varchar(40) PRIMARY KEY)",
            "INSERT INTO blobs VALUES ('a'), ('b'), ('good')",
            (
                "ALTER TABLE app_file ADD CONSTRAINT known FOREIGN KEY (blob) REFERENCES blobs"
                " DEFERRABLE INITIALLY DEFERRED"
            ),
        ],
        ["ALTER TABLE app_file DROP CONSTRAINT known", "DROP TABLE blobs"],
    ):
        check_letter("postgres", files(x="a", y="b", bad="no"), "integrity", "known")


def test_values_that_a_deferred_constraint_lets_swap() -> None:
    """The constraint is checked for the final state of all rows of the batch, as intended."""
    with altered(
        "postgres",
        ["ALTER TABLE app_file ADD CONSTRAINT apart UNIQUE (blob) DEFERRABLE INITIALLY DEFERRED"],
        ["ALTER TABLE app_file DROP CONSTRAINT apart"],
    ):
        assert apply("h", files(a="1", b="2"), using="postgres") == (2, 0, 0)
        assert apply("h", files(a="2", b="1"), using="postgres") == (2, 0, 0)
        blobs = File.objects.using("postgres").values_list("path", "blob")
        assert dict(blobs) == {"a": "2", "b": "1"}


@pytest.mark.parametrize(
    ("do", "undo", "bad", "reason"),
    [
        (
            (
                "CREATE DOMAIN plain AS varchar(40) CHECK (value <> 'no');"
                " ALTER TABLE app_file ALTER blob TYPE plain"
            ),
            "ALTER TABLE app_file ALTER blob TYPE varchar(40); DROP DOMAIN plain",
            "no",
            "integrity",
        ),
        (
            (
                "ALTER TABLE app_file ADD number numeric(3, 1) GENERATED ALWAYS AS"
                " (CASE blob WHEN 'no' THEN 1e9 ELSE 1 END) STORED"
            ),
            "ALTER TABLE app_file DROP number",
            "no",
            "data",
        ),
        (
            "CREATE INDEX broken ON app_file ((1 / (length(blob) - 6)))",
            "DROP INDEX broken",
            "sixsix",
            "data",
        ),
        (
            (
                "ALTER TABLE app_file ADD twin text GENERATED ALWAYS AS"
                " (repeat(md5(blob), CASE blob WHEN 'no' THEN 8000 ELSE 1 END)) STORED;"
                " CREATE INDEX long ON app_file (twin)"
            ),
            "ALTER TABLE app_file DROP twin",
            "no",
            "data",
        ),
    ],
    ids=["domain", "generated", "expression", "index-row"],
)
def test_whatever_postgresql_has_against_a_row(do: str, undo: str, bad: str, reason: str) -> None:
    """Whatever the class of the error."""
    with altered("postgres", [do], [undo]):
        check_letter("postgres", files(**AND_SO_ON, bad=bad), reason, "")


def test_a_missing_function_in_a_trigger_is_the_tables_fault() -> None:
    """Every row would cause it: no letters, but an error that halts the stream."""
    with altered("postgres", trigger("PERFORM nowhere(1)"), UNDO_TRIGGER):
        with pytest.raises(ProgrammingError, match="nowhere"):
            apply("h", files(a="b", bad="no"), using="postgres")
        assert not DeadLetter.objects.using("postgres").exists()


def test_a_function_that_takes_no_such_value_in_sqlite() -> None:
    """A function in a trigger that finds no JSON: SQLite reports it like a missing table."""
    refuse = "BEFORE {} ON app_file WHEN NEW.blob = 'no' BEGIN SELECT json_extract('[', '$'); END"
    with altered(
        "default",
        [
            f"CREATE TRIGGER refuse {refuse.format('INSERT')}",
            f"CREATE TRIGGER refuse2 {refuse.format('UPDATE')}",
        ],
        ["DROP TRIGGER refuse", "DROP TRIGGER refuse2"],
    ):
        check_letter("default", files(**AND_SO_ON, bad="no"), "data", "malformed JSON")


@pytest.mark.parametrize(
    "method", ["get_prep_value", "get_db_prep_value", "get_db_prep_save", "pre_save"]
)
def test_the_code_of_a_field_may_raise_anything(
    method: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the row's fault, and the letter says what was raised."""
    field = Stamp._meta.get_field("shout")
    original = getattr(type(field), method)

    def failing(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = original(self, *args, **kwargs)
        if "BAD" in (made, *map(str, args)):
            raise LookupError("no such colour")
        return made

    monkeypatch.setattr(type(field), method, failing)
    plan = plan_for(database, Stamp, "code", "label")
    assert put(plan, {key: {"label": key} for key in ("a", "bad", "c")}) == ["bad"]
    codes = Stamp.objects.using(database).values_list("code", flat=True)
    assert set(codes) == {"a", "c"}


def test_a_parameter_that_no_driver_takes(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server has not even seen it."""
    made = {"default": object(), "postgres": object(), "mysql": (1, 2)}[database]
    monkeypatch.setattr(
        models.CharField,
        "get_db_prep_save",
        lambda self, value, connection: made if value == "BAD" else value,
    )
    plan = plan_for(database, Stamp, "code", "label")
    assert put(plan, {key: {"label": key} for key in ("a", "bad", "c")}) == ["bad"]


def unreadable(self: Any, value: Any, *rest: Any) -> Any:
    """A ``from_db_value`` that cannot read what was written in another way."""
    if value == "bad":
        raise LookupError("no such key")
    return value


@pytest.mark.parametrize("count", [1, 40])
def test_a_row_that_its_field_cannot_read(
    database: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be replaced and deleted; the rows beside it are compared and written as usual."""
    before = files(**{f"k{n}": "old" for n in range(count)}, x="bad", y="bad")
    assert apply("h", before, using=database) == (count + 2, 0, 0)
    field = File._meta.get_field("blob")
    monkeypatch.setattr(type(field), "from_db_value", unreadable, raising=False)
    after = files(**{f"k{n}": "new" for n in range(count)}, x="good")
    gone = {"type": "file", "key": "y", "headers": {"operation": "delete"}}
    assert apply("h", [*after, gone], using=database) == (count + 2, 0, 0)
    blobs = File.objects.using(database).values_list("path", "blob")
    assert dict(blobs) == {f"k{n}": "new" for n in range(count)} | {"x": "good"}


def test_a_merge_into_a_row_that_its_field_cannot_read(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fields that the update names are replaced; those that it leaves out cannot be kept,
    which is a letter.
    """
    both = [change("profile", key, name="bad", score=1) for key in ("a", "b", "c")]
    assert apply("chat", both, using=database) == (3, 0, 0)
    field = Profile._meta.get_field("name")
    monkeypatch.setattr(type(field), "from_db_value", unreadable, raising=False)
    values = {"a": {"name": "good"}, "b": {"score": 2}, "c": {"name": "c", "score": 3}}
    updates = [
        {"type": "profile", "key": key, "value": value, "headers": {"operation": "update"}}
        for key, value in values.items()
    ]
    assert apply("chat", updates, using=database) == (2, 0, 1)
    letter = DeadLetter.objects.using(database).get()
    assert (letter.key, letter.reason) == ("b", "field")
    assert "name" in letter.detail
    scores = Profile.objects.using(database).values_list("key", "score")
    assert dict(scores) == {"a": 1, "b": 1, "c": 3}


@pytest.mark.parametrize(
    ("column", "bad"),
    [
        ("number TINYINT AS (IF(`blob` = 'no', 300, 1)) STORED", "no"),
        ("number INT AS (1 / (LENGTH(`blob`) - 6)) STORED", "sixsix"),
        ("number BIGINT AS (IF(`blob` = 'no', 9223372036854775807, 1) + 1) STORED", "no"),
        ("number INT CHECK (`blob` <> 'no')", "no"),
    ],
    ids=["range", "division", "overflow", "check"],
)
def test_whatever_mariadb_has_against_a_row(column: str, bad: str) -> None:
    """Most of it is an operational error there."""
    add, name = f"ALTER TABLE app_file ADD {column}", column.split()[0]
    with altered("mysql", [add], [f"ALTER TABLE app_file DROP {name}"]):
        # Django takes MySQL's "out of range" of a computation for a constraint.
        reason = "integrity" if "CHECK" in column or "BIGINT" in column else "data"
        check_letter("mysql", files(**AND_SO_ON, bad=bad), reason, "")


@pytest.mark.parametrize(
    ("number", "outage"),
    [
        *((2006, True), (2013, True), (1205, True), (1213, True), (1290, True), (1040, True)),
        *((1146, False), (1054, False), (1142, False), (1153, False), (2020, False), (9999, False)),
    ],
)
def test_what_passes_by_itself(number: int, outage: bool) -> None:
    """An unlisted error does not: it halts the stream, and a person looks at it."""
    assert is_outage(OperationalError(number, "x")) == outage
    assert not blames_a_row(OperationalError(number, "x"))


def test_a_column_that_the_role_may_not_write() -> None:
    """It concerns the table: no letters, and an error that names it."""
    connection = connections["postgres"]
    role = f"reader_{connection.settings_dict['NAME']}"[-40:]
    grants = [
        f"CREATE ROLE {role}",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        f"REVOKE UPDATE ON app_file FROM {role}",
        f"GRANT UPDATE (mode, commit) ON app_file TO {role}",
    ]
    assert apply("h", files(a="one"), using="postgres") == (1, 0, 0)
    with connection.cursor() as cursor:
        for statement in grants:
            cursor.execute(statement)
        cursor.execute(f"SET ROLE {role}")
    try:
        with pytest.raises(ProgrammingError, match="permission denied") as denied:
            apply("h", files(a="two"), using="postgres")
        assert not is_outage(denied.value)
        assert not DeadLetter.objects.using("postgres").exists()
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")
