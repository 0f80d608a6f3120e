"""Querysets that are compiled once, and executed with the values of each call.

Django builds and compiles a queryset at each use. For a query with a few joins this takes longer
than its execution, and with five queries it was most of the CPU time of posting a message. A
prepared query keeps the SQL and Django's description of its columns:

    _IN_ROOM = PreparedQuery(lambda room: Run.objects.filter(room=room), room=UUIDField())
    runs = _IN_ROOM(room=room_id)

The factory gets a `Parameter` for each keyword and is called once for each size of its lists. What
it reads apart from them (settings, the clock, the language) is fixed then.

PostgreSQL also takes longer to plan such a query than to execute it, so it gets all statements of
this module as prepared statements (`server_statements`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, Final, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.models import AutoField, Expression, Field, Model, QuerySet
from django.db.models.query import FlatValuesListIterable, ModelIterable, ValuesListIterable
from django.db.models.sql import UpdateQuery
from django.db.models.sql.compiler import SQLCompiler

from accounts.database.server_statements import executed, literal

R = TypeVar("R")
AnyField = Field[Any, Any]
Declared = AnyField | Sequence[AnyField]
"""The field that converts the values of a parameter; in a list, for a parameter that is a list."""
Changes = tuple[QuerySet[Any, Any], Mapping[str, Any]]
"""The rows of an update, and the new values of their fields."""

MAX_ROWS: Final = 16
"""The largest number of rows for which `insert` keeps a statement."""

_ITERABLES: Final = (ModelIterable, ValuesListIterable, FlatValuesListIterable)


class Parameter(Expression):
    """A value of a prepared query that each call gives.

    The value is converted to the database by `output_field`. None is refused, because
    `filter(x=None)` would be another query (`IS NULL`); unless the field has `null=True`: then None
    equals no value, as NULL in SQL.
    """

    def __init__(self, name: str, output_field: AnyField, index: int | None = None) -> None:
        super().__init__(output_field=output_field)
        self.name = name
        self.index = index

    def as_sql(self, compiler: Any, connection: Any) -> Any:  # Any: Django's stubs forbid objects
        """Return a placeholder; its value is this parameter until a call replaces it."""
        return "%s", [self]

    def bound(self, values: Mapping[str, Any]) -> Any:
        """Return the value of this parameter in a call, as the database driver takes it."""
        value = values[self.name]
        if self.index is not None:
            value = value[min(self.index, len(value) - 1)]
        elif isinstance(value, Collection) and not isinstance(value, str | bytes):
            raise TypeError(f"The parameter {self.name} has one placeholder: declare a list.")
        if value is None and not self.output_field.null:
            raise ValueError(f"The parameter {self.name} is None.")
        return self.output_field.get_db_prep_value(value, connection)


class _Prepared:
    """The statements of a factory: one for each size of its lists.

    A list parameter is declared as `[field]`. A list of n values is padded to the next power of 2
    by repeating its last value, so that few statements are compiled. An empty list is refused. The
    lookup of a list through a foreign key is `team__pk__in`: Django converts the values of
    `team__in` before the call.
    """

    def __init__(self, factory: Callable[..., Any], fields: Mapping[str, Declared]) -> None:
        self._factory = factory
        self._fields = fields
        self._lists = [name for name, field in fields.items() if isinstance(field, Sequence)]
        self._compiled: dict[tuple[int, ...], Any] = {}

    def _compiled_for(self, values: Mapping[str, Any]) -> Any:
        """Return the compiled factory for these values; compile it at the first call.

        Two threads may compile at once; their results are equal.
        """
        if values.keys() != self._fields.keys():
            raise TypeError(f"The parameters are {sorted(self._fields)}.")
        sizes = tuple(_padded(len(values[name])) for name in self._lists)
        compiled = self._compiled.get(sizes)
        if compiled is None:
            counts = dict(zip(self._lists, sizes, strict=True))
            parameters = {
                name: _parameters(name, field, counts.get(name, 0))
                for name, field in self._fields.items()
            }
            compiled = self._compiled[sizes] = self._compile(self._factory(**parameters))
        return compiled

    def _compile(self, made: Any) -> Any:
        raise NotImplementedError


class PreparedQuery(_Prepared, Generic[R]):
    """A queryset of model instances, or of `values_list`, that is compiled once."""

    def __init__(self, factory: Callable[..., QuerySet[Any, R]], **fields: Declared) -> None:
        super().__init__(factory, fields)

    def __call__(self, **values: Any) -> list[R]:
        """Execute the query and return its rows.

        Raises ValueError for None, TypeError for other parameters than those of the factory, and
        TransactionManagementError if the query locks rows outside of a transaction.
        """
        compiled: _Select[R] = self._compiled_for(values)
        return compiled.rows(values)

    def _compile(self, made: QuerySet[Any, R]) -> "_Select[R]":
        return _Select(made)


class PreparedUpdate(_Prepared):
    """An UPDATE that is compiled once. The factory returns the rows and the new values."""

    def __init__(self, factory: Callable[..., Changes], **fields: Declared) -> None:
        super().__init__(factory, fields)

    def __call__(self, **values: Any) -> int:
        """Execute the update and return the number of rows. Raises as a query does."""
        statement: _Statement = self._compiled_for(values)
        with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS):
            return _execute(statement.sql, statement.bind(values))

    def _compile(self, made: Changes) -> "_Statement":
        rows, changes = made
        query: Any = rows.query.chain(UpdateQuery)  # Any: the stubs do not know `klass`
        query.add_update_values(dict(changes))
        return _Statement(*query.get_compiler(DEFAULT_DB_ALIAS).as_sql())


def insert(*rows: Model) -> None:
    """Insert rows of one model in one statement, as `bulk_create` does.

    A key that the database generates is not set on the row.
    """
    if not rows:
        return
    model = type(rows[0])
    if len(rows) > MAX_ROWS:
        model._base_manager.bulk_create(rows)  # noqa: SLF001  # Django documents it
        return
    fields = _inserted_fields(model)
    params = [
        field.get_db_prep_save(field.pre_save(row, add=True), connection)
        for row in rows
        for field in fields
    ]
    with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS):
        _execute(_insert_sql(model, len(rows)), params)
    for row in rows:
        row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS  # noqa: SLF001  # documented


class _Statement:
    """SQL with the values of its placeholders, some of which are parameters.

    On PostgreSQL only parameters are placeholders. Other values are part of the SQL: a plan for all
    parameters may use a partial index only if the value of its condition is known.
    """

    def __init__(self, sql: str, params: Sequence[Any]) -> None:
        if connection.vendor == "postgresql":
            marks = ["%s" if isinstance(each, Parameter) else literal(each) for each in params]
            sql = sql.replace("%%", "%%%%") % tuple(marks)
            params = [each for each in params if isinstance(each, Parameter)]
        self.sql = sql
        self._params = params

    def bind(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values of all placeholders in a call."""
        return [
            each.bound(values) if isinstance(each, Parameter) else each for each in self._params
        ]


class _Select(Generic[R]):
    """A compiled SELECT, and what Django's iterables need to make rows of its results."""

    def __init__(self, queryset: QuerySet[Any, R]) -> None:
        # What makes the rows of a queryset has no public name.
        made: dict[str, Any] = queryset.__dict__
        if made["_iterable_class"] not in _ITERABLES or made["_prefetch_related_lookups"]:
            raise TypeError("Only model instances and values_list can be prepared.")
        if made["_known_related_objects"]:
            raise TypeError("A related manager is bound to an instance: filter the model instead.")
        self._iterable = made["_iterable_class"]
        self._locks = queryset.query.select_for_update
        self._compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
        self._statement = _Statement(*self._compiler.as_sql())
        if self._compiler.has_extra_select:
            raise TypeError("A distinct query can only be ordered by columns that it returns.")
        self._compiler.connection = None  # it belongs to the thread that has compiled

    def rows(self, values: Mapping[str, Any]) -> list[R]:
        """Execute the statement on the connection of this thread and return the rows."""
        locks = self._locks and connection.features.has_select_for_update
        if locks and connection.get_autocommit():
            raise transaction.TransactionManagementError("Rows are locked in transactions.")
        execution = _Execution(self._compiler, self._statement.sql, self._statement.bind(values))
        return list(self._iterable(_Source(execution)))


class _Execution(SQLCompiler):
    """A copy of a compiler that has compiled its query; it executes the SQL of one call."""

    def __init__(self, compiled: SQLCompiler, sql: str, params: list[Any]) -> None:
        self.__dict__.update(compiled.__dict__)
        self.connection = connections[DEFAULT_DB_ALIAS]
        self._bound = sql, params

    def execute_sql(self, *_: Any, **__: Any) -> Any:  # Any: as above
        """Return all rows of the call, in one chunk."""
        with executed(*self._bound) as cursor:
            return [cursor.fetchall()]


class _Source:
    """The attributes of a queryset that Django's iterables read."""

    db: Final = DEFAULT_DB_ALIAS
    _known_related_objects: Final[Mapping[Any, Any]] = {}

    def __init__(self, compiler: SQLCompiler) -> None:
        self._compiler = compiler
        self.query = self

    def get_compiler(self, *_: Any, **__: Any) -> SQLCompiler:
        """Return the compiler, as the query of a queryset does."""
        return self._compiler


def _execute(sql: str, params: Sequence[Any]) -> int:
    with executed(sql, params) as cursor:
        count: int = cursor.rowcount
    return count


def _padded(count: int) -> int:
    if not count:
        raise ValueError("A list parameter is empty.")
    return 1 << (count - 1).bit_length()


def _parameters(name: str, field: Declared, count: int) -> Parameter | list[Parameter]:
    if isinstance(field, Sequence):
        return [Parameter(name, field[0], index) for index in range(count)]
    return Parameter(name, field)


@cache
def _inserted_fields(model: type[Model]) -> list[AnyField]:
    return [field for field in model._meta.concrete_fields if not isinstance(field, AutoField)]


@cache
def _insert_sql(model: type[Model], count: int) -> str:
    quote = connection.ops.quote_name
    columns = [quote(field.column or "") for field in _inserted_fields(model)]
    row = f"({', '.join(['%s'] * len(columns))})"
    table = quote(model._meta.db_table)
    values = ", ".join([row] * count)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {values}"  # noqa: S608  # names of models
