"""The first account: by a one-time link and by nothing else."""

from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from accounts.errors import Conflict, MaruError, NotFound
from accounts.models import SetupLink, Team, User
from accounts.permissions import MANAGE, access_team
from accounts.services import (
    complete_setup,
    create_setup_link,
    create_team,
    get_setup_link,
    is_set_up,
)
from tests.accounts.concurrency import run_concurrently
from tests.accounts.conftest import PASSWORD, make_user

pytestmark = pytest.mark.django_db


def fresh_link() -> str:
    token = create_setup_link()
    assert token is not None
    return token


def use(token: str, email: str = "seojun@example.com") -> tuple[User, Team]:
    return complete_setup(
        token=token, name="Seojun", email=email, password=PASSWORD, team_name="Hangyeol"
    )


def test_link_makes_the_first_account_and_its_team() -> None:
    user, team = use(fresh_link())

    assert user.is_superuser
    assert user.check_password(PASSWORD)
    assert access_team(user, team.pk, MANAGE) == team
    assert is_set_up()


def test_token_is_nowhere_in_the_row() -> None:
    token = fresh_link()

    assert token not in str(SetupLink.objects.values().get())


def test_link_opens_once() -> None:
    token = fresh_link()
    use(token)

    with pytest.raises(NotFound):
        use(token, "second@example.com")

    assert User.objects.count() == 1


def test_no_new_link_where_all_is_set_up() -> None:
    use(fresh_link())

    assert create_setup_link() is None


def test_older_link_is_dead_once_another_has_been_used() -> None:
    first, second = fresh_link(), fresh_link()
    use(second)

    with pytest.raises(NotFound):
        use(first, "late@example.com")


def test_link_closes_within_the_hour() -> None:
    token = fresh_link()

    with (
        time_machine.travel(timezone.now() + timedelta(minutes=61)),
        pytest.raises(NotFound),
    ):
        get_setup_link(token)


def test_wrong_token_opens_nothing() -> None:
    fresh_link()

    with pytest.raises(NotFound):
        get_setup_link("guess")


@pytest.mark.django_db(transaction=True)
def test_one_of_many_who_use_a_link_at_once_becomes_the_owner() -> None:
    token = fresh_link()

    made = run_concurrently(
        lambda number: use(token, f"p{number}@example.com"), range(10), MaruError
    )

    assert len(made) == 1
    assert User.objects.count() == Team.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_links_at_once_make_one_owner() -> None:
    tokens = [fresh_link() for _ in range(6)]

    made = run_concurrently(lambda token: use(token, f"{token}@example.com"), tokens, MaruError)

    assert len(made) == 1
    assert User.objects.filter(is_superuser=True).count() == 1


def test_link_that_fails_can_be_used_again() -> None:
    make_user("Taken", email="taken@example.com")
    token = fresh_link()

    with pytest.raises(Conflict):
        use(token, "taken@example.com")

    assert use(token)


def test_account_of_somebody_else_does_not_shut_the_operator_out() -> None:
    stranger = make_user("Stranger")
    create_team(user=stranger, name="Theirs")

    assert not is_set_up()
    assert use(fresh_link())
