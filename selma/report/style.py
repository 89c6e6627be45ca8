"""The page's style sheet: system fonts, light and dark, one column on a phone."""

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f24;--soft:#5d6672;
--line:#e1e5ea;--base:#98a1ad;--mixture:#d48a1c;--merged:#2563c9;--good:#12805c;--bad:#c2362b;
--heat:37,99,201}
@media (prefers-color-scheme:dark){:root{--page:#101317;--card:#181c22;--ink:#e7eaee;
--soft:#9aa4b1;--line:#2b313a;--base:#7d8794;--mixture:#e0a040;--merged:#6aa2ff;--good:#4cc79a;
--bad:#ff7a6e;--heat:106,162,255}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .5rem;letter-spacing:-.02em}
h2{font-size:1.3rem;margin:3rem 0 .35rem;letter-spacing:-.01em}
h3{font-size:1rem;margin:0 0 .5rem}
p{margin:.35rem 0 1rem;max-width:72ch}
.lead{font-size:1.1rem}.soft,figcaption,caption{color:var(--soft)}
small,.small{font-size:.82rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1rem 1.1rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.75rem;
margin:1.25rem 0}
.tile b{display:block;font-size:1.7rem;line-height:1.2;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;padding:0}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
th,td{padding:.55rem .8rem;text-align:right;border-bottom:1px solid var(--line);
white-space:nowrap;vertical-align:top}
tr:last-child td,tr:last-child th{border-bottom:0}
th:first-child,td:first-child{text-align:left}
thead th{color:var(--soft);font-weight:600;font-size:.82rem}
td.text{white-space:normal;text-align:left;min-width:14rem}
.good{color:var(--good)}.bad{color:var(--bad)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:1rem}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:1rem}
figure{margin:0}figcaption{font-size:.85rem;margin-bottom:.4rem}
svg{width:100%;height:auto;display:block;font:12px system-ui,sans-serif}
svg text{fill:var(--ink)}svg .tick{fill:var(--soft);font-size:11px}
svg .grid{stroke:var(--line)}svg .zero{stroke:var(--soft)}
svg .whisker{stroke:var(--ink);stroke-width:1.5;opacity:.75}
svg .base{fill:var(--base);stroke:var(--base)}
svg .mixture{fill:var(--mixture);stroke:var(--mixture)}
svg .merged{fill:var(--merged);stroke:var(--merged)}svg .bar{stroke:none}
svg .whisker.base,svg .whisker.mixture{stroke-width:2;opacity:1}
svg .curve{fill:none;stroke:var(--merged);stroke-width:2;stroke-linejoin:round}
.key span{display:inline-block;margin-right:1.1rem}
.key i{display:inline-block;width:.75rem;height:.75rem;border-radius:3px;margin-right:.4rem;
vertical-align:-1px}
i.base{background:var(--base)}i.mixture{background:var(--mixture)}i.merged{background:var(--merged)}
.examples{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));
gap:1rem;align-items:start}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.75rem;margin:.6rem 0}
.pair img{width:100%;aspect-ratio:1;object-fit:contain;border-radius:8px;display:block;
border:1px solid var(--line)}
.pixels img{image-rendering:pixelated}
.example .prompt{margin:.25rem 0 0;overflow-wrap:anywhere}
.chip{font-size:.75rem;border:1px solid var(--line);border-radius:99px;padding:.1rem .55rem;
color:var(--soft)}
.answers{max-height:15rem;overflow:auto}
.answers table{font-size:.82rem}
.answers td,.answers th{padding:.25rem .35rem;white-space:normal;text-align:left}
.answers td:nth-child(n+2),.answers th:nth-child(n+2){white-space:nowrap}
""".strip()
