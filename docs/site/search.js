// Which pages a search shows first: those for users, then the changelog and the records of decisions.
const BACKGROUND = /^(docs\/decisions\/|CHANGELOG|CONTRIBUTING)/;

var Scorer = {
  score: ([page, , , , score]) => (BACKGROUND.test(page) ? score - 100 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
