"""Counts messages: the numbers that an application shows beside the names of mailboxes and groups."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlmodel import Session, col

from app.models import GroupBinding, Message
from app.services.access import rules
from app.services.access.rules import Action, Principal, PrincipalKind
from app.states import MessageState

Tally = Mapping[str, int]
"""How many messages are in each state."""


@dataclass(frozen=True, slots=True)
class Counts:
    """The messages that a caller may read. A connector or group without messages is left out."""

    connectors: Mapping[str, Tally]
    groups: Mapping[str, Tally]
    total: Tally


def counts(session: Session, principal: Principal) -> Counts:
    """Count the messages that the caller may read, by connector, by group and by state. A user gets only their own groups.

    Raises:
        ScopeMissing
    """
    visible = rules.visible_connector_ids(principal, Action.READ_CONTENT)
    statement = (
        select(col(Message.connector_id), col(Message.state), func.count())
        .where(col(Message.connector_id).in_(visible))
        .group_by(col(Message.connector_id), col(Message.state))
    )
    by_connector: dict[str, dict[str, int]] = {}
    for connector_id, state, count in session.execute(statement):
        by_connector.setdefault(connector_id, dict.fromkeys(MessageState, 0))[state] = count
    bindings = select(col(GroupBinding.group), col(GroupBinding.connector_id)).where(
        col(GroupBinding.connector_id).in_(visible)
    )
    if principal.kind == PrincipalKind.USER:
        bindings = bindings.where(col(GroupBinding.group).in_(principal.groups))
    of_group: dict[str, list[Tally]] = {}
    for group, connector_id in session.execute(bindings.order_by(col(GroupBinding.group))):
        if connector_id in by_connector:
            of_group.setdefault(group, []).append(by_connector[connector_id])
    return Counts(
        connectors=by_connector,
        groups={group: _sum(tallies) for group, tallies in of_group.items()},
        total=_sum(by_connector.values()),
    )


def _sum(tallies: Iterable[Tally]) -> Tally:
    total: dict[str, int] = dict.fromkeys(MessageState, 0)
    for tally in tallies:
        for state, count in tally.items():
            total[state] += count
    return total
