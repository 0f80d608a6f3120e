"""What becomes of personas and connections, told to whoever shows and asks them.

Rooms show personas, and this app does not know rooms: so they name a function here when they start
(`AppConfig.ready`). It is called inside the transaction that makes the change, and raises to undo
it; what must wait for the commit, waits there.
"""

from collections.abc import Callable

from agents.models import Connection, Persona

Listener = Callable[[Persona], None]
_on_change: list[Listener] = []
_on_leave: list[Listener] = []
_on_rights_taken: list[Listener] = []
_on_key_taken: list[Callable[[Connection], None]] = []


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


def when_key_is_taken(listener: Callable[[Connection], None]) -> None:
    """Have `listener` called after the key of a connection has been taken away."""
    if listener not in _on_key_taken:
        _on_key_taken.append(listener)


def key_taken(connection: Connection) -> None:
    """Tell every listener that nobody may be asked by the key that the connection had."""
    for listener in _on_key_taken:
        listener(connection)


def _name(listener: Listener, listeners: list[Listener]) -> Listener:
    """Naming a listener twice is the same as once."""
    if listener not in listeners:
        listeners.append(listener)
    return listener
