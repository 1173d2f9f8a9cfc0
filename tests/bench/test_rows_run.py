"""A row runs from its servers to its figures. What the figures are is nobody's business here."""

import pytest

from bench import p1_gateway
from bench.conditions import Conditions
from bench.place import Place

pytestmark = pytest.mark.servers


def test_our_gateway_is_measured_beside_plain_nginx() -> None:
    with Place() as place, p1_gateway.ours(rig := p1_gateway.ready_rig(place)):
        [result] = p1_gateway.warm(rig, ["upstream"], Conditions(pairs=1, seconds=1))

    assert result.ours.median > 0
    assert result.theirs.median > 0
