"""Reads streams.yaml and reports every mistake at once, each with its line.

YAML's surprises (`no` is false, `12:30` is 750, a second key replaces the first) are mistakes here.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from shared.config.spelling import did_you_mean
from shared.config.units import DURATION_AT_MOST, nanoseconds
from shared.derived.topology import STREAMS, ConsumerBounds, Topology
from shared.streams import keys

DURATION_NS_AT_MOST = nanoseconds(DURATION_AT_MOST)


class StreamsFileError(ValueError):
    """The file has mistakes; `problems` has one line for each, with file and line number."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read_topology(file: Path) -> Topology:
    """Read the file; raises StreamsFileError."""
    try:
        return parse_topology(file.read_bytes(), str(file))
    except OSError as error:
        raise StreamsFileError((f"{file}: {error.strerror}; set CHORUS_STREAMS_FILE",)) from error


@lru_cache(maxsize=8)  # A test builds many systems from one file, and PyYAML is slow.
def parse_topology(text: bytes, name: str) -> Topology:
    """Parse the text; `name` is the file in the problems. Raises StreamsFileError."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise StreamsFileError((f"{name}:{line}: {error.problem or error.context}",)) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # PyYAML leaks some of these.
        raise StreamsFileError((f"{name}:1: not YAML that can be read: {str(error).splitlines()[0]}",)) from error
    file = _File(name)
    topology = file.topology(root) if root is not None else None
    if topology is None:
        raise StreamsFileError(tuple(file.problems()) or (f"{name}:1: the file is empty",))
    return topology


class _File:
    """Walks the document and collects its mistakes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._problems: list[tuple[int, str]] = []

    def problems(self) -> list[str]:
        return [f"{self._name}:{line}: {text}" for line, text in sorted(self._problems, key=lambda problem: problem[0])]

    def topology(self, root: yaml.Node) -> Topology | None:
        top = self._mapping(root, "", ("partitions", "streams", "consumers", "buckets"), required=True)
        partitions = self._value(top.get("partitions"), "partitions", keys.read_partitions)
        named = self._mapping(top.get("streams"), "streams", STREAMS, required=True)
        streams = {name: self._stream(node, name) for name, node in named.items()}
        bounds = self._keys(
            top.get("consumers"), "consumers", keys.CONSUMER_KEYS, keys.CONSUMER_METADATA, required=True
        )
        buckets = self._keys(top.get("buckets"), "buckets", keys.BUCKET_KEYS)
        if self._problems:
            return None
        consumers = ConsumerBounds(**bounds)
        return Topology(partitions=partitions, streams=streams, consumers=consumers, buckets=buckets)

    def _stream(self, node: yaml.Node, name: str) -> Mapping[str, Any]:
        where = f"streams.{name}"
        found = self._keys(node, where, keys.STREAM_KEYS)
        for key, (wanted, why) in keys.MUST_BE[name].items():
            if key not in found or found[key] not in (wanted, None):
                self._add(node, f"{where}.{key} must be {str(wanted).lower()}: {why}")
        for key, why in keys.MUST_SAY.get(name, {}).items():
            if key not in found:
                self._add(node, f"{where}.{key} is missing: {why}")
        for key, why in keys.MUST_NOT_SAY.get(name, {}).items():
            if key in found:
                self._add(node, f"{where}.{key} must not be set: {why}")
        if (found.get("duplicate_window") or 0) > (found.get("max_age") or DURATION_NS_AT_MOST):
            self._add(node, f"{where}.duplicate_window must not be longer than max_age")
        return found

    def _keys(
        self,
        node: yaml.Node | None,
        where: str,
        known: Mapping[str, keys.Read],
        texts: tuple[str, ...] = keys.METADATA,
        *,
        required: bool = False,
    ) -> dict[str, Any]:
        """The values of known keys. `texts` are optional keys that hold texts under names of any kind."""
        nodes = self._mapping(node, where, (*known, *texts), required=required)
        named = {text: self._mapping(nodes.pop(text, None), f"{where}.{text}", None) for text in texts}
        found = {key: self._value(value, f"{where}.{key}", known[key]) for key, value in nodes.items()}
        for text, values in named.items():
            found[text] = {
                key: self._value(value, f"{where}.{text}.{key}", keys.read_text) for key, value in values.items()
            }
        return found

    def _mapping(
        self, node: yaml.Node | None, where: str, known: tuple[str, ...] | None, *, required: bool = False
    ) -> dict[str, yaml.Node]:
        """The values by key. `known=None` accepts any key; `required` asks for all known keys except metadata."""
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._add(node, f"{where or 'the file'} is not a mapping of keys to values")
            return {}
        found: dict[str, yaml.Node] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value)
            path = f"{where}.{name}" if where else name
            if not isinstance(key, yaml.ScalarNode) or key.tag != f"{keys.TAG}str":
                self._add(
                    key, f"{path if isinstance(key, yaml.ScalarNode) else where}: a key must be text; put it in quotes"
                )
            elif name in found:
                self._add(key, f"{path} stands here for the second time, first in line {lines[name]}")
            elif known is not None and name in keys.DERIVED and name not in known:
                self._add(key, f"{path} follows from the code of the contexts; leave it out")
            elif known is not None and name not in known:
                self._add(key, f"{path} is not known here{did_you_mean(name, known)}")
            else:
                found[name], lines[name] = value, key.start_mark.line + 1
        for name in known or () if required else ():
            if name not in found and name not in keys.OPTIONAL:
                self._add(node, f"{f'{where}.{name}' if where else name} is missing")
        return found

    def _value(self, node: yaml.Node | None, where: str, read: keys.Read) -> Any:
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            self._add(node, f"{where} is not a single value")
            return None
        try:
            return read(node)
        except ValueError as error:
            self._add(node, f"{where}: {error}{_trap(node)}")
            return None

    def _add(self, node: yaml.Node, text: str) -> None:
        self._problems.append((node.start_mark.line + 1, text.encode(errors="backslashreplace").decode()))


def _trap(node: yaml.ScalarNode) -> str:
    if node.style is None and node.tag == f"{keys.TAG}int" and ":" in node.value:
        return " (YAML reads it as a number in base 60)"
    return ""
