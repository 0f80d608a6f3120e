"""The setup link, which creates the first account and team."""

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


def test_link_creates_the_first_account_and_team() -> None:
    user, team = use(fresh_link())

    assert user.is_superuser
    assert user.check_password(PASSWORD)
    assert access_team(user, team.pk, MANAGE) == team
    assert is_set_up()


def test_token_is_not_stored() -> None:
    token = fresh_link()

    assert token not in str(SetupLink.objects.values().get())


def test_link_works_once() -> None:
    token = fresh_link()
    use(token)

    with pytest.raises(NotFound):
        use(token, "second@example.com")

    assert User.objects.count() == 1


def test_no_link_is_created_after_the_setup() -> None:
    use(fresh_link())

    assert create_setup_link() is None


def test_older_link_is_invalid_after_another_was_used() -> None:
    first, second = fresh_link(), fresh_link()
    use(second)

    with pytest.raises(NotFound):
        use(first, "late@example.com")


def test_link_expires_after_an_hour() -> None:
    token = fresh_link()

    with (
        time_machine.travel(timezone.now() + timedelta(minutes=61)),
        pytest.raises(NotFound),
    ):
        get_setup_link(token)


def test_wrong_token_is_not_found() -> None:
    fresh_link()

    with pytest.raises(NotFound):
        get_setup_link("guess")


@pytest.mark.django_db(transaction=True)
def test_concurrent_uses_of_a_link_create_one_account() -> None:
    token = fresh_link()

    created = run_concurrently(
        lambda number: use(token, f"p{number}@example.com"), range(10), MaruError
    )

    assert len(created) == 1
    assert User.objects.count() == Team.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_concurrent_uses_of_several_links_create_one_superuser() -> None:
    tokens = [fresh_link() for _ in range(6)]

    created = run_concurrently(lambda token: use(token, f"{token}@example.com"), tokens, MaruError)

    assert len(created) == 1
    assert User.objects.filter(is_superuser=True).count() == 1


def test_link_works_after_a_failed_attempt() -> None:
    make_user("Taken", email="taken@example.com")
    token = fresh_link()

    with pytest.raises(Conflict):
        use(token, "taken@example.com")

    assert use(token)


def test_account_of_a_stranger_does_not_lock_out_the_operator() -> None:
    stranger = make_user("Stranger")
    create_team(user=stranger, name="Theirs")

    assert not is_set_up()
    assert use(fresh_link())
