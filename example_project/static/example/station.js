// Sends events, and shows for each of them when it was where: in the stream, in the tables, on this
// page's socket, on the screen.

import { subscribe } from "../durable_state/client.js";
import { chartReports } from "./chart.js";
import { make, post, showStanding } from "./site.js";

const KEPT = 5; // events, frames and ways that are shown
const PHASES = ["append", "commit", "push", "draw"];
const [events, frames, ways, trouble, pause] = ["events", "frames", "ways", "trouble", "pause"].map(
  (id) => document.getElementById(id),
);
const milliseconds = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const travelling = new Map(); // txid -> the moments that are known
const arrivals = new Map(); // txid -> when its frame came, also before the answer to its POST

const now = () => performance.timeOrigin + performance.now();

function push(list, item) {
  list.querySelector(".nothing")?.remove();
  list.prepend(item);
  while (list.children.length > KEPT) list.lastChild.remove();
}

function raw(value, note) {
  const item = make(
    "li",
    "fresh",
    {},
    make("pre", "", {}, JSON.stringify(value, null, 1).replace(/\n\s*/g, " ")),
  );
  if (note) item.prepend(make("span", "note", {}, note));
  return item;
}

// ---- what is sent ------------------------------------------------------------------------------

async function act(path, field, value) {
  const body = new FormData();
  body.set(field, value);
  try {
    const answer = await post(path, body);
    trouble.hidden = true;
    return answer;
  } catch (error) {
    trouble.textContent = error.message;
    trouble.hidden = false;
    return null;
  }
}

for (const button of document.querySelectorAll("[data-send]")) {
  button.addEventListener("click", async () => {
    const clicked = now();
    const answer = await act("send/", "what", button.dataset.send);
    if (answer === null) return;
    for (const event of answer.events.slice(0, KEPT))
      push(events, raw(event, answer.count > KEPT ? `one of ${answer.count}` : ""));
    if (button.dataset.send === "one") follow(answer.txid, clicked, answer);
  });
}
for (const button of document.querySelectorAll("[data-do]"))
  button.addEventListener("click", () => act("control/", "do", button.dataset.do));

// ---- its way -----------------------------------------------------------------------------------

function follow(txid, clicked, { appended, events: [event] }) {
  const bar = make("div", "bar", { role: "img" });
  const total = make("output", "", {}, "…");
  push(ways, make("li", "", {}, make("span", "name", {}, event.key), bar, total));
  travelling.set(txid, { clicked, appended, bar, total });
  if (arrivals.has(txid)) arrive(txid);
}

async function arrive(txid) {
  const way = travelling.get(txid);
  way.arrived = arrivals.get(txid);
  const answer = await fetch(`commit/${txid}/`);
  if (answer.ok) way.committed = (await answer.json()).committed;
  show(way);
}

function show(way) {
  const { clicked, appended, committed, arrived, drawn } = way;
  if (!committed || !drawn) return;
  const moments = [clicked, appended, committed, arrived, drawn];
  way.phases = PHASES.map((name, place) => [
    name,
    Math.max(0, moments[place + 1] - moments[place]),
  ]);
  const all = [...travelling.values()].filter((each) => each.phases);
  const longest = Math.max(100, ...all.slice(-KEPT).map((each) => each.drawn - each.clicked));
  for (const each of all) {
    each.bar.replaceChildren(
      ...each.phases.map(([name, lasted]) => {
        const part = make(
          "span",
          name,
          { title: `${name}: ${milliseconds.format(lasted)} ms` },
          lasted > longest / 14 ? milliseconds.format(lasted) : "",
        );
        part.style.width = `${(100 * lasted) / longest}%`;
        return part;
      }),
    );
    each.bar.setAttribute(
      "aria-label",
      each.phases.map(([name, lasted]) => `${name} ${milliseconds.format(lasted)} ms`).join(", "),
    );
    each.total.textContent = `${milliseconds.format(each.drawn - each.clicked)} ms`;
  }
}

subscribe("station", {
  types: ["departure"],
  onFrame(frame) {
    const { items } = frame;
    if (!items.length) return;
    const rest = items.length - 1;
    const { txids, ...headers } = items[0].headers;
    if (txids)
      headers.txids =
        txids.length > 3 ? [...txids.slice(0, 2), `and ${txids.length - 2} more`] : txids;
    const { offset, upToDate } = frame;
    push(
      frames,
      raw(
        { items: [{ ...items[0], headers }], offset, upToDate },
        rest ? `and ${rest} more ${rest === 1 ? "item" : "items"}` : "",
      ),
    );
    for (const { headers } of items) {
      for (const txid of [headers.txid ?? [], headers.txids ?? []].flat()) {
        arrivals.set(txid, now());
        if (travelling.has(txid)) arrive(txid);
      }
    }
    while (arrivals.size > 2000) arrivals.delete(arrivals.keys().next().value);
  },
});

document.addEventListener("durable-state:updated", ({ target }) => {
  if (target.id !== "board") return;
  for (const way of travelling.values()) {
    if (way.drawn || !way.arrived) continue;
    way.drawn = now();
    show(way);
  }
});

// ---- how the stream fares ----------------------------------------------------------------------

const draw = chartReports();
let status = { state: "connecting", text: "" };
showStanding(
  "station",
  {
    // The board is a live part: how it fares is how this page fares.
    get status() {
      return status;
    },
    on(name, listener) {
      document.getElementById("board").addEventListener("durable-state:state", ({ detail }) => {
        status = detail;
        listener(detail);
      });
      status = {
        state: document.getElementById("board").dataset.liveState ?? "connecting",
        text: "",
      };
    },
  },
  (report) => {
    draw(report);
    if (report === null) return;
    const paused = report.status === "paused";
    pause.dataset.do = paused ? "resume" : "pause";
    pause.textContent = paused ? "Resume" : "Pause";
    const [, pid] = report.holder.split(":");
    document.getElementById("worker").textContent = report.holder
      ? `consumed by process ${pid}`
      : "no worker holds it";
  },
);
