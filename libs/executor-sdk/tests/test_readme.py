"""The README's programs run, and it leaves nothing out."""

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

import executor_sdk
from executor_sdk import Executor, Run
from executor_sdk.testing import Platform

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLE, TESTED = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_makes_an_output_set_of_its_input(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Executor] = []
    monkeypatch.setattr(Executor, "serve", lambda self: served.append(self))
    monkeypatch.setenv("GATEWAY_URL", platform.url)
    monkeypatch.setenv("REDIS_URL", "redis://nobody")
    exec(compile(EXAMPLE, "example", "exec"), {})
    platform.payload["inputs"] = {"INPUT_FILE": {"url": platform.put("i", "a,b\né,2\n".encode())}}
    [executor] = served
    assert executor.take(platform.turn) == "completed"
    executor.close()
    assert json.loads(platform.objects["/store/set-1/rows.jsonl"]) == {"a": "é", "b": "2"}
    assert platform.bodies("complete") == [{"result": {"rows": 1}, "output_sets": ["set-1"]}]


def test_the_test_of_a_handler_passes() -> None:
    names: dict[str, Any] = {}
    exec(compile(TESTED, "test", "exec"), names)
    names["executor"].close()
    names["platform"].close()


@pytest.mark.parametrize("kind", [Executor, Run])
def test_every_method_is_described(kind: type) -> None:
    public = [name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")]
    assert [name for name in public if f"`{name}(" not in README and f".{name}(" not in README] == []


def test_every_error_is_described() -> None:
    errors = [name for name in executor_sdk.__all__ if isinstance(getattr(executor_sdk, name), type)
              and issubclass(getattr(executor_sdk, name), BaseException)]  # fmt: skip
    assert [name for name in errors if name not in README] == []
