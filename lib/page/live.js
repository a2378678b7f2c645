/**
 * A live page: samples that a server sends (server-sent events: `history`, an array of them, then each `sample`) as plots. What is plotted stands in
 * the document: every `data-curve` of a section `.plotted` is a curve of its plot, `--curve` its colour; the section's `data-least` is the least that the
 * axis reaches to, `data-whole` says that values are whole numbers. A script of its own, which a page's script finds as the global `livePage`.
 */

/** Samples, one a second: half an hour. */
const KEPT = 1800;
/** Seconds without a sample that break a curve. */
const GAP = 5;
/** Milliseconds without an event until the connection is taken for dead, though nobody has closed it. */
const SILENCE = 10_000;

const count = new Intl.NumberFormat("en");
const tick = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const time = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat("en", { timeStyle: "short", hourCycle: "h23" });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const large = new Intl.NumberFormat("en", {
  minimumSignificantDigits: 3,
  maximumSignificantDigits: 3,
});
/** Three digits tell enough: 0.0041, 0.35, 3.49, 34.9, 1,234. */
const measure = (value) => (value < 1 ? small : value < 1000 ? large : count).format(value);
const wholeSteps = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((step) => [step, 2 * step, 5 * step]);

const colour = (element, name) => getComputedStyle(element).getPropertyValue(name);

/** Writes a text when it is another one: screen readers announce every change. */
function setText(selector, text) {
  const element = document.querySelector(selector);
  if (element.textContent !== text) element.textContent = text;
}

/** Adds to a section what needs no words in the document: values beside the names of the curves, and a place for the plot. */
function fillIn(section) {
  const make = (name, properties) => Object.assign(document.createElement(name), properties);
  const curves = [...section.querySelectorAll("[data-curve]")].map((element) => {
    const label = make("span", { textContent: element.textContent });
    const value = make("span", { className: "value", textContent: "–" });
    element.replaceChildren(label, value);
    return { name: element.dataset.curve, element, value };
  });
  const title = section.querySelector("h2").firstChild.textContent;
  const target = make("div", { className: "plot", role: "img", ariaLabel: title });
  section.append(target);
  return { curves, target, ...section.dataset };
}

/**
 * Makes the plot of a section; returns what shows the points, and what shows them in other colours.
 *
 * @param pointsNow returns the points, oldest first
 */
function makePlot(section, { pointsNow, valueAt, draw }) {
  const { curves, target, least, whole } = fillIn(section);
  const number = whole === undefined ? measure : count.format;
  const axis = {
    stroke: () => colour(section, "--quiet"),
    grid: { stroke: () => colour(section, "--rule"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
  };
  const size = () => ({ width: target.clientWidth, height: target.clientHeight });
  const line = ({ element }) => ({
    stroke: () => colour(element, "--curve"),
    width: 2,
    dash: element.classList.contains("dashed") ? [4, 4] : [],
    points: { show: () => false }, // uPlot still shows those that no line goes to
  });
  const plot = new uPlot(
    {
      ...size(),
      series: [{}, ...curves.map(line)],
      scales: {
        // A minute at least, so that the first points do not fill the plot.
        x: { range: (_, min, max) => [Math.min(min, max - 60), max] },
        y: { range: (_, _min, max) => [0, Math.max(max * 1.1, Number(least))] },
      },
      axes: [
        {
          ...axis,
          size: 28,
          space: 80,
          values: (_, times, _axis, _space, step) =>
            times.map((at) => (step < 60 ? time : minute).format(at * 1000)),
        },
        {
          ...axis,
          values: (_, values) => values.map(tick.format),
          ...whole !== undefined && { incrs: wholeSteps },
        },
      ],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, setScale: false }, sync: { key: "time" } },
      hooks: {
        setCursor: [showValues],
        draw: [(plot) => draw(plot, pointsNow(), (name) => colour(section, name))],
      },
    },
    undefined,
    target,
  );
  /** The values under the cursor, without one the last. */
  function showValues({ cursor }) {
    const points = pointsNow();
    const point = points[cursor.idx ?? points.length - 1] ?? {};
    document.querySelector("#time").textContent = point.time ? time.format(point.time * 1000) : "";
    for (const { name, value } of curves) {
      const shown = valueAt(point, name);
      value.textContent = shown === null ? "–" : number(shown);
    }
  }
  new ResizeObserver(() => plot.setSize(size())).observe(target);
  return {
    show() {
      const points = pointsNow();
      const column = (name) => points.map((point) => valueAt(point, name));
      plot.setData([points.map(({ time }) => time), ...curves.map(({ name }) => column(name))]);
      showValues(plot);
    },
    recolour: () => plot.redraw(false),
  };
}

/**
 * Shows a stream of samples.
 *
 * @param pointOf what is plotted of a sample: a `time` in seconds, and the value of each curve. Its second argument says whether the curve is broken
 * before it
 * @param valueAt the value of a curve at a point, null for none; the point's property unless given
 * @param onShow is called with the points, oldest first, and with the last sample
 * @param draw draws on a plot besides: is called with uPlot's object, the points, and a function that returns a colour of the theme
 * @param events further events of the stream, by name: functions of their data
 */
globalThis.livePage = ({
  pointOf,
  valueAt = (point, name) => point[name] ?? null,
  onShow = () => {},
  draw = () => {},
  events = {},
}) => {
  /** What is plotted, oldest first. */
  let points = [];
  let source;
  let silence;

  function add(sample) {
    let broken = points.length === 0;
    // The clock may have been set back.
    while (points.at(-1)?.time >= sample.time) {
      points.pop();
      broken = true;
    }
    const last = points.at(-1);
    if (sample.time - last?.time > GAP) {
      points.push({ time: last.time + 1 });
      broken = true;
    }
    points.push(pointOf(sample, broken));
    if (points.length > KEPT) points.shift();
  }

  const plots = [...document.querySelectorAll(".plotted")].map((section) =>
    makePlot(section, { pointsNow: () => points, valueAt, draw })
  );
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const plot of plots) plot.recolour();
  });
  function redraw() {
    for (const plot of plots) plot.show();
  }

  function setConnection(state, text) {
    document.querySelector("#connection").className = state;
    setText("#connection", text);
  }
  function lost() {
    const last = points.at(-1);
    const since = last ? ` since ${time.format(last.time * 1000)}` : "";
    setConnection("lost", `Not connected${since}, trying again`);
  }
  function show(samples) {
    for (const sample of samples) add(sample);
    onShow(points, samples.at(-1));
    redraw();
    setConnection("live", "Live");
  }
  /** Connects to a stream of samples, in place of the one before. */
  function connect(url) {
    /** An EventSource connects again by itself, except after an answer such as a proxy's 502, or when it does not notice the loss. */
    function listen() {
      clearTimeout(silence);
      silence = setTimeout(() => {
        lost();
        connect(url);
      }, SILENCE);
    }
    source?.close();
    source = new EventSource(url);
    const on = (name, handle) =>
      source.addEventListener(name, ({ data }) => {
        handle(JSON.parse(data));
        listen();
      });
    on("history", (samples) => {
      points = [];
      show(samples);
    });
    on("sample", (sample) => show([sample]));
    for (const [name, handle] of Object.entries(events)) on(name, handle);
    source.addEventListener("error", lost);
    listen();
  }
  return { connect, redraw, lost, setConnection };
};
globalThis.livePage.format = { count, time, setText };
