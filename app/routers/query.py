"""The query parameters that a route knows. Others are refused. Otherwise a list with a misspelt filter would return
everything, and a route with a misspelt `dry_run` would write."""

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from app.deps import PrincipalDep
from app.errors import InvalidInput
from app.schemas.faults import unknown_field


async def require_known_query(request: Request, _: PrincipalDep) -> None:
    """A dependency of all JSON routes. It identifies the caller first: an unknown caller learns nothing else.

    Raises:
        InvalidInput: with the names that the route does not know.
    """
    route = request.scope["route"]
    assert isinstance(route, APIRoute)
    given = request.query_params.keys()
    unknown = [name for name in given if name not in _names_in(route.dependant)] if given else []
    if unknown:
        raise InvalidInput(*(unknown_field(name) for name in unknown))


def _names_in(dependant: Dependant) -> set[str]:
    names: set[str] = set()
    for parameter in dependant.query_params:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            names.update(field.alias or name for name, field in model.model_fields.items())
        else:
            names.add(parameter.alias)
    return names.union(*map(_names_in, dependant.dependencies))
