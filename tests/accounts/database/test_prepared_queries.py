"""Prepared queries return what the querysets return from which they are made."""

from collections.abc import Callable
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.models import BigIntegerField, CharField, Exists, Field, OuterRef, QuerySet
from django.db.models import UUIDField as Uuid
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.database.prepared_queries import MAX_ROWS, PreparedQuery, PreparedUpdate, insert
from accounts.models import SetupLink, Team, TeamMember, TeamRole, User
from accounts.services import create_team
from accounts.services.teams import add_team_member
from tests.rooms.conftest import make_user

pytestmark = pytest.mark.django_db

ID: Field[Any, Any] = Uuid()


@pytest.fixture
def teams() -> list[Team]:
    """Three teams, each with an owner; the first two have a member as well."""
    owner, member = make_user("Owner"), make_user("Member")
    teams = [create_team(user=owner, name=f"Team {number}") for number in range(3)]
    for team in teams[:2]:
        add_team_member(team, member, TeamRole.MEMBER)
    return teams


def members_of(team: Any) -> QuerySet[TeamMember]:
    return TeamMember.objects.filter(team=team).select_related("user", "team").order_by("pk")


def test_instances_have_their_related_objects_and_annotations(
    teams: list[Team], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    owns = TeamMember.objects.filter(user=OuterRef("user"), role=TeamRole.OWNER)
    prepared = PreparedQuery(lambda team: members_of(team).annotate(owns=Exists(owns)), team=ID)
    expected = list(members_of(teams[0].pk).annotate(owns=Exists(owns)))

    with django_assert_num_queries(1):
        found: list[Any] = prepared(team=teams[0].pk)
        users = [(row.user.name, row.user.date_joined, row.team.pk, row.owns) for row in found]

    assert found == expected
    assert users == [(e.user.name, e.user.date_joined, e.team.pk, e.owns) for e in expected]


def test_each_call_has_its_own_values(teams: list[Team]) -> None:
    prepared = PreparedQuery(
        lambda team, role: members_of(team).filter(role=role).values_list("team", "role"),
        team=ID,
        role=CharField(),
    )

    for team in teams:
        for role in (TeamRole.OWNER, TeamRole.MEMBER):
            expected = list(members_of(team.pk).filter(role=role).values_list("team", "role"))
            assert prepared(team=team.pk, role=role) == expected


def test_second_call_builds_no_queryset(teams: list[Team]) -> None:
    built = []

    def factory(team: object) -> QuerySet[TeamMember]:
        built.append(team)
        return members_of(team)

    prepared = PreparedQuery(factory, team=ID)

    assert [len(prepared(team=team.pk)) for team in teams] == [2, 2, 1]
    assert len(built) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_lists_of_any_length_select_their_values(teams: list[Team], count: int) -> None:
    prepared: PreparedQuery[UUID] = PreparedQuery(
        lambda teams: Team.objects.filter(pk__in=teams).values_list("pk", flat=True), teams=[ID]
    )
    ids = [*(team.pk for team in teams), uuid4(), uuid4()][:count]

    found = prepared(teams=ids)

    assert sorted(found) == sorted(ids[:3])


def test_lists_of_up_to_four_values_use_three_statements(teams: list[Team]) -> None:
    prepared = PreparedQuery(lambda teams: Team.objects.filter(pk__in=teams), teams=[ID])

    for count in range(1, 5):
        prepared(teams=[uuid4() for _ in range(count)])

    assert len(prepared._compiled) == 3


def test_none_is_refused_unless_the_parameter_allows_it(teams: list[Team]) -> None:
    strict = PreparedQuery(members_of, team=ID)
    nullable = PreparedQuery(members_of, team=Uuid(null=True))

    with pytest.raises(ValueError, match="team is None"):
        strict(team=None)
    assert nullable(team=None) == []
    assert len(nullable(team=teams[0].pk)) == 2


@pytest.mark.parametrize("values", [{}, {"team": UUID(int=1), "room": UUID(int=1)}, {"room": 1}])
def test_other_parameters_than_those_of_the_factory_are_refused(values: dict[str, Any]) -> None:
    prepared = PreparedQuery(members_of, team=ID)

    with pytest.raises(TypeError, match="team"):
        prepared(**values)


def test_list_in_place_of_one_value_is_refused() -> None:
    prepared = PreparedQuery(lambda teams: Team.objects.filter(pk__in=teams), teams=ID)

    with pytest.raises(TypeError, match="declare a list"):
        prepared(teams=[uuid4(), uuid4()])


def test_empty_list_is_refused() -> None:
    prepared = PreparedQuery(lambda teams: Team.objects.filter(pk__in=teams), teams=[ID])

    with pytest.raises(ValueError, match="empty"):
        prepared(teams=[])


@pytest.mark.parametrize(
    "factory",
    [
        pytest.param(lambda team: Team.objects.filter(pk=team).values("pk"), id="dictionaries"),
        pytest.param(
            lambda team: members_of(team).prefetch_related("user"), id="a second query per call"
        ),
        pytest.param(
            lambda team: Team(pk=UUID(int=1)).members.filter(team=team), id="a related manager"
        ),
    ],
)
def test_queryset_that_depends_on_more_than_its_parameters_is_refused(
    factory: Callable[..., Any],
) -> None:
    with pytest.raises(TypeError):
        PreparedQuery(factory, team=ID)(team=uuid4())


def test_update_changes_only_its_rows_and_returns_their_number(teams: list[Team]) -> None:
    rename = PreparedUpdate(
        lambda team, name: (Team.objects.filter(pk=team), {"name": name}), team=ID, name=CharField()
    )

    assert rename(team=teams[0].pk, name="100 %s") == 1
    assert rename(team=uuid4(), name="No team") == 0

    names = list(Team.objects.order_by("created_at", "pk").values_list("name", flat=True))
    assert sorted(names) == ["100 %s", "Team 1", "Team 2"]


@pytest.mark.parametrize("count", [1, 3, MAX_ROWS + 1])
def test_inserted_rows_are_those_of_bulk_create(count: int) -> None:
    now = timezone.now()
    links = [SetupLink(digest=f"{n}", expires_at=now) for n in range(count)]
    users = [User(email=f"{n}@example.com", name=f"<{n}>", handle=f"h{n}") for n in range(count)]

    with CaptureQueriesContext(connection) as captured:
        insert(*users)
        insert(*links)

    assert len([query for query in captured if query["sql"].startswith("INSERT")]) == 2
    stored = User.objects.order_by("date_joined")
    assert {(u.pk, u.name, u.is_active) for u in stored} == {(u.pk, u.name, True) for u in users}
    assert set(SetupLink.objects.values_list("digest", "expires_at", "used_at")) == {
        (link.digest, now, None) for link in links
    }
    users[0].name = "changed"
    users[0].save()  # an update: the row is not inserted again
    assert User.objects.count() == count


def test_nothing_is_inserted_without_rows() -> None:
    with CaptureQueriesContext(connection) as captured:
        insert()

    assert len(captured) == 0


def test_threads_share_the_statement_and_use_their_own_connections(teams: list[Team]) -> None:
    """Another thread does not see the rows of the transaction of this test."""
    prepared = PreparedQuery(members_of, team=ID)
    counts = [len(prepared(team=teams[0].pk))]

    def work() -> None:
        counts.append(len(prepared(team=teams[0].pk)))
        connection.close()

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert counts == [2, 0, 0, 0, 0]
    assert len(prepared._compiled) == 1


def test_numbers_are_compared_as_numbers(teams: list[Team]) -> None:
    numbered = sorted(member.pk for member in TeamMember.objects.all())
    after: PreparedQuery[int] = PreparedQuery(
        lambda number: TeamMember.objects.filter(pk__gt=number).values_list("pk", flat=True),
        number=BigIntegerField(),
    )

    assert sorted(after(number=numbered[1])) == numbered[2:]


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite gets no literals")
def test_postgresql_keeps_a_statement_whose_only_placeholders_are_parameters(
    teams: list[Team],
) -> None:
    """It can plan a statement for all values, and use a partial index."""
    prepared = PreparedQuery(
        lambda team: members_of(team).filter(role="owner", user__name="100 %s"), team=ID
    )

    for team in teams:
        assert prepared(team=team.pk) == []

    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        (statement,) = [sql for (sql,) in cursor.fetchall() if "100 %s" in sql]
    assert "= 'owner'" in statement
    assert "$1" in statement
    assert "$2" not in statement


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite prepares a statement again")
def test_migration_that_changes_a_column_fails_no_query() -> None:
    """The queries are made outside of the transaction of this test, by threads."""
    prepared: PreparedQuery[str] = PreparedQuery(
        lambda user: User.objects.filter(pk=user).values_list("name", flat=True), user=ID
    )
    found = []

    def alter(column_type: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE accounts_user ALTER COLUMN name TYPE {column_type}")
        connection.close()

    def read() -> None:
        for column_type in ("text", "varchar(40)"):
            found.append(prepared(user=uuid4()))
            migration = Thread(target=alter, args=[column_type])
            migration.start()
            migration.join()
            found.append(prepared(user=uuid4()))
        connection.close()

    reader = Thread(target=read)
    reader.start()
    reader.join()

    assert found == [[], [], [], []]
