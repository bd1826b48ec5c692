// Keeps the cells of streams current while the page is looked at, and measures how fast they read. Without scripts the page is as it was served.
"use strict";
{
  const POLL = 2000; // milliseconds between two looks

  const start = () => {
    const cells = [...document.querySelectorAll("[data-stream][data-cell]")];
    const streams = [...new Set(cells.map((cell) => cell.dataset.stream))];
    const list = document.body.classList.contains("change-list");
    if (!streams.length) return;
    const url = new URL(list ? "live/" : "../../live/", location.href);
    url.search = new URLSearchParams(streams.map((pk) => ["pk", pk]));
    const seen = new Map(); // pk -> [milliseconds, messages]

    const rate = (pk, messages, now) => {
      const [before, count] = seen.get(pk) ?? [now, messages];
      seen.set(pk, [now, messages]);
      if (now <= before) return "–";
      const each = Math.max(0, (messages - count) * 1000 / (now - before));
      return each && each < 10 ? each.toFixed(1) : Math.round(each).toLocaleString("en");
    };

    const show = (shown, now) => {
      const rates = new Map();
      for (const [pk, report] of Object.entries(shown)) rates.set(pk, rate(pk, Number(report.ordinal.replaceAll(",", "")), now));
      for (const cell of cells) {
        const report = shown[cell.dataset.stream];
        if (!report) continue;
        const text = cell.dataset.cell === "rate" ? rates.get(cell.dataset.stream) : report[cell.dataset.cell];
        if (cell.textContent !== text) cell.textContent = text;
        if (cell.dataset.cell === "status") cell.className = `ds-pill ds-${report.tone}`;
      }
      for (const alert of document.querySelectorAll("[data-alert]")) alert.hidden = !shown[alert.dataset.stream]?.error;
    };

    const look = async () => {
      if (!document.hidden) {
        try {
          const answer = await fetch(url, { headers: { Accept: "application/json" } });
          if (answer.ok && !answer.redirected) show(await answer.json(), performance.now());
        } catch { /* the server is away; the next look tells */ }
      }
      setTimeout(look, POLL);
    };
    look();
  };

  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
}
