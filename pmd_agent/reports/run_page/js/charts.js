// Charts: uPlot in the colours of the page, each with its figures as a table and a cursor that arrow keys move.

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const charts = new Set();

/**
 * A figure, whose lines come with `update`: {label, values, colour: "--c1", dash, low, high, dots}; `low` and `high` are the
 * ends of an interval. `stacked`: each line is drawn upon the ones before. `share`: values are in [0, 1], shown in percent.
 */
class Chart {
  constructor(title, note, options = {}) {
    this.title = title;
    this.options = options;
    this.plot = null;
    this.steps = [];
    this.lines = [];
    this.place = h("div", { tabindex: "0", role: "img" });
    this.table = h("details", { ontoggle: () => this.tabulate() }, h("summary", {}, "Figures"));
    this.figure = h("figure", {}, h("figcaption", {}, title, h("span", { class: "soft" }, note)), this.place, this.table);
    this.place.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.plot?.width !== this.place.clientWidth && this.draw()).observe(this.place);
    charts.add(this);
  }

  /** Other values. Lines without any are left out; a figure without lines is hidden. */
  update(steps, lines) {
    const kept = lines.filter((line) => line.values.some((value) => value !== null));
    const same = this.plot && kept.map((line) => line.label).join() === this.lines.map((line) => line.label).join();
    this.steps = steps;
    this.lines = kept;
    this.figure.hidden = !kept.length || !steps.length;
    if (this.figure.hidden) return;
    this.place.setAttribute("aria-label", inWords(this.title, steps, kept, this.options.share));
    if (same) this.plot.setData(dataOf(steps, kept, this.options.stacked));
    else this.draw();
    this.tabulate();
  }

  draw() {
    const width = this.place.clientWidth;
    if (!width || this.figure.hidden) return;
    this.plot?.destroy();
    this.plot = new uPlot(optionsOf(width, this), dataOf(this.steps, this.lines, this.options.stacked), this.place);
  }

  key(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move || !this.plot) return;
    event.preventDefault();
    const last = this.steps.length - 1;
    const at = Math.max(0, Math.min(last, (this.plot.cursor.idx ?? (move > 0 ? -1 : last + 1)) + move));
    this.plot.setCursor({ left: this.plot.valToPos(this.steps[at], "x"), top: 10 });
  }

  /** The same as a table, made when it is opened. */
  tabulate() {
    if (!this.table.open) return;
    const shown = this.options.share ? percent : number;
    const cell = (line, i) => shown(line.values[i]) + (line.low && line.low[i] !== null ? ` [${shown(line.low[i])}, ${shown(line.high[i])}]` : "");
    const head = h("tr", {}, ["step", ...this.lines.map((line) => line.label)].map((name) => h("th", { scope: "col" }, name)));
    const body = this.steps.map((step, i) => h("tr", {}, h("td", {}, String(step)), this.lines.map((line) => h("td", {}, cell(line, i)))));
    const table = h("table", {}, h("thead", {}, head), h("tbody", {}, body));
    this.table.replaceChildren(this.table.firstChild, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Figures of ${this.title}` }, table));
  }
}

function dataOf(steps, lines, stacked) {
  const columns = [steps];
  const sum = steps.map(() => 0);
  for (const line of lines) {
    columns.push(stacked ? line.values.map((value, i) => (sum[i] += value ?? 0)) : line.values);
    if (line.low) columns.push(line.high, line.low);
  }
  return columns;
}

function optionsOf(width, chart) {
  const { lines, options: { stacked, share, zero } } = chart;
  const series = [{ label: "step", value: (plot, value, s, i) => String(chart.steps[i ?? chart.steps.length - 1]) }];
  const bands = [];
  for (const [place, line] of lines.entries()) {
    const stroke = colour(line.colour);
    const shown = (value) => (value === null || value === undefined ? "–" : share ? percent(value) : number(value));
    const own = (plot, value, s, i) => shown(i === null || i === undefined ? lastOf(chart.lines[place].values) : chart.lines[place].values[i]);
    const dots = line.dots || line.values.filter((value) => value !== null).length < 3;
    const points = { show: dots, size: line.dots ? 9 : 6, fill: stroke, stroke };
    series.push({ label: line.label, stroke: line.dots ? "transparent" : stroke, width: line.dots ? 0 : 2, dash: line.dash, points, value: own, spanGaps: true });
    if (stacked) {
      const at = series.length - 1;
      series[at].fill = place ? undefined : stroke + "99";
      if (place) bands.push({ series: [at, at - 1], fill: stroke + "99" });
    }
    if (line.low) {
      const end = { label: " ", width: 0, points: { show: false }, spanGaps: true };
      bands.push({ series: [series.length, series.length + 1], fill: line.dots ? "transparent" : stroke + "33" });
      series.push(end, { ...end });
    }
  }
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") }, font: "12px system-ui" };
  const whole = (plot, splits) => splits.map((value) => (Number.isInteger(value) ? value : ""));
  const range = share ? [0, 1] : zero ? (plot, low, high) => [Math.min(0, low), high > 0 ? high * 1.08 : 1] : undefined;
  return {
    width,
    height: 210,
    series,
    bands,
    axes: [{ ...axis, values: whole }, { ...axis, size: 54, values: (plot, splits) => splits.map((v) => (share ? `${Math.round(100 * v)}%` : number(v))) }],
    scales: { x: { time: false, range: (plot, low, high) => (chart.steps.length === 1 ? [chart.steps[0] - 0.5, chart.steps[0] + 0.5] : [low, high]) }, y: range ? { range } : {} },
    cursor: { y: false, points: { size: 6 } },
    legend: { live: true },
    hooks: { ready: [(plot) => hideEnds(plot, series)], draw: [(plot) => whiskers(plot, chart)] },
  };
}

const lastOf = (values) => values.findLast((value) => value !== null) ?? null;

/** Intervals of single points, as upright lines. */
function whiskers(plot, { lines, steps }) {
  for (const line of lines.filter((each) => each.dots && each.low)) {
    plot.ctx.strokeStyle = colour(line.colour);
    plot.ctx.lineWidth = 2 * devicePixelRatio;
    for (const [i, low] of line.low.entries()) {
      if (low === null) continue;
      const x = plot.valToPos(steps[i], "x", true);
      plot.ctx.beginPath();
      plot.ctx.moveTo(x, plot.valToPos(low, "y", true));
      plot.ctx.lineTo(x, plot.valToPos(line.high[i], "y", true));
      plot.ctx.stroke();
    }
  }
}

/** The ends of intervals have no name in the legend. */
function hideEnds(plot, series) {
  plot.root.querySelectorAll(".u-legend .u-series").forEach((row, i) => (row.hidden = series[i].label === " "));
}

function inWords(title, steps, lines, share) {
  const said = lines.map((line) => {
    const values = line.values.filter((value) => value !== null);
    const shown = share ? percent : number;
    return `${line.label} ${shown(values[0])} at first, ${shown(values[values.length - 1])} at last`;
  });
  return `${title}, steps ${steps[0]} to ${steps[steps.length - 1]}: ${said.join("; ")}. Arrow keys move along the steps.`;
}

/** In other colours. */
function drawCharts() {
  for (const each of charts) each.draw();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
