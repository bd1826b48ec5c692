// Keeps the cells of streams current while the page is looked at. Without scripts the page is as it was served.
"use strict";
{
  const POLL = 2000; // milliseconds between two looks
  const PATIENCE = 8000; // milliseconds until a server that does not answer is taken to be away

  const start = () => {
    const cells = [...document.querySelectorAll("[data-stream][data-cell]")];
    const streams = [...new Set(cells.map((cell) => cell.dataset.stream))];
    const list = document.body.classList.contains("change-list");
    if (!streams.length) return;
    const url = new URL(list ? "live/" : "../../live/", location.href);
    url.search = new URLSearchParams(streams.map((pk) => ["pk", pk]));
    if (!list) url.searchParams.set("page", "1");

    const show = (shown) => {
      for (const cell of cells) {
        const report = shown[cell.dataset.stream];
        if (!report) continue;
        const text = report[cell.dataset.cell] ?? "";
        if (cell.textContent !== text) cell.textContent = text;
        if (cell.dataset.cell === "status") cell.className = `ds-pill ds-${report.tone} ds-is-${report.state}`;
      }
      for (const alert of document.querySelectorAll("[data-alert]")) {
        const report = shown[alert.dataset.stream];
        alert.hidden = !(report?.error || report?.action);
        if (report) alert.className = `ds-alert ds-${report.alert}`;
      }
      // The button is the one of the state that the page was served with.
      for (const offer of document.querySelectorAll("[data-offer]")) offer.hidden = shown[offer.dataset.stream]?.state !== offer.dataset.offer;
      for (const meter of document.querySelectorAll("[data-verification]")) {
        const report = shown[meter.dataset.stream];
        meter.value = report?.verified_percent ?? 0;
        if (report && report.verification === "") location.reload(); // its result is there
      }
      share();
    };

    // The meters beside the counters of one stream's page.
    const share = () => {
      const counts = [...document.querySelectorAll("[data-count]")];
      const count = (row) => Number(row.querySelector("[data-cell]").textContent.replaceAll(",", ""));
      const total = counts.reduce((sum, row) => sum + count(row), 0);
      for (const row of counts) {
        row.classList.toggle("ds-none", count(row) === 0);
        row.querySelector("meter").value = total ? 100 * count(row) / total : 0;
      }
    };

    // What is shown is true as of the last look that succeeded, and says so when it is not of now.
    const note = document.createElement("p");
    note.className = "ds-bar ds-stale-note";
    note.dataset.tone = "warn";
    note.setAttribute("role", "status");
    note.hidden = true;
    (document.getElementById("changelist") ?? document.querySelector(".ds-figures"))?.before(note);
    let lookedAt = new Date();
    const stale = (why) => {
      document.body.classList.toggle("ds-stale", why !== "");
      note.hidden = why === "";
      note.textContent = `Not updated since ${lookedAt.toLocaleTimeString("en-GB")}: ${why}`;
    };

    const look = async () => {
      if (!document.hidden) {
        try {
          const answer = await fetch(url, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE) });
          if (answer.redirected || answer.status === 403) stale("you are signed out.");
          else if (!answer.ok) stale(`the web server answers ${answer.status}. Trying again.`);
          else {
            show(await answer.json());
            lookedAt = new Date();
            stale("");
          }
        } catch {
          stale("the web server cannot be reached. Trying again.");
        }
      }
      setTimeout(look, POLL);
    };
    look();
  };

  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
}
