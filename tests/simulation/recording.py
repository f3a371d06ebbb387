"""What a worker decided, in its order: between the two inputs, and between them and the wall clock, only it knows.

Each unit's order is noted under a number, and the number travels with the committed offset: so whoever sees a
transaction commit can let the oracle take the same steps.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.events import FOLLOW_UP_OVERDUE
from streams.engine.committing import Committing
from streams.engine.decider import Decider
from streams.engine.inbox import Slice
from streams.engine.transaction import Offsets
from streams.engine.unit import Unit

if TYPE_CHECKING:
    from tests.simulation.world import World

_offsets = Committing.offsets


class Overdue(NamedTuple):
    """A case was found to be overdue."""

    customer_id: str
    survey_id: str
    now_us: int
    """By the wall clock."""
    at_s: float
    """By the loop's."""


Step = tuple[str, int] | Overdue
"""`response` or `follow_up` with its offset, or an overdue case."""


class Recorder:
    """Of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._orders: dict[int, list[Step]] = {}
        self._open: dict[int, tuple[Unit, list[Step]]] = {}

    def order(self, noted: str) -> list[Step]:
        """The steps of the unit with whose offset this was noted."""
        return self._orders[json.loads(noted)["unit"]]

    def closed(self, unit: Unit, steps: list[Step]) -> None:
        self._open[id(unit)] = unit, steps

    def decider(self) -> type[Decider]:
        """In place of `Decider`."""
        recorder, world = self, self._world

        class RecordingDecider(Decider):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self._steps: list[Step] = []

            def decide(self, arrived: Slice) -> None:
                super().decide(arrived)
                self._steps += [("response", record.offset) for record in arrived.records]

            def decide_follow_ups(self, arrived: Slice) -> None:
                super().decide_follow_ups(arrived)
                self._steps += [("follow_up", record.offset) for record in arrived.records]

            def decide_overdue(self, now_us: int) -> bool:
                before = len(self.unit.produced)
                more = super().decide_overdue(now_us)
                for produced in self.unit.produced[before:]:
                    assert dict(produced.headers)["ce_type"] == FOLLOW_UP_OVERDUE.encode()
                    event = json.loads(produced.value or b"")
                    self._steps.append(Overdue(event["customer_id"], event["survey_id"], now_us, world.loop.now_s))
                return more

            def close_unit(self) -> Unit:
                unit = super().close_unit()
                recorder.closed(unit, self._steps)
                self._steps = []
                return unit

        return RecordingDecider

    def offsets(self, known: Committing, unit: Unit) -> Offsets:
        """In place of `Committing.offsets`."""
        offsets = dict(_offsets(known, unit))
        _, steps = self._open.pop(id(unit))
        if offsets:
            number = len(self._orders)
            self._orders[number] = steps
            offset, noted = offsets[known.responses]
            offsets[known.responses] = offset, json.dumps({**json.loads(noted), "unit": number})
        else:
            assert not steps
        return offsets
