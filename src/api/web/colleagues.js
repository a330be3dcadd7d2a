// Everybody's status, as it changes.
import { get, on } from './api.js';
import { count, t } from './words.js';
import { avatar, button, calmly, empty, ending, fill, h, heading, icon, mark, ownStatuses, shownOf, statusWord, tool, wrong } from './ui.js';
import { readColleagues } from './choice.js';
import { order as orderStatus } from './menu.js';

const PAGE = 500;
/** How many who turned out not to belong to what is shown are remembered. */
const STRANGERS = 10000;
/** What is known of somebody: the status, or only whether calls are welcome. */
const shownAs = (one) => (one.effective_status ? shownOf(one) : undefined) ?? (one.free === undefined ? null : one.free ? 'free' : 'busy');
const RANK = ['available', 'in_call', 'break', 'away', 'dnd'];

export async function colleagues(room, { isAdmin, session }) {
  let found = new Map();
  let next; let order = 0; let all = 0;
  let strangers = new Set(); let asked = new Set();
  const search = h('input', { type: 'search', 'aria-label': t('search'), placeholder: t('colleagues.search'), autocomplete: 'off' });
  const team = h('select', { 'aria-label': t('team') });
  const only = h('select', { 'aria-label': t('status') }, h('option', { value: '' }, t('colleagues.any_status')), [...RANK, ...ownStatuses().map((one) => one.id)].map((status) => h('option', { value: status }, statusWord(status))));
  const list = h('ul', { class: 'people' });
  const total = h('p', { class: 'hint', role: 'status' });
  const more = button(t('more'), () => load(true).catch(wrong));
  const sought = () => search.value.trim().toLowerCase();

  async function load(isMore = false) {
    const mine = order += 1;
    const query = new URLSearchParams({ limit: PAGE });
    if (sought()) query.set('search', sought());
    if (team.value) query.set('team', team.value);
    if (only.value) query.set('status', only.value);
    if (isMore) query.set('after', next);
    const page = await readColleagues(query);
    if (mine !== order) return;
    if (!isMore) found = new Map();
    page.colleagues.forEach((one) => found.set(one.id, one));
    next = page.next;
    all = page.total;
    draw();
  }

  /** Afresh, with other people. */
  const seek = () => { strangers = new Set(); asked = new Set(); return load(); };

  async function loadTeams() {
    const { data } = await get('teams');
    const chosen = team.value;
    fill(team, h('option', { value: '' }, t('team.all')), data.teams.map(({ name }) => h('option', { value: name, selected: name === chosen }, name)));
    team.hidden = data.teams.length === 0;
  }

  function draw() {
    const shown = [...found.values()].sort((a, b) => (a.display_name ?? a.id).localeCompare(b.display_name ?? b.id));
    const old = new Map([...list.children].map((item) => [item.dataset.id, item]));
    list.replaceChildren(...shown.map((one) => {
      const item = entry(one);
      const before = old.get(one.id);
      return before?.isEqualNode(item) ? before : item;
    }));
    const text = !all ? '' : next ? t('colleagues.some', { n: shown.length.toLocaleString(), total: all.toLocaleString() }) : count('colleagues', shown.length);
    if (total.textContent !== text) total.textContent = text;
    nobody.hidden = shown.length > 0;
    more.hidden = !next;
  }

  /** One whose place stays is drawn alone. */
  function redraw(before, now) {
    const item = before.display_name === now.display_name && [...list.children].find((one) => one.dataset.id === now.id);
    if (!item) { draw(); return; }
    const fresh = entry(now);
    if (item.isEqualNode(fresh)) return;
    const isFocused = item.contains(document.activeElement);
    item.replaceWith(fresh);
    if (isFocused) fresh.querySelector('button')?.focus();
  }

  const entry = (one) => h('li', { 'data-id': one.id },
    avatar(one.display_name ?? one.id, shownAs(one)),
    h('div', { class: 'words' },
      h('p', { class: 'name' }, h('bdi', null, one.display_name ?? one.id), one.id === session.id && h('span', { class: 'tag' }, t('you'))),
      h('p', { class: 'state' }, shownAs(one)
        ? [mark(shownAs(one), 'tiny'), statusWord(shownAs(one)), one.until && shownAs(one) !== 'in_call' && h('span', { class: 'hint' }, ending(one.until))]
        : h('span', { class: 'hint' }, t('colleagues.hidden'))),
      one.message && h('p', { class: 'message' }, h('bdi', null, one.message)),
      one.order && h('p', { class: 'hint' }, t('why.override', { by: one.order.by ?? t('role.the_administrator') })),
      one.teams?.length > 0 && h('p', { class: 'hint' }, one.teams.join(', '))),
    !isAdmin && one.may_order && tool('edit', t('override.for', { name: one.display_name }), () => orderStatus(one, () => look(one.id))));

  /** Reads afresh what the stream does not tell: what was ordered, for who may order. */
  async function look(id) {
    const { data } = await get(`subscribers/${encodeURIComponent(id)}/status`);
    if (!found.has(id)) return;
    found.set(id, { teams: found.get(id).teams, ...data });
    draw();
  }

  const nobody = empty(t('colleagues.none'));
  await Promise.all([load(), loadTeams().catch(() => { team.hidden = true; })]);
  fill(room, heading(t('view.colleagues')),
    h('div', { class: 'filters', role: 'search' }, h('span', { class: 'find' }, icon('search'), search), team, only),
    total, list, nobody, more);
  const again = () => load().then(() => { asked.forEach((id) => found.has(id) || strangers.size > STRANGERS || strangers.add(id)); asked = new Set(); }, () => {});
  const calmAgain = calmly(again, 1000);
  const change = () => seek().catch(wrong);
  search.addEventListener('input', calmly(change));
  [team, only].forEach((choice) => choice.addEventListener('change', change));

  /** Whether somebody who is not shown may belong to what is. */
  const mayBelong = (news) => !strangers.has(news.id)
    && (!only.value || shownAs(news) === only.value)
    && (!next || news.id.toLowerCase() <= next.toLowerCase());
  const heard = (news) => {
    const before = found.get(news.id);
    const isGone = news.deleted || news.shows === 'none' || (only.value && before && shownAs(news) !== only.value);
    if (isGone) {
      if (!before) return;
      found.delete(news.id);
      all -= 1;
      draw();
      return;
    }
    if (!before) {
      if (mayBelong(news)) { asked.add(news.id); calmAgain(); }
      return;
    }
    const { teams, may_order, order: ordered } = before;
    const now = { teams, may_order, order: ordered, ...news };
    found.set(news.id, now);
    redraw(before, now);
    if (may_order) look(news.id).catch(() => {});
  };
  const afresh = () => { seek().catch(() => {}); loadTeams().catch(() => {}); };
  const stops = [on('status', heard), on('document', (news) => news.id === session.id && calmAgain()), on('resync', afresh)];
  return () => stops.forEach((stop) => stop());
}
