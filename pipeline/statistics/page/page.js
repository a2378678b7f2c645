/** The live page: the statistics' samples (/api/statistics/live) as numbers and plots. */

/** Samples that a rate is the mean of. */
const WINDOW = 5;
/** Seconds that the failures per minute look back. */
const MINUTE = 60;

const { count, time, setText } = livePage.format;
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });

/** The last samples, unbroken: as many as a minute has. */
let recent = [];
/** Which of the last minutes the latencies are of, or `all`. */
let minutes = "5";

const page = livePage({
  pointOf,
  valueAt,
  onShow: (_points, last) => last && showNumbers(last),
  events: { details: showDetails },
});

function pointOf(sample, broken) {
  if (broken) recent = [];
  if (recent.push(sample) > MINUTE + 1) recent.shift();
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
  setText("#broker", broker.hidden ? "" : `The broker is away: ${details.broker}`);
}

for (const choice of document.querySelectorAll("[name=window]")) {
  if (choice.checked) minutes = choice.value; // a browser keeps it when the page is loaded again
  choice.addEventListener("change", () => {
    minutes = choice.value;
    page.redraw();
  });
}

page.connect("api/statistics/live");
