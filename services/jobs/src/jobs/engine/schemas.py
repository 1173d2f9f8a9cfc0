"""Tell whether a value fits a JSON Schema, however hostile either is.

The check runs in a process of its own that has a bound on time and memory: references may multiply, and no
thread of ours can be stopped. Patterns run on an engine of linear time, and nothing is fetched.
"""

import json
import resource
import subprocess
import sys
from typing import Any

MAX_SCHEMA_BYTES = 64 * 1024
CPU_SECONDS = 2
PATIENCE_SECONDS = 30  # for a process that does not even get its turn
MEMORY_BYTES = 1024 * 1024 * 1024
LONGEST_SENTENCE = 500
TOO_COSTLY = "the schema takes too much time or memory to check"


class SchemaUnusable(Exception):
    """The schema is none, refers to what it does not hold, or takes too much to check."""


class ValueBreaksSchema(Exception):
    """The value is not what its schema says."""


def check(schema: Any, value: Any) -> None:
    """Return if `value` fits `schema`; raises SchemaUnusable and ValueBreaksSchema."""
    try:
        done = subprocess.run(  # noqa: S603 (our own module; what is judged goes in as data)
            [sys.executable, "-I", "-m", __name__],
            input=json.dumps({"schema": schema, "value": value}).encode(),
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SchemaUnusable(TOO_COSTLY) from None
    if done.returncode != 0:
        raise SchemaUnusable(TOO_COSTLY)
    answer = json.loads(done.stdout)
    if answer["unusable"]:
        raise SchemaUnusable(f"the schema is not usable: {answer['unusable']}")
    if answer["broken"]:
        raise ValueBreaksSchema(f"the value breaks its schema: {answer['broken']}")


def _judge(schema: Any, value: Any) -> dict[str, str]:
    import jsonschema_rs  # in the bounded process only

    try:
        validator = jsonschema_rs.validator_for(
            schema, offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
        error = next(validator.iter_errors(value), None)
    except (ValueError, jsonschema_rs.ReferencingError) as fault:
        return {"unusable": _sentence(fault), "broken": ""}
    return {"unusable": "", "broken": _sentence(error) if error else ""}


def _sentence(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0][:LONGEST_SENTENCE] if lines else "no reason is known"


def main() -> None:
    """Judge what stands on the input and write the verdict."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = json.load(sys.stdin)
    json.dump(_judge(asked["schema"], asked["value"]), sys.stdout)


if __name__ == "__main__":
    main()
