import { chartReports } from "./chart.js";
import { ago, drawRows, face, make, showStanding } from "./site.js";

const NEWEST = 30; // commits that are shown at first, and more of them each time
const SMALL = 80; // a tree of so many files is shown open

const counts = document.getElementById("counts");
const commitList = document.getElementById("commits");
const tree = document.getElementById("tree");
const filter = document.getElementById("filter");
const older = document.getElementById("older");
const number = new Intl.NumberFormat("en");
const open = new Map(); // folder path -> whether the reader opened or closed it
let rows = null;

function drawCounts() {
  for (const count of counts.querySelectorAll("dd")) {
    const type = count.dataset.type;
    count.textContent = number.format(rows[type].size);
    count.previousElementSibling.textContent = rows[type].size === 1 ? type : `${type}s`;
  }
}

let shown = NEWEST;

function drawCommits(changed) {
  const touched = new Map();
  for (const { commit } of rows.file.values()) touched.set(commit, (touched.get(commit) ?? 0) + 1);
  const newest = [...rows.commit]
    .map(([id, commit], order) => ({
      id,
      order,
      ...commit,
      at: commit.authoredAt ? Date.parse(commit.authoredAt) : 0,
    }))
    // Authors' clocks tie and disagree; what the stream told last comes first then.
    .sort((a, b) => b.at - a.at || b.order - a.order);
  commitList.replaceChildren(
    ...newest.slice(0, shown).map((commit) => {
      const name = rows.author.get(commit.author)?.name ?? "";
      const meta = make("p", "meta", {}, make("span", "", {}, name || "somebody"));
      if (commit.authoredAt) meta.append(ago(commit.authoredAt));
      const files = touched.get(commit.id) ?? 0;
      if (files)
        meta.append(
          make(
            "span",
            "",
            { title: "that nobody has touched since" },
            `${number.format(files)} ${files === 1 ? "file" : "files"}`,
          ),
        );
      meta.append(make("code", "", {}, commit.id.slice(0, 10)));
      const item = make(
        "li",
        "commit",
        {},
        face(commit.author, name),
        make("div", "", {}, make("p", "subject", {}, commit.subject || "(no subject)"), meta),
      );
      if (changed?.has(`commit/${commit.id}`)) item.classList.add("fresh");
      return item;
    }),
  );
  const rest = newest.length - shown;
  older.hidden = rest <= 0;
  const more = number.format(Math.min(rest, NEWEST));
  older.textContent = `Show ${more} more of ${number.format(rest)} older commits`;
}
older.addEventListener("click", () => {
  shown += NEWEST;
  drawCommits(null);
});

function grow(wanted) {
  const root = { folders: new Map(), files: [], size: 0 };
  for (const [path, file] of [...rows.file].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (wanted && !path.toLowerCase().includes(wanted)) continue;
    const names = path.split("/");
    const name = names.pop();
    let folder = root;
    folder.size++;
    for (const each of names) {
      if (!folder.folders.has(each))
        folder.folders.set(each, { folders: new Map(), files: [], size: 0 });
      folder = folder.folders.get(each);
      folder.size++;
    }
    folder.files.push({ name, path, ...file });
  }
  return root;
}

function drawFile(file, changed) {
  const { subject = "", authoredAt } = rows.commit.get(file.commit) ?? {};
  const item = make(
    "li",
    "file",
    { "data-blob": file.blob },
    make("span", "name", { title: file.path }, file.name),
    make("span", "last", { title: subject }, subject),
    authoredAt ? ago(authoredAt) : null,
  );
  if (changed?.has(`file/${file.path}`)) item.classList.add("fresh");
  return item;
}

function drawFolder(folder, prefix, shownOpen, changed) {
  const list = make("ul", "branch");
  for (let [name, child] of folder.folders) {
    let path = `${prefix}${name}/`;
    // A folder that holds nothing but one folder is shown as one line.
    while (child.folders.size === 1 && !child.files.length) {
      const [[only, below]] = child.folders;
      [name, child, path] = [`${name}/${only}`, below, `${path}${only}/`];
    }
    const details = make(
      "details",
      "",
      {},
      make(
        "summary",
        "",
        {},
        make("span", "name", {}, `${name}/`),
        make("span", "size", {}, number.format(child.size)),
      ),
    );
    const fill = () =>
      details.childElementCount > 1 || details.append(drawFolder(child, path, shownOpen, changed));
    details.open = open.get(path) ?? shownOpen;
    if (details.open) fill();
    details.addEventListener("toggle", () => {
      if (details.open) fill();
      if (details.open !== (open.get(path) ?? shownOpen)) open.set(path, details.open);
    });
    list.append(make("li", "", {}, details));
  }
  list.append(...folder.files.map((file) => drawFile(file, changed)));
  return list;
}

function drawTree(changed) {
  const wanted = filter.value.trim().toLowerCase();
  const root = grow(wanted);
  const top = scrollY;
  tree.replaceChildren(
    root.size
      ? drawFolder(root, "", root.size <= SMALL || Boolean(wanted), changed)
      : make("p", "nothing", {}, wanted ? "No path matches." : "No files yet."),
  );
  scrollTo({ top, behavior: "instant" });
}

filter.addEventListener("input", () => rows && drawTree(null));

const followed = drawRows("history", ["author", "commit", "file"], (all, changed) => {
  rows = all;
  drawCounts();
  drawCommits(changed);
  drawTree(changed);
});
showStanding("history", followed, chartReports());
