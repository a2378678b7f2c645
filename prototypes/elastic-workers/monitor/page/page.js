/**
 * The live page: an app's samples (/api/apps/ID/live) as plots, and its decisions as marks in the plots and as a list. What is plotted stands in
 * page.html: every `data-curve` of a section is a curve of its plot, `--curve` its colour.
 */

/** Samples, one a second: half an hour. */
const KEPT = 1800;
/** Seconds without a sample that break a curve. */
const GAP = 5;
/** Milliseconds without a sample until the connection is taken for dead, though nobody has closed it. */
const SILENCE = 10_000;

const tick = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const time = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });
const minute = new Intl.DateTimeFormat("en", { timeStyle: "short", hourCycle: "h23" });
const wholeSteps = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((step) => [step, 2 * step, 5 * step]);

/** What is plotted, oldest first: a time and the value of each curve. */
let points = [];
let objective = null;

function add(sample) {
  // The clock may have been set back.
  while (points.at(-1)?.time >= sample.time) points.pop();
  const last = points.at(-1);
  if (sample.time - last?.time > GAP) points.push({ time: last.time + 1 });
  points.push({ ...sample, objective });
  if (points.length > KEPT) points.shift();
}

const decisions = document.querySelector("#decisions");

function showDecisions() {
  const previous = (index) =>
    points.slice(0, index).findLast(({ wanted }) => wanted != null)?.wanted;
  const rows = points.flatMap(({ time: at, changed, wanted, reason }, index) => {
    if (!changed) return [];
    const row = document.createElement("li");
    const cells = ["time", "b", "span"].map((name) => document.createElement(name));
    cells[0].textContent = time.format(at * 1000);
    cells[1].textContent = `${previous(index) ?? "?"} → ${wanted}`;
    cells[2].textContent = reason;
    row.append(...cells);
    return [row];
  });
  if (rows.length !== decisions.children.length || points.length === KEPT) {
    decisions.replaceChildren(...rows.reverse());
  }
  document.querySelector("#reason").textContent = points.at(-1)?.reason ?? "–";
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
      hooks: { setCursor: [showValues], draw: [markDecisions] },
    },
    undefined,
    target,
  );
  /** A line for each decision that changed the number of workers. */
  function markDecisions({ ctx, bbox, valToPos }) {
    ctx.save();
    ctx.strokeStyle = colour(section, "--quiet");
    ctx.globalAlpha = 0.35;
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([]);
    ctx.beginPath();
    for (const { time, changed } of points) {
      if (!changed) continue;
      const x = Math.round(valToPos(time, "x", true));
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
    }
    ctx.stroke();
    ctx.restore();
  }
  /** The values under the cursor, without one the last. */
  function showValues({ cursor }) {
    const point = points[cursor.idx ?? points.length - 1] ?? {};
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

const choice = document.querySelector("#app");
let source;
let silence;

/** Fills in the apps that there are; the first is shown unless the address names one (`#ID`). */
async function loadApps() {
  try {
    const apps = await (await fetch("api/apps")).json();
    const ids = apps.map(({ app_id }) => app_id);
    objective = apps[0]?.objective ?? null;
    if (ids.join() === [...choice.options].map(({ value }) => value).join()) return;
    const chosen = choice.value || decodeURIComponent(location.hash.slice(1));
    choice.replaceChildren(...ids.map((id) => new Option(id, id, false, id === chosen)));
    if (choice.value !== chosen || !source) connect();
  } catch {
    // Told by the stream of samples.
  }
}
choice.addEventListener("change", () => {
  location.hash = choice.value;
  connect();
});

function connect() {
  source?.close();
  source = new EventSource(`api/apps/${encodeURIComponent(choice.value)}/live`);
  source.addEventListener("history", ({ data }) => {
    points = [];
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
  showDecisions();
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

await loadApps();
listen();
setInterval(loadApps, 5000);
