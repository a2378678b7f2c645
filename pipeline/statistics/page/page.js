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

/** Seconds that the failures per minute look back. */
const MINUTE = 60;

const count = new Intl.NumberFormat("en");
const tick = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const time = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const minute = new Intl.DateTimeFormat("en", { timeStyle: "short", hourCycle: "h23" });
const small = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const large = new Intl.NumberFormat("en", {
  minimumSignificantDigits: 3,
  maximumSignificantDigits: 3,
});
/** Three digits tell enough: 0.0041, 0.35, 3.49, 34.9, 1,234. */
const measure = (value) => (value < 1 ? small : value < 1000 ? large : count).format(value);
const wholeSteps = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((step) => [step, 2 * step, 5 * step]);

/** What is plotted, oldest first: a time and the value of each curve. */
let points = [];
/** The last samples, unbroken: as many as a minute has. */
let recent = [];
/** Which of the last minutes the latencies are of, or `all`. */
let minutes = "5";

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
  if (recent.push(sample) > MINUTE + 1) recent.shift();
  points.push(pointOf(sample));
  if (points.length > KEPT) points.shift();
}

function pointOf(sample) {
  const first = recent.at(-1 - WINDOW) ?? recent[0];
  const rate = (number) => {
    if (first === sample) return null;
    return Math.max(0, (number(sample) - number(first)) / (sample.time - first.time));
  };
  const { tasks, createdToStarted, startedToFinished, lastMinutes } = sample;
  return {
    time: sample.time,
    objectRate: rate(({ objects }) => objects),
    createdRate: rate(({ tasks }) => tasks.created),
    finishedRate: rate(({ tasks }) => tasks.finished),
    waiting: tasks.waiting,
    inProgress: tasks.inProgress,
    failureRate: Math.max(0, tasks.failed - recent[0].tasks.failed),
    times: {
      ...lastMinutes,
      all: {
        createdToStarted: tasks.started ? createdToStarted : undefined,
        startedToFinished: tasks.finished ? startedToFinished : undefined,
      },
    },
  };
}

/** The value of a curve at a point. */
function valueAt({ times, ...point }, name) {
  const { createdToStarted: wait, startedToFinished: work } = times?.[minutes] ?? {};
  const latencies = {
    waitP50: wait?.p50,
    waitP95: wait?.p95,
    workP50: work?.p50,
    workP95: work?.p95,
  };
  return point[name] ?? latencies[name] ?? null;
}

function showNumbers({ objects, tasks }) {
  for (const [name, number] of Object.entries({ objects, ...tasks })) {
    const shown = document.querySelector(`[data-number=${name}]`);
    shown.textContent = count.format(number);
    if (name === "failed") shown.classList.toggle("bad", number > 0);
  }
}

/** What stands in a row of each table. */
const rows = {
  processors: ({ name, inProgress, finished, failed, lastSeen }) => [
    name,
    count.format(inProgress),
    count.format(finished),
    count.format(failed),
    moment(lastSeen),
  ],
  failures: ({ time, reason, attempts, processor, task }) => [
    moment(time),
    reason || "–",
    attempts === null ? "–" : count.format(attempts),
    processor ?? "–",
    task,
  ],
};

/** The time of today, the date of another day. */
function moment(milliseconds) {
  const today = new Date(milliseconds).toDateString() === new Date().toDateString();
  return (today ? time : day).format(milliseconds);
}

function showDetails(details) {
  for (const [name, cells] of Object.entries(rows)) {
    const body = document.querySelector(`[data-table=${name}]`);
    const headings = [...body.closest("table").querySelectorAll("th")];
    body.replaceChildren(...details[name].map((row) => {
      const line = document.createElement("tr");
      line.append(
        ...cells(row).map((text, column) => {
          const cell = document.createElement("td");
          cell.className = headings[column].className;
          cell.textContent = cell.title = text;
          return cell;
        }),
      );
      return line;
    }));
  }
  const broker = document.querySelector("#broker");
  broker.hidden = details.broker === "connected";
  const text = broker.hidden ? "" : `The broker is away: ${details.broker}`;
  if (broker.textContent !== text) broker.textContent = text;
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
  const { least, whole } = target.dataset;
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
      hooks: { setCursor: [showValues] },
    },
    undefined,
    target,
  );
  /** The values under the cursor, without one the last. */
  function showValues({ cursor }) {
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
      const column = (name) => points.map((point) => valueAt(point, name));
      plot.setData([points.map(({ time }) => time), ...curves.map(({ name }) => column(name))]);
      showValues(plot);
    },
    recolour: () => plot.redraw(false),
  };
}

const plots = [...document.querySelectorAll(".plotted")].map(makePlot);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const plot of plots) plot.recolour();
});

for (const choice of document.querySelectorAll("[name=window]")) {
  if (choice.checked) minutes = choice.value; // a browser keeps it when the page is loaded again
  choice.addEventListener("change", () => {
    minutes = choice.value;
    for (const plot of plots) plot.show();
  });
}

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
  source.addEventListener("details", ({ data }) => showDetails(JSON.parse(data)));
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
  const since = last ? ` since ${time.format(last.time * 1000)}` : "";
  setConnection("lost", `Not connected${since}, trying again`);
}

function setConnection(state, text) {
  const connection = document.querySelector("#connection");
  connection.className = state;
  // Screen readers announce every change.
  if (connection.textContent !== text) connection.textContent = text;
}

connect();
