/** The live page: an app's samples (/api/apps/ID/live) as plots, and its decisions as marks in the plots and as a list. */

const { time, setText } = livePage.format;
const decisions = document.querySelector("#decisions");
const choice = document.querySelector("#app");
let objective = null;
/** The app that is shown. */
let shown;

const page = livePage({
  pointOf: (sample) => ({ ...sample, objective }),
  onShow: showDecisions,
  draw: markDecisions,
  events: { quiet: (why) => why && page.setConnection("lost", `No news: ${why}`) },
});

function showDecisions(points) {
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
  // What somebody has selected stays so while there is nothing new.
  const text = (items) => items.map(({ textContent }) => textContent).join("\n");
  rows.reverse();
  if (text(rows) !== text([...decisions.children])) decisions.replaceChildren(...rows);
  setText("#reason", points.at(-1)?.reason ?? "Its upload queue is not there yet");
}

/** A line for each decision that changed the number of workers. */
function markDecisions({ ctx, bbox, valToPos }, points, colour) {
  ctx.save();
  ctx.strokeStyle = colour("--quiet");
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

/** Fills in the apps that there are; the first is shown unless the address names one (`#ID`). */
async function loadApps() {
  let apps;
  try {
    apps = await (await fetch("api/apps")).json();
  } catch {
    if (shown === undefined) page.lost();
    return; // else told by the stream of samples
  }
  objective = apps[0]?.objective ?? null;
  const ids = apps.map(({ app_id }) => app_id);
  if (ids.length === 0) setText("#reason", "No app is watched yet: no worker has reported");
  if (ids.join() === [...choice.options].map(({ value }) => value).join()) return;
  const chosen = choice.value || decodeURIComponent(location.hash.slice(1));
  choice.replaceChildren(...ids.map((id) => new Option(id, id, false, id === chosen)));
  show();
}

function show() {
  if (choice.value === "" || choice.value === shown) return;
  shown = choice.value;
  page.connect(`api/apps/${encodeURIComponent(shown)}/live`);
}
choice.addEventListener("change", () => {
  location.hash = choice.value;
  show();
});

await loadApps();
setInterval(loadApps, 5000);
