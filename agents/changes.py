"""What becomes of personas, told to whoever shows them.

Rooms show personas, and this app does not know rooms: so they name a function here when they start
(`AppConfig.ready`). It is called inside the transaction that makes the change, and raises to undo
it; what must wait for the commit, waits there.
"""

from collections.abc import Callable

from agents.models import Persona

Listener = Callable[[Persona], None]
_on_change: list[Listener] = []
_on_leave: list[Listener] = []
_on_rights_taken: list[Listener] = []


def when_persona_changes(listener: Listener) -> Listener:
    """Have `listener` called after each saved change of a persona."""
    return _name(listener, _on_change)


def when_persona_leaves(listener: Listener) -> Listener:
    """Have `listener` called before a persona is deleted, while its rows are still there."""
    return _name(listener, _on_leave)


def when_persona_rights_are_taken(listener: Listener) -> Listener:
    """Have `listener` called after rights to a persona have been taken from somebody."""
    return _name(listener, _on_rights_taken)


def persona_changed(persona: Persona) -> None:
    """Tell every listener that the persona is not what it was."""
    for listener in _on_change:
        listener(persona)


def persona_leaves(persona: Persona) -> None:
    """Tell every listener that the persona is about to be deleted."""
    for listener in _on_leave:
        listener(persona)


def persona_rights_taken(persona: Persona) -> None:
    """Tell every listener that fewer may use the persona, or do less with it."""
    for listener in _on_rights_taken:
        listener(persona)


def _name(listener: Listener, listeners: list[Listener]) -> Listener:
    """Naming a listener twice is the same as once."""
    if listener not in listeners:
        listeners.append(listener)
    return listener
