"""A condition like `in` for the long lists of the hub's checks, as one parameter of the query.

Django and psycopg handle each value of an `in` separately, in Python. For the 500 credentials of a
process this takes longer than the query itself, and it holds the interpreter's lock.
"""

from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models.lookups import In


class AnyOf(In):
    """`filter(AnyOf(F("pk"), values))`: the field has one of the values, which contain no comma."""

    prepare_rhs = False  # the values have the type of the field

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        """Return the SQL; databases other than PostgreSQL get that of `in`."""
        values = [str(value) for value in self.rhs if value is not None]
        if not values:
            raise EmptyResultSet
        sql, parameters = self.process_lhs(compiler, connection)
        cast = self.lhs.output_field.db_type(connection)
        # One text, because psycopg would also quote each element of a list separately.
        return f"{sql} = ANY (string_to_array(%s, ',')::{cast}[])", (*parameters, ",".join(values))
