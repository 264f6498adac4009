"""Style and script of the HTML report; nothing is loaded from anywhere."""

STYLE = """
:root { --ink:#1d2129; --soft:#626a76; --line:#dfe3e8; --back:#f6f7f9; --card:#fff; --mark:#1f6feb;
  --good:#1a7f4b; --bad:#b3261e; --range:#c9d6ea; --dot:#1f4f9e; }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e7e9ed; --soft:#9aa3b0; --line:#333a44; --back:#15181d; --card:#1d2127; --mark:#78a9ff;
    --good:#5fd39a; --bad:#ff8a80; --range:#33507c; --dot:#9cc1ff; } }
* { box-sizing:border-box }
body { margin:0; background:var(--back); color:var(--ink);
  font:15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
main { max-width:1320px; margin:0 auto; padding:28px 24px 80px }
h1 { font-size:26px; margin:0 0 4px } h2 { font-size:19px; margin:40px 0 10px }
p { margin:6px 0 } .soft { color:var(--soft) } small { color:var(--soft) }
.panel { background:var(--card); border:1px solid var(--line); border-radius:10px; overflow-x:auto }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums }
th, td { padding:7px 12px; text-align:left; border-bottom:1px solid var(--line); white-space:nowrap }
tr:last-child td { border-bottom:0 } thead th { color:var(--soft); font-weight:600; font-size:13px }
td.n, th.n { text-align:right } th.sorts { cursor:pointer } th.sorts:hover { color:var(--mark) }
th[aria-sort=ascending]::after { content:" ▲" } th[aria-sort=descending]::after { content:" ▼" }
td.best { font-weight:700 } tr.metric:hover td, #cases-table tr:hover td { background:var(--back) }
.range { display:block; color:var(--soft); font-size:12px }
.dense td, .dense th { padding:4px 12px } .dense .range { display:inline; margin-left:9px }
.sure { color:var(--good) } .worse { color:var(--bad) }
details > summary { cursor:pointer; color:var(--mark); margin:10px 0 }
.bar { display:flex; gap:14px; align-items:center; flex-wrap:wrap; margin:10px 0 14px }
select { font:inherit; color:inherit; background:var(--card); border:1px solid var(--line);
  border-radius:7px; padding:5px 8px }
.case { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:14px 16px;
  margin:0 0 14px }
.case header { display:flex; gap:12px; align-items:baseline; flex-wrap:wrap; margin-bottom:8px }
.case h3 { margin:0; font-size:16px } .tag { border:1px solid var(--line); border-radius:99px; padding:0 9px;
  font-size:12px; color:var(--soft) }
.value { margin-left:auto; font-weight:700; font-variant-numeric:tabular-nums }
.strip { display:flex; gap:14px; overflow-x:auto; padding-bottom:4px }
figure { margin:0; flex:none } figure img { display:block; height:210px; border-radius:6px; background:#fff }
figcaption { font-size:12px; color:var(--soft); margin-top:4px }
.split { border-left:1px solid var(--line); padding-left:14px } .split:first-child {
  border:0; padding:0 } .split > small { display:block;
  margin-bottom:4px; font-weight:600 }
.split .row { display:flex; gap:10px } .error { color:var(--bad); margin:4px 0 }
.plot { display:block; width:190px; height:34px }
.legend { display:inline-flex; gap:7px; align-items:center; font-size:12px; color:var(--soft) }
.legend i { width:120px; height:9px; border-radius:5px; display:inline-block }
ul { margin:6px 0; padding-left:20px }
"""

SCRIPT = """
'use strict';
const rows = JSON.parse(document.getElementById('data').textContent);
const pick = document.getElementById('by'), list = document.getElementById('cases');
function order() {
  const [method, metric, better] = pick.value.split('|');
  const sign = better === 'lower' ? -1 : 1;
  const cards = [...list.children];
  const at = card => {
    const found = (rows[card.dataset.id][method] || {})[metric];
    return found === undefined || found === null ? null : found;
  };
  const failed = card => card.dataset.failed.split('|').includes(method);
  cards.sort((a, b) => {
    const x = at(a), y = at(b);
    const byName = a.dataset.id.localeCompare(b.dataset.id);
    if (failed(a) || failed(b)) return failed(b) - failed(a) || byName;
    if (x === null || y === null) return (x === null) - (y === null) || byName;
    return sign * (x - y) || byName;
  });
  const decimals = Number(pick.selectedOptions[0].dataset.decimals);
  for (const card of cards) {
    const value = at(card);
    card.querySelector('.value').textContent =
      value === null ? '–' : value.toFixed(decimals) + ' ' + pick.selectedOptions[0].dataset.unit;
    list.appendChild(card);
  }
}
if (pick) { pick.addEventListener('change', order); }
for (const head of document.querySelectorAll('th.sorts')) {
  head.tabIndex = 0;
  const sort = () => {
    const table = head.closest('table'), body = table.tBodies[0], column = head.cellIndex;
    const up = head.getAttribute('aria-sort') !== 'ascending';
    for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    const key = row => row.cells[column].dataset.v ?? row.cells[column].textContent;
    [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b), p = parseFloat(x), q = parseFloat(y);
      const numbers = head.classList.contains('n');
      if (numbers && (isNaN(p) || isNaN(q))) return isNaN(p) - isNaN(q);
      return (up ? 1 : -1) * (numbers ? p - q : x.localeCompare(y));
    }).forEach(row => body.appendChild(row));
  };
  head.addEventListener('click', sort);
  head.addEventListener('keydown', event => { if (event.key === 'Enter') sort(); });
}
"""
