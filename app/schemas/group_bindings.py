"""Group bindings."""

from app.schemas.fields import Input, Line, Output, Time


class GroupBindingCreate(Input):
    connector_id: Line
    group: Line


class GroupBindingUpdate(Input):
    group: Line | None = None


class GroupBindingRead(Output):
    id: str
    connector_id: str
    group: str
    created_at: Time
