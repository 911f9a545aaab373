"""Draws how cost grows.

Usage: growth.py FIGURES.csv FOLDER    (rows of series,x,metric,value)
`cargo xtask growth` calls it. The same figures give the same bytes.
"""

import csv
import pathlib
import sys
from collections import defaultdict

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy  # noqa: E402
from matplotlib.ticker import FuncFormatter, NullLocator  # noqa: E402

plt.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "jetsink",
        "font.family": "sans-serif",
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10.5,
        "figure.facecolor": "white",
        "axes.facecolor": "white",
    }
)

TIMES = {
    "wall_us": ("wall clock", "#1f5fa8", "o"),
    "cpu_us": ("CPU, our process", "#d1701a", "s"),
    "server_cpu_us": ("CPU, nats-server", "#5b8f3a", "^"),
}
SPOOL = {
    "append_wall_us": ("append, wall clock", "#1f5fa8", "o"),
    "append_cpu_us": ("append, CPU", "#1f5fa8", "s"),
    "replay_wall_us": ("replay, wall clock", "#d1701a", "o"),
    "replay_cpu_us": ("replay, CPU", "#d1701a", "s"),
    "reopened_wall_us": ("look-up and replay after a restart, wall clock", "#5b8f3a", "o"),
    "reopened_cpu_us": ("the same, CPU", "#5b8f3a", "s"),
}
REJECTED = {"emit_ns": ("emit", "#1f5fa8", "o")}
MEMORY = {"peak_mb": ("at its highest", "#7a4b9b", "o")}
# Title, name of x, metrics, unit of y.
SERIES = {
    "tenants": ("200,000 events to so many tenants", "tenants (subjects)", TIMES, "µs"),
    "events": ("So many events of 100 bytes", "events", TIMES, "µs"),
    "payload": ("Events of so many bytes", "payload, bytes", TIMES, "µs"),
    "window": ("So many events in flight", "window", TIMES, "µs"),
    "rejected": ("Emits that an open circuit rejects", "tenants (subjects)", REJECTED, "ns"),
    "spool": ("50,000 events through the spool", "subjects in the spool", SPOOL, "µs"),
}


def short(value, _=None):
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size and value % (size / 10) == 0:
            return f"{value / size:g}{letter}"
    return f"{value:,g}"


def lines(axes, points, metrics):
    highest = 0
    for metric, (label, colour, marker) in metrics.items():
        line = sorted(points.get(metric, {}).items())
        if not line:
            continue
        highest = max(highest, max(y for _, y in line))
        style = "--" if metrics is SPOOL and "CPU" in label else "-"
        axes.plot(
            *zip(*line),
            color=colour,
            marker=marker,
            markersize=4.5,
            linewidth=1.6,
            linestyle=style,
            label=label,
        )
    axes.set_xscale("log")
    axes.grid(alpha=0.3, linewidth=0.6)
    return highest


def ticks(axes, values):
    axes.set_xticks(values, [short(value) for value in values])
    axes.xaxis.set_minor_locator(NullLocator())


def straight_line(axes, line, label, per):
    """The straight line a + b · x that is nearest to all points, in shares of each."""
    x, y = (numpy.array(values) for values in zip(*sorted(line.items())))
    weighed = numpy.column_stack((1 / y, x / y))
    (fixed, each), *_ = numpy.linalg.lstsq(weighed, numpy.ones_like(y), rcond=None)
    places = numpy.geomspace(x[0], x[-1], 40)
    axes.plot(
        places,
        fixed + each * places,
        color="#555555",
        linewidth=1,
        linestyle=":",
        label=label.format(fixed, each * per),
    )


def draw(name, points, folder):
    title, of_x, metrics, unit = SERIES[name]
    figure, (cost, memory) = plt.subplots(
        1, 2, figsize=(9, 3.4), width_ratios=(1.9, 1), layout="constrained"
    )
    highest = lines(cost, points, metrics)
    if name == "payload":
        straight_line(cost, points["wall_us"], "{:.0f} µs + {:.1f} µs per kB", 1000)
    cost.set_title(f"{title}: cost per event")
    if name in ("payload", "window", "spool"):
        cost.set_yscale("log")
        cost.yaxis.set_major_formatter(FuncFormatter(short))
        cost.yaxis.set_minor_locator(NullLocator())
        cost.set_ylim(top=highest * 6)
    else:
        cost.set_ylim(0, highest * 1.45)
    cost.set_ylabel(f"{unit} per event")
    cost.legend(fontsize=8.5, ncols=2, frameon=False, loc="upper left", handlelength=1.8)
    highest = lines(memory, points, MEMORY)
    if name == "payload":
        straight_line(memory, points["peak_mb"], "{:.0f} MB + {:.0f} × payload", 1e6)
    if name == "window":
        straight_line(memory, points["peak_mb"], "{:.0f} MB + {:.1f} kB × window", 1000)
    memory.set_title("Memory of our process")
    memory.set_ylim(0, highest * 1.6)
    memory.set_ylabel("MB resident")
    memory.legend(fontsize=8.5, frameon=False, loc="upper left", handlelength=1.8)
    values = sorted(points["peak_mb"])
    for axes, shown in ((cost, values), (memory, values[:: len(values) // 3])):
        axes.set_xlabel(of_x)
        ticks(axes, shown)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main():
    figures, folder = map(pathlib.Path, sys.argv[1:])
    series = defaultdict(lambda: defaultdict(dict))
    with open(figures, newline="") as file:
        for row in csv.DictReader(file):
            series[row["series"]][row["metric"]][float(row["x"])] = float(row["value"])
    for name in SERIES:
        if name in series:
            draw(name, series[name], folder)


main()
