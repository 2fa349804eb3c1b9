"""
What a route's function declares: which arguments it wants from the edge, which come from path, query and body.

The function's own signature is the contract, checked here once at start and used for parsing and for OpenAPI alike.
Parameters are declared with pydantic's words: `limit: Annotated[int, Field(ge=1, le=100)] = 20`.
"""

import inspect
import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from litestar import Response
from litestar.params import KwargDefinition
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic_core import from_json
from sqlalchemy.orm import Session

from api.answers import JSON, AnyRequest
from api.auth.callers import Who
from api.problems import MalformedRequest, UnsupportedMediaType, WrongInput, faults
from api.schemas import unstorable

PATH_PARAMETER = re.compile(r"{(\w+):\w+}")
NOTHING = inspect.Parameter.empty


class BadRoute(TypeError):
    """A route is declared wrongly; found at start."""


@dataclass(frozen=True)
class Declared:
    """A route's function taken apart."""

    function: Callable[..., Any]
    wants: frozenset[str]
    path: type[BaseModel]
    query: type[BaseModel]
    lists: frozenset[str]
    data: TypeAdapter[Any] | None
    data_optional: bool
    answer: TypeAdapter[Any] | None
    raw: bool

    @property
    def holds_session(self) -> bool:
        """Whether it runs inside the request's transaction."""
        return "session" in self.wants

    def call(self, request: AnyRequest, body: bytes, *, session: Session | None, caller: Any, now: datetime) -> Any:
        """
        Call the function with what it declares.

        :raises MalformedRequest: the body is not JSON
        :raises WrongInput: a parameter or the body does not fit its type; names each field
        """
        given = {"session": session, "caller": caller, "now": now, "request": request}
        arguments = {name: given[name] for name in self.wants}
        arguments |= self._parameters(request)
        if self.data is not None:
            arguments["data"] = self._read(request, body)
        return self.function(**arguments)

    def _parameters(self, request: AnyRequest) -> dict[str, Any]:
        sent = request.query_params
        query = {
            name: sent.getall(name, []) if name in self.lists else sent[name]
            for name in _spoken(self.query)
            if name in sent
        }
        if bad := unstorable(query):
            raise WrongInput([{"field": str(bad.path[0]), "message": bad.why}])
        found: dict[str, Any] = {}
        wrong: list[dict[str, Any]] = []
        for model, given in ((self.path, dict(request.path_params)), (self.query, query)):
            try:
                parsed = model.model_validate(given)
            except ValidationError as error:
                wrong += faults(error)
            else:
                found |= {name: getattr(parsed, name) for name in model.model_fields}
        if wrong:
            raise WrongInput(wrong)
        return found

    def _read(self, request: AnyRequest, body: bytes) -> Any:
        if not body and self.data_optional:
            return None
        kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
        if kind != JSON and not kind.endswith("+json"):
            raise UnsupportedMediaType(f"Send the body as {JSON}, not {kind}.")
        assert self.data is not None
        try:
            plain = from_json(body)
        except ValueError as error:
            raise MalformedRequest(f"The body is not JSON: {error}.") from None
        if bad := unstorable(plain):
            raise WrongInput([{"field": ".".join(map(str, bad.path)), "message": bad.why}])
        try:
            return self.data.validate_json(body)
        except ValidationError as error:
            raise WrongInput(faults(error)) from None


def take_apart(function: Callable[..., Any], path: str, who: Who) -> Declared:
    """
    Read a function's signature.

    :raises BadRoute: an argument is unannotated, unknown, or not what the route provides
    """
    where = f"{function.__module__}.{function.__qualname__}"
    hints = get_type_hints(function, include_extras=True)
    parameters = dict(inspect.signature(function).parameters)
    if "return" not in hints:
        raise BadRoute(f"{where} does not say what it returns")
    if unannotated := parameters.keys() - hints.keys():
        raise BadRoute(f"{where}: no type for {', '.join(sorted(unannotated))}")
    for name, hint in hints.items():
        if any(isinstance(extra, KwargDefinition) for extra in getattr(hint, "__metadata__", ())):
            raise BadRoute(f"{where}: declare {name} with pydantic's Field, not Litestar's Parameter")
    provided = {"session": Session, "caller": who.caller_type, "now": datetime, "request": None}
    for name in parameters.keys() & provided.keys():
        expected = provided[name]
        if expected is not None and hints[name] is not expected:
            raise BadRoute(f"{where}: {name} of this route is a {expected.__name__}")
    in_path = set(PATH_PARAMETER.findall(path))
    if missing := in_path - parameters.keys():
        raise BadRoute(f"{where} does not take {', '.join(sorted(missing))} of its path")
    in_query = parameters.keys() - in_path - provided.keys() - {"data"}

    def model(kind: str, names: Container[str]) -> type[BaseModel]:
        fields = {
            name: (hints[name], ... if parameter.default is NOTHING else parameter.default)
            for name, parameter in parameters.items()
            if name in names
        }
        return _model(kind, fields, where)

    returned = hints["return"]
    bare = get_origin(returned) or returned
    raw = isinstance(bare, type) and issubclass(bare, Response)
    data = parameters.get("data")
    return Declared(
        function=function,
        wants=frozenset(parameters.keys() & provided.keys()),
        path=model("Path", in_path),
        query=model("Query", in_query),
        lists=frozenset(name for name in in_query if _is_list(hints[name])),
        data=None if data is None else TypeAdapter(hints["data"]),
        data_optional=data is not None and data.default is not NOTHING,
        raw=raw,
        answer=None if raw or returned in (None, type(None)) else TypeAdapter(returned),
    )


def _model(kind: str, fields: dict[str, Any], where: str) -> type[BaseModel]:
    config = ConfigDict(allow_inf_nan=False, frozen=True)
    made: type[BaseModel] = create_model(kind, __config__=config, __module__=where, **fields)
    return made


def _spoken(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _is_list(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return any(get_origin(part) in (list, set, tuple, frozenset) for part in (hint, *get_args(hint)))
