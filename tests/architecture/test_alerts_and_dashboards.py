"""The alerts and the dashboards in deploy/ ask for metrics and labels that the workers have, in valid PromQL."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Final, NamedTuple

import promql_parser
import pytest
import yaml
from promql_parser import AggregateExpr, MatrixSelector, VectorSelector

from shared.engine.monitor.alarms import KINDS

ROOT = Path(__file__).parents[2]
ALERTS: Final[list[dict[str, Any]]] = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"][0][
    "rules"
]
DASHBOARDS: Final = {path.stem: json.loads(path.read_text()) for path in sorted(ROOT.glob("deploy/grafana/*.json"))}
WIDTH: Final = 24
"""The columns of a dashboard in Grafana."""
OF_PROMETHEUS: Final = {"up": {"job", "instance"}}
VARIABLES: Final = {"$__rate_interval": "1m", "$context": ".+", "$saga": ".+"}
"""Grafana puts a value in the place of each before it asks Prometheus."""
ENDINGS: Final = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
PROMTOOL: Final = shutil.which("promtool")


class Selected(NamedTuple):
    """One metric that a query reads, with the labels that the query asks of it."""

    metric: str
    labels: frozenset[str]


def known() -> dict[str, set[str]]:
    """The labels of each series by its name, from docs/metrics.md, which other tests hold to the code."""
    of_workers, _, of_sagas = (ROOT / "docs/metrics.md").read_text().partition("\n## Metrics of sagas\n")
    rows = [
        (label, *row)
        for label, text in (("context", of_workers), ("saga", of_sagas))
        for row in re.findall(r"^\| `(chorus_\w+)` \| (\w+) \|([^|]*)\|", text, re.MULTILINE)
    ]
    return OF_PROMETHEUS | {
        f"{metric}{ending}": {
            *{label, "job", "instance"},
            *re.findall(r"`(\w+)`", further),
            *(["le"] if ending == "_bucket" else []),
        }
        for label, metric, kind, further in rows
        for ending in ENDINGS[kind]
    }


def selected(query: str) -> list[Selected]:
    """The metrics that a query reads, each with the labels of the `by` around it; raises ValueError."""
    found: list[Selected] = []

    def visit(expression: Any, by: frozenset[str]) -> None:
        if isinstance(expression, AggregateExpr):
            grouped = expression.modifier.labels if expression.modifier else ()
            visit(expression.expr, by | frozenset(grouped))
        elif isinstance(expression, MatrixSelector):
            visit(expression.vector_selector, by)
        elif isinstance(expression, VectorSelector):
            matched = {matcher.name for matcher in expression.matchers.matchers}
            found.append(Selected(expression.name or "", by | matched))
        else:
            for part in [getattr(expression, name, None) for name in ("lhs", "rhs", "expr")]:
                if part is not None:
                    visit(part, by)
            for argument in getattr(expression, "args", ()):
                visit(argument, by)

    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    visit(promql_parser.parse(query), frozenset())
    return found


def unknown(query: str) -> list[str]:
    """The metrics and labels of a query that no worker has."""
    series = known()
    return [
        f"{metric}{sorted(labels - series.get(metric, set()))}"
        for metric, labels in selected(query)
        if not labels <= series.get(metric, set()) or metric not in series
    ]


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            yield f"{name}: {panel['title']}", panel


def test_a_query_for_a_metric_or_a_label_that_no_worker_has_is_found() -> None:
    assert unknown('sum by (context) (rate(chorus_batches_total{job="chorus"}[5m])) > 1') == []
    assert unknown("chorus_batches") == ["chorus_batches[]"]
    assert unknown("sum by (type, le) (rate(chorus_call_seconds_bucket[$__rate_interval]))") == [
        "chorus_call_seconds_bucket['type']"
    ]
    assert unknown("1 / max(chorus_parked_messages{partition='0'})") == ["chorus_parked_messages['partition']"]
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        selected("sum(rate(chorus_batches_total[5m])")


def test_every_alert_has_its_entry_in_the_runbook_and_every_entry_its_alert() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in ALERTS]
    assert [rule["annotations"]["runbook"] for rule in ALERTS] == [
        f"docs/runbook.md#{section.lower()}" for section in sections
    ]


def test_alerts_ask_for_metrics_and_labels_that_exist() -> None:
    assert {rule["alert"]: found for rule in ALERTS if (found := unknown(rule["expr"]))} == {}


def test_the_alert_about_partitions_counts_those_of_streams_yaml() -> None:
    partitions = yaml.safe_load((ROOT / "streams.yaml").read_text())["partitions"]
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "ChorusPartitionWithoutOwner"]
    assert rule["expr"].endswith(f"< {partitions}")


def test_the_runbook_names_every_kind_of_alarm() -> None:
    _, _, section = (ROOT / "docs/runbook.md").read_text().partition("## ChorusAlarm\n")
    assert [kind for kind in KINDS if f"`{kind}`" not in section.partition("\n## ")[0]] == []


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on the PATH; .ci/promtool puts it into .ci/bin")
def test_every_alert_fires_when_it_must_and_not_before() -> None:
    assert PROMTOOL is not None
    cases = ROOT / "tests/architecture/alerts_fire.yaml"
    fired = subprocess.run([PROMTOOL, "test", "rules", str(cases)], capture_output=True, text=True, check=False)
    assert fired.returncode == 0, fired.stdout + fired.stderr
    assert set(re.findall(r"alertname: (\w+)", cases.read_text())) == {r["alert"] for r in ALERTS}


def test_dashboards_ask_for_metrics_and_labels_that_exist() -> None:
    assert sorted(DASHBOARDS) == ["broker", "contexts", "sagas"]
    queries = [(place, target["expr"]) for place, panel in panels() for target in panel["targets"]]
    assert {place: found for place, query in queries if (found := unknown(query))} == {}
    variables = [one["query"] for board in DASHBOARDS.values() for one in board["templating"]["list"]]
    asked = {match.groups() for one in variables if (match := re.fullmatch(r"label_values\((\w+), (\w+)\)", one))}
    assert asked == {("chorus_partitions_owned", "context"), ("chorus_sagas_begun_total", "saga")}
    assert all(label in known()[metric] for metric, label in asked)


def test_dashboards_show_every_metric_of_the_docs() -> None:
    shown = {one.metric for _, panel in panels() for target in panel["targets"] for one in selected(target["expr"])}
    docs = re.findall(r"^\| `(chorus_\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    assert [metric for metric in docs if not any(name.startswith(metric) for name in shown)] == []


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_have_the_form_that_grafana_imports(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert (dashboard["uid"], dashboard["schemaVersion"]) == (f"chorus-{name}", 39)
    assert [one["type"] for one in dashboard["templating"]["list"]][:2] == ["datasource", "query"]
    assert [panel["id"] for panel in dashboard["panels"]] == list(range(1, len(dashboard["panels"]) + 1))
    for panel in dashboard["panels"]:
        assert panel["type"] in ("stat", "timeseries"), panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["title"], panel["id"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in ("none", "ops", "s"), panel["title"]
        assert [target["refId"] for target in panel["targets"]] == ["A", "B"][: len(panel["targets"])]
        for target in panel["targets"]:  # A legend names only labels that the query keeps.
            legend = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            grouped = re.match(r"(?:histogram_quantile\([\d.]+, )?\w+ by \(([\w, ]+)\)", target["expr"])
            assert legend == (set(grouped[1].split(", ")) - {"le"} if grouped else set()), target["expr"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_lie_beside_each_other(name: str) -> None:
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    assert all(place["x"] + place["w"] <= WIDTH for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
