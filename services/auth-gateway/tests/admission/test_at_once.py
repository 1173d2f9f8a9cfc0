"""What is decided without asking anybody, and for how long a block of headers goes by what was decided."""

from typing import Any

import pytest

from gateway.admission import BELIEVED_SECONDS, Ask, Decision, Forward, Refuse
from gateway.headers import Block
from gateway.keys import MAX_AGE_SECONDS

TARGET = "/api/v1/jobs"


@pytest.fixture
def block(door: Any, keys: Any, tools: Any) -> Block:
    door.admitted(tools.mint(keys.rsa, door.claims()))  # the issuer's keys are fetched
    return Block({"authorization": f"Bearer {tools.mint(keys.rsa, door.claims(sub='new'))}"})


def considered(door: Any, block: Block, **told: Any) -> Decision | Ask:
    decision: Decision | Ask = door.admission.consider("GET", TARGET, block, **told)
    return decision


def test_a_new_token_is_verified_at_once_where_its_key_is_at_hand(door: Any, block: Block) -> None:
    assert isinstance(considered(door, block), Forward)


def test_before_any_key_was_fetched_somebody_must_ask(door: Any, keys: Any, tools: Any) -> None:
    token = tools.mint(keys.rsa, door.claims())
    assert isinstance(considered(door, Block({"authorization": f"Bearer {token}"})), Ask)


def test_with_old_keys_somebody_must_ask(door: Any, keys: Any, tools: Any, block: Block) -> None:
    door.clock.advance(MAX_AGE_SECONDS + 1)
    token = tools.mint(keys.rsa, door.claims())
    assert isinstance(considered(door, Block({"authorization": f"Bearer {token}"})), Ask)


def test_what_is_not_good_at_first_sight_takes_a_second_look(door: Any, keys: Any, tools: Any) -> None:
    door.admitted(tools.mint(keys.rsa, door.claims()))
    for token in (
        tools.mint(keys.other_rsa, door.claims()),
        tools.mint(keys.rsa, door.claims(exp=1)),
        "rl_x",
    ):
        assert isinstance(considered(door, Block({"authorization": f"Bearer {token}"})), Ask)


def test_for_a_barred_address_no_new_token_is_looked_at(door: Any, block: Block) -> None:
    assert isinstance(considered(door, block, is_barred=True), Ask)
    considered(door, block)
    assert isinstance(considered(door, block, is_barred=True), Forward)


def test_a_revoked_token_is_not_good_at_first_sight(door: Any, block: Block) -> None:
    door.revoked.clients.add("runway-api")
    ask = considered(door, block)
    assert isinstance(ask, Ask)
    assert isinstance(door.admission.conclude(ask, door.admission.authenticate(block.token)), Refuse)


def test_a_block_goes_by_a_verdict_for_a_moment_and_no_longer(door: Any, block: Block) -> None:
    considered(door, block)
    considered(door, block)  # found among the verdicts, and left with the block
    door.revoked.clients.add("runway-api")
    door.clock.advance(BELIEVED_SECONDS - 0.01)
    assert isinstance(considered(door, block), Forward)
    door.clock.advance(0.02)
    assert isinstance(considered(door, block), Ask)


def test_a_block_never_outlives_its_token(door: Any, keys: Any, tools: Any) -> None:
    door.admitted(tools.mint(keys.rsa, door.claims()))
    token = tools.mint(keys.rsa, door.claims(exp=door.now + 1))
    block = Block({"authorization": f"Bearer {token}"})
    door.clock.advance(0.9)
    assert [isinstance(considered(door, block), Forward) for _ in range(2)] == [True, True]
    door.clock.advance(0.1)
    assert not isinstance(considered(door, block), Forward)


def test_each_second_has_its_own_signature_and_each_line_too(door: Any, block: Block) -> None:
    def signature(target: str) -> str:
        decision = door.admission.consider("GET", target, block)
        assert isinstance(decision, Forward)
        return decision.signature

    first = signature(TARGET)
    assert signature(TARGET) == first
    assert signature(f"{TARGET}?limit=1") != first
    door.clock.advance(1)
    assert signature(TARGET) != first
