import socket

import pytest

from stack.errors import PortTaken, StackError
from stack.ports import Ports, free_port, is_free, ports_from, require_distinct, require_free


def test_a_taken_port_is_one_sentence_with_the_variable_to_set() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            require_free(port, "GATEWAY_PORT")
    sentence = f"Port {port} is taken (GATEWAY_PORT): stop what uses it or set GATEWAY_PORT."
    assert str(caught.value) == sentence


def test_a_port_taken_on_all_interfaces_is_taken() -> None:
    with socket.create_server(("0.0.0.0", 0)) as stranger:
        assert not is_free(stranger.getsockname()[1])


def test_free_ports_are_below_the_range_of_client_sockets_and_never_the_same() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert all(20_000 <= port < 32_000 for port in ports)


def test_the_environment_sets_ports_and_the_inner_ones_follow_s3() -> None:
    ports = ports_from({"GATEWAY_PORT": "4000", "S3_PORT": "5000"})
    assert (ports.gateway, ports.s3, ports.s3_internal) == (4000, 5000, 5001)
    assert ports_from({}) == Ports()


def test_every_faulty_port_is_named_at_once() -> None:
    with pytest.raises(StackError, match="GATEWAY_PORT, JOBS_PORT"):
        ports_from({"GATEWAY_PORT": "0", "JOBS_PORT": "many"})


def test_one_port_for_two_is_refused() -> None:
    with pytest.raises(StackError, match="JOBS_PORT and OUTPUTS_PORT"):
        require_distinct([("JOBS_PORT", 1), ("OUTPUTS_PORT", 1)])
