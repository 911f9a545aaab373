"""Plots the queries of the dashboard against a Prometheus: what Grafana would show.

Usage: picture.py DASHBOARD PROMETHEUS_URL START END OUTPUT    (times in seconds since 1970)
`cargo xtask dashboard` calls it after a drill.
"""

import json
import re
import sys
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

COLUMNS = 24
STEP = 1


def ask(prometheus, expression, start, end):
    for variable, value in (
        ("$__rate_interval", "8s"),
        ("$job", ".*"),
        ("$instance", ".*"),
    ):
        expression = expression.replace(variable, value)
    query = {"query": expression, "start": start, "end": end, "step": STEP}
    url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]["result"]


def name_of(series, legend):
    labels = series["metric"]
    return re.sub(r"\{\{(\w+)\}\}", lambda m: labels.get(m.group(1), "?"), legend)


def shown(value, unit):
    if unit == "percentunit":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}"


def main():
    dashboard, prometheus, start, end, output = sys.argv[1:]
    start, end = float(start), float(end)
    with open(dashboard) as file:
        panels = json.load(file)["panels"]
    rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in panels)
    figure = plt.figure(figsize=(17, rows * 0.42))
    grid = figure.add_gridspec(rows, COLUMNS, hspace=3.2, wspace=3.5)
    empty = []
    for panel in panels:
        at = panel["gridPos"]
        place = grid[at["y"] : at["y"] + at["h"], at["x"] : at["x"] + at["w"]]
        axes = figure.add_subplot(place)
        if panel["type"] == "row":
            axes.axis("off")
            axes.text(0, 0.3, panel["title"], fontsize=13, weight="bold")
            continue
        unit = panel.get("fieldConfig", {}).get("defaults", {}).get("unit")
        axes.set_title(panel["title"], fontsize=9, loc="left")
        seen = False
        last = None
        for target in panel["targets"]:
            for series in ask(prometheus, target["expr"], start, end):
                points = [(float(t) - start, float(v)) for t, v in series["values"]]
                points = [(t, v) for t, v in points if v == v]
                if not points:
                    continue
                seen = True
                last = points[-1][1]
                if panel["type"] == "timeseries":
                    label = name_of(series, target.get("legendFormat") or "")
                    axes.plot(*zip(*points), linewidth=1.2, label=label)
        if not seen:
            empty.append(panel["title"])
        if panel["type"] == "stat":
            axes.axis("off")
            text = shown(last, unit) if last is not None else "no data"
            axes.text(0.5, 0.4, text, fontsize=20, ha="center", va="center")
        else:
            axes.set_xlim(0, end - start)
            axes.tick_params(labelsize=7)
            axes.grid(alpha=0.3)
            if unit == "s" and "p99" in panel["title"]:
                axes.set_yscale("log")
            if seen:
                axes.legend(fontsize=7, loc="upper right", framealpha=0.7)
    figure.savefig(output, dpi=70, bbox_inches="tight")
    if empty:
        sys.exit(f"nothing to show in: {', '.join(empty)}")


main()
