// What belongs to a person whatever the status: who may order it.
import { get, on, replace, same, Overtaken } from './api.js';
import { t } from './words.js';
import { avatar, button, card, empty, field, fill, h, heading, mark, showFaults, clearFaults, statusWord, toast, tool } from './ui.js';
import { readColleagues } from './colleagues.js';
import { order } from './status.js';

/** Colleagues to choose from, by their names; ids are taken as well. */
async function choices(isAdmin) {
  const { colleagues } = await readColleagues(new URLSearchParams({ limit: 1000 }), isAdmin);
  return new Map(colleagues.map((one) => [one.id, one.display_name ?? one.id]));
}

export async function personal(room, { of, isOf, isAdmin, session, tabs }) {
  const base = `subscribers/${encodeURIComponent(of)}`;
  const [names, ...stops] = [await choices(isAdmin)];
  const delegates = await delegatesCard(base, { of, isOf, isAdmin, session, names, stops });
  fill(room, heading(t('view.settings')), h('p', { class: 'hint' }, t('personal.hint')), tabs, delegates);
  return () => stops.forEach((stop) => stop());
}

/** Who may order the status, and whose one may order. */
async function delegatesCard(base, { of, session, names, stops }) {
  const path = `${base}/delegates`;
  let seen = await get(path);
  const nameOf = (id) => names.get(id) ?? id;
  const list = h('ul', { class: 'chosen' });
  const who = h('input', { list: 'colleagues', autocomplete: 'off', spellcheck: 'false' });
  const known = h('datalist', { id: 'colleagues' });
  const none = empty(t('delegates.none'));
  const mine = h('div', { class: 'stack' });

  async function save(delegates, place) {
    clearFaults(form);
    try {
      const { data, etag } = await replace(path, seen, { delegates }, { part: (all) => all.delegates });
      seen = { data, etag };
      toast(t('saved'));
    } catch (problem) {
      if (problem instanceof Overtaken) { seen = problem.fresh; toast(t('overtaken'), 'bad'); } else { showFaults(place, faultsOf(problem)); return; }
    }
    who.value = '';
    draw();
    who.focus();
  }

  /** A fault of one of the ids belongs to what was typed. */
  const faultsOf = (problem) => Object.assign(problem, { problems: (problem.problems ?? []).map(({ text }) => ({ field: 'delegate', text })) });

  function draw() {
    const { delegates, delegate_of: others = [] } = seen.data;
    none.hidden = delegates.length > 0;
    fill(list, delegates.map((id) => h('li', null, avatar(nameOf(id), null, 'small'), h('span', { class: 'name' }, nameOf(id)),
      tool('bin', t('delegates.remove', { name: nameOf(id) }), () => save(delegates.filter((one) => one !== id), form)))));
    fill(known, [...names].filter(([id]) => id !== of && !delegates.includes(id)).map(([id, name]) => h('option', { value: id }, name)));
    const isMe = of === session.id;
    fill(mine, others.length > 0 && [h('h3', null, t(isMe ? 'delegates.of_me' : 'delegates.of')), h('ul', { class: 'chosen' }, others.map((one) => h('li', null,
      avatar(one.display_name, null, 'small'), h('span', { class: 'name' }, one.display_name), isMe && button(t('status.set'), () => choose(one.id), 'quiet', { 'aria-label': t('override.for', { name: one.display_name }) }))))]);
  }

  async function choose(id) {
    const { data } = await get(`subscribers/${encodeURIComponent(id)}/status`);
    order(data, () => {});
  }

  const form = h('form', { class: 'stack', novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    const typed = who.value.trim();
    if (!typed) { who.focus(); return; }
    const byName = [...names].find(([, name]) => name.toLowerCase() === typed.toLowerCase());
    save([...seen.data.delegates, byName?.[0] ?? typed], form);
  } }, h('div', { class: 'with-button' }, field(t('delegates.add'), who, { name: 'delegate', hint: t('delegates.add_hint') }), h('button', { type: 'submit' }, t('add'))), known);
  const again = async () => {
    const fresh = await get(path);
    if (same(fresh.data, seen.data)) { seen = fresh; return; }
    seen = fresh;
    draw();
  };
  stops.push(on('status', (news) => news.id === of && again().catch(() => {})), on('resync', () => again().catch(() => {})));
  draw();
  return card(t('people.delegates'), h('p', { class: 'hint' }, t('delegates.hint')), list, none, form, mine);
}
