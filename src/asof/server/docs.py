"""The page at /docs: shows the OpenAPI document and sends requests, with nothing loaded from elsewhere."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Asof API</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>
:root { --ink:#1c2430; --soft:#667085; --line:#e4e7ec; --card:#fff; --page:#f7f8fa; --get:#17725c; --post:#3451b2; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e9ef; --soft:#98a2b3; --line:#2c3440; --card:#171c24;
  --page:#0f1319; --get:#4cc3a3; --post:#8da4f7; } }
* { box-sizing:border-box } body { margin:0; background:var(--page); color:var(--ink);
  font:15px/1.55 system-ui,sans-serif } main { max-width:820px; margin:0 auto; padding:40px 20px 80px }
h1 { margin:0; font-size:28px; letter-spacing:-.02em } h1 small { font-size:13px; color:var(--soft); font-weight:400 }
h2 { margin:36px 0 10px; font-size:12px; text-transform:uppercase; letter-spacing:.08em; color:var(--soft) }
p { margin:6px 0 } .soft { color:var(--soft) } details { background:var(--card); border:1px solid var(--line);
  border-radius:10px; margin:8px 0 } summary { cursor:pointer; padding:12px 16px; display:flex; gap:12px;
  align-items:baseline; flex-wrap:wrap; list-style:none } summary::-webkit-details-marker { display:none }
.in { padding:4px 16px 16px; border-top:1px solid var(--line) } code,pre,textarea,input { font:13px/1.5
  ui-monospace,Menlo,Consolas,monospace } b.get { color:var(--get) } b.post { color:var(--post) }
b { font-size:12px; min-width:38px } pre,textarea { width:100%; background:var(--page); color:inherit; border:1px solid
  var(--line); border-radius:8px; padding:10px 12px; overflow:auto; margin:8px 0; max-height:420px } textarea
  { min-height:96px; resize:vertical } input { background:var(--page); color:inherit; border:1px solid var(--line);
  border-radius:6px; padding:4px 8px; width:180px } table { border-collapse:collapse; width:100%; margin:8px 0 }
td { padding:5px 12px 5px 0; vertical-align:top; border-top:1px solid var(--line) } tr:first-child td { border:0 }
button { border:0; border-radius:8px; padding:7px 16px; background:var(--post); color:#fff; font-weight:600;
  cursor:pointer } @media (prefers-color-scheme: dark) { button { color:#0f1319 } }
</style></head><body><main id="main"><p class="soft">Loading /openapi.json …</p></main>
<script>
const el = (tag, attributes, ...children) => { const e = Object.assign(document.createElement(tag), attributes);
  e.append(...children.filter(c => c != null)); return e; };
const resolve = (doc, schema) => schema && schema.$ref ? schema.$ref.slice(2).split('/').reduce((o, k) => o[k], doc)
  : schema;
function fields(doc, schema) {
  schema = resolve(doc, schema);
  if (!schema || !schema.properties) return null;
  return el('table', {}, ...Object.entries(schema.properties).map(([name, s]) => { s = resolve(doc, s);
    return el('tr', {}, el('td', {}, el('code', {textContent: name})),
      el('td', {className: 'soft', textContent: (s.type || '') +
        ((schema.required || []).includes(name) ? ', required' : '')}),
      el('td', {textContent: s.description || ''})); }));
}
function operation(doc, path, method, op) {
  const inputs = {}, inside = el('div', {className: 'in'});
  if (op.description) inside.append(el('p', {textContent: op.description}));
  if (op.parameters.length) inside.append(el('table', {}, ...op.parameters.map(p => { const field = el('input',
      {placeholder: (p.schema.enum || [p.schema.type]).join(' | '), ariaLabel: p.name}); inputs[p.name] = [p, field];
    return el('tr', {}, el('td', {}, el('code', {textContent: p.name})), el('td', {}, field),
      el('td', {className: 'soft', textContent: p.description})); })));
  let body = null;
  const json = op.requestBody && op.requestBody.content['application/json'];
  if (json) { inside.append(fields(doc, json.schema));
    body = el('textarea', {value: JSON.stringify(json.example, null, 2), ariaLabel: 'body', spellcheck: false});
    inside.append(body); }
  const out = el('pre', {hidden: true});
  inside.append(el('button', {textContent: 'Send', onclick: async () => {
    let url = path; const query = new URLSearchParams();
    for (const [name, [p, field]] of Object.entries(inputs)) {
      if (p.in === 'path') url = url.replace('{' + name + '}', encodeURIComponent(field.value));
      else if (field.value) query.append(name, field.value); }
    const started = performance.now();
    try { const answer = await fetch(url + (query.size ? '?' + query : ''), {method: method.toUpperCase(),
        body: body && body.value, headers: body ? {'content-type': 'application/json'} : {}});
      const text = await answer.text(); let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { }
      out.textContent = answer.status + ' · ' + (performance.now() - started).toFixed(1) + ' ms\\n' + shown;
    } catch (error) { out.textContent = String(error); }
    out.hidden = false; }}), out);
  inside.append(el('table', {}, ...Object.entries(op.responses).map(([status, r]) => el('tr', {},
    el('td', {}, el('code', {textContent: status})), el('td', {className: 'soft', textContent: r.description})))));
  return el('details', {open: method === 'post'}, el('summary', {}, el('b', {className: method,
    textContent: method.toUpperCase()}), el('code', {textContent: path}),
    el('span', {className: 'soft', textContent: op.summary})), inside);
}
fetch('/openapi.json').then(r => r.json()).then(doc => {
  const main = document.getElementById('main');
  main.replaceChildren(el('h1', {}, doc.info.title + ' ', el('small', {textContent: doc.info.version})),
    el('p', {className: 'soft', textContent: doc.info.description}));
  for (const tag of doc.tags) { main.append(el('h2', {textContent: tag.name}));
    for (const [path, methods] of Object.entries(doc.paths)) for (const [method, op] of Object.entries(methods))
      if (op.tags.includes(tag.name)) main.append(operation(doc, path, method, op)); }
});
</script></body></html>
"""
