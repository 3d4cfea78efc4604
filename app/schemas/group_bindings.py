"""Group bindings."""

from app.schemas.fields import Id, Input, Line, ListQuery, Output, Time


class GroupBindingCreate(Input):
    connector_id: Line
    group: Line


class GroupBindingUpdate(Input):
    group: Line | None = None


class GroupBindingsQuery(ListQuery):
    connector_id: Id | None = None


class GroupBindingRead(Output):
    id: str
    connector_id: str
    group: str
    created_at: Time
