/**
 * The live page: the statistics' samples (/api/statistics/live) as numbers and plots. What is plotted stands in page.html: every
 * `data-curve` of a section is a curve of its plot, `--curve` its colour.
 */

/** Samples, one a second: half an hour. */
const KEPT = 1800;
/** Seconds without a sample that break a curve. */
const GAP = 5;
/** Samples that a rate is the mean of. */
const WINDOW = 5;
/** Milliseconds without a sample until the connection is taken for dead, though nobody has closed it. */
const SILENCE = 10_000;

const count = new Intl.NumberFormat("en");
const tick = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const time = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat("en", { timeStyle: "short", hourCycle: "h23" });
const wholeSteps = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((step) => [step, 2 * step, 5 * step]);

/** What is plotted, oldest first: a time and the value of each curve. */
let points = [];
/** The last samples, unbroken. */
let recent = [];

function add(sample) {
  // The clock may have been set back.
  while (points.at(-1)?.time >= sample.time) {
    points.pop();
    recent = [];
  }
  const last = points.at(-1);
  if (sample.time - last?.time > GAP) {
    points.push({ time: last.time + 1 });
    recent = [];
  }
  if (recent.push(sample) > WINDOW + 1) recent.shift();
  points.push(pointOf(sample));
  if (points.length > KEPT) points.shift();
}

function pointOf(sample) {
  const [first] = recent;
  const { tasks, createdToStarted, startedToFinished } = sample;
  const rate = (number) => {
    if (first === sample) return null;
    return Math.max(0, (number(sample) - number(first)) / (sample.time - first.time));
  };
  return {
    time: sample.time,
    objectRate: rate(({ objects }) => objects),
    createdRate: rate(({ tasks }) => tasks.created),
    finishedRate: rate(({ tasks }) => tasks.finished),
    inProgress: tasks.inProgress,
    waitP50: tasks.started ? createdToStarted.p50 : null,
    waitP95: tasks.started ? createdToStarted.p95 : null,
    workP50: tasks.finished ? startedToFinished.p50 : null,
    workP95: tasks.finished ? startedToFinished.p95 : null,
  };
}

function showNumbers({ objects, tasks }) {
  for (const [name, number] of Object.entries({ objects, ...tasks })) {
    const shown = document.querySelector(`[data-number=${name}]`);
    shown.textContent = count.format(number);
    if (name === "failed") shown.classList.toggle("bad", number > 0);
  }
}

const colour = (element, name) => getComputedStyle(element).getPropertyValue(name);

/** Makes the plot of a section; returns what shows the points, and what shows them in other colours. */
function makePlot(section) {
  const target = section.querySelector(".plot");
  const curves = [...section.querySelectorAll("[data-curve]")].map((element) => ({
    name: element.dataset.curve,
    element,
    value: element.querySelector("dd"),
  }));
  const { least, digits } = target.dataset;
  const whole = digits === "0";
  const number = new Intl.NumberFormat("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
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
          ...whole && { incrs: wholeSteps },
        },
      ],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, setScale: false }, sync: { key: "time" } },
      hooks: { setCursor: [showValues] },
    },
    undefined,
    target,
  );
  /** The values under the cursor, without one the last. */
  function showValues({ cursor }) {
    const point = points[cursor.idx ?? points.length - 1] ?? {};
    section.querySelector(".time").textContent = point.time ? time.format(point.time * 1000) : "";
    for (const { name, value } of curves) {
      value.textContent = point[name] == null ? "–" : number.format(point[name]);
    }
  }
  new ResizeObserver(() => plot.setSize(size())).observe(target);
  return {
    show() {
      const column = (name) => points.map((point) => point[name] ?? null);
      plot.setData([column("time"), ...curves.map(({ name }) => column(name))]);
      showValues(plot);
    },
    recolour: () => plot.redraw(false),
  };
}

const plots = [...document.querySelectorAll("section")].map(makePlot);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const plot of plots) plot.recolour();
});

let source;
let silence;

function connect() {
  source?.close();
  source = new EventSource("api/statistics/live");
  source.addEventListener("history", ({ data }) => {
    points = [];
    recent = [];
    show(JSON.parse(data));
  });
  source.addEventListener("sample", ({ data }) => show([JSON.parse(data)]));
  source.addEventListener("error", lost);
  listen();
}

/** An EventSource connects again by itself, except after an answer such as a proxy's 502, or when it does not notice the loss. */
function listen() {
  clearTimeout(silence);
  silence = setTimeout(() => {
    lost();
    connect();
  }, SILENCE);
}

function show(samples) {
  for (const sample of samples) add(sample);
  if (samples.length) showNumbers(samples.at(-1));
  for (const plot of plots) plot.show();
  setConnection("live", "Live");
  listen();
}

function lost() {
  const last = points.at(-1);
  const since = last ? `. The numbers are of ${time.format(last.time * 1000)}` : "";
  setConnection("lost", `Not connected, trying again${since}`);
}

function setConnection(state, text) {
  const connection = document.querySelector("#connection");
  connection.className = state;
  // Screen readers announce every change.
  if (connection.textContent !== text) connection.textContent = text;
}

connect();
