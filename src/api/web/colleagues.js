// Everybody's status, as it changes.
import { get, on } from './api.js';
import { count, t } from './words.js';
import { avatar, button, calmly, empty, ending, fill, h, heading, icon, mark, ownStatuses, shownOf, statusWord, tool, wrong } from './ui.js';
import { order as orderStatus } from './status.js';

const PAGE = 200;
const MOST = 5000;
/** What is known of somebody: the status, or only whether calls are welcome. */
const shownAs = (one) => (one.effective_status ? shownOf(one) : undefined) ?? (one.free === undefined ? null : one.free ? 'free' : 'busy');
const RANK = ['available', 'in_call', 'break', 'away', 'dnd'];

/** Reads colleagues; the administrator's list of subscribers serves where there is none. */
export async function readColleagues(query, isAdmin) {
  try {
    const { data } = await get(`colleagues?${query}`);
    return data;
  } catch (problem) {
    if (problem.status !== 404 || !isAdmin) throw problem;
    query.delete('team');
    const { data } = await get(`subscribers?${query}`);
    return { colleagues: data.subscribers.map((one) => ({ ...one, message: one.status_message })), next: data.next };
  }
}

export async function colleagues(room, { isAdmin, session }) {
  let found = new Map();
  let next; let order = 0; let all = 0;
  const teams = new Set();
  const search = h('input', { type: 'search', 'aria-label': t('search'), placeholder: t('colleagues.search'), autocomplete: 'off' });
  const team = h('select', { 'aria-label': t('team') });
  const only = h('select', { 'aria-label': t('status') }, h('option', { value: '' }, t('colleagues.any_status')), [...RANK, ...ownStatuses().map((one) => one.id)].map((status) => h('option', { value: status }, statusWord(status))));
  const list = h('ul', { class: 'people' });
  const total = h('p', { class: 'hint', role: 'status' });
  const more = button(t('more'), () => load(true).catch(wrong));

  async function load(isMore = false) {
    const mine = order += 1;
    const query = new URLSearchParams({ limit: PAGE });
    if (search.value.trim()) query.set('search', search.value.trim());
    if (team.value) query.set('team', team.value);
    if (isMore) query.set('after', next);
    const page = await readColleagues(query, isAdmin);
    if (mine !== order) return;
    if (!isMore) found = new Map();
    page.colleagues.forEach((one) => { found.set(one.id, one); one.teams?.forEach((name) => teams.add(name.name ?? name)); });
    next = page.next;
    all = page.total ?? 0;
    draw();
    // Who looks for a status means everybody's.
    if (only.value && next && found.size < MOST) await load(true);
  }

  function draw() {
    const chosen = team.value;
    fill(team, h('option', { value: '' }, t('team.all')), [...teams].sort().map((name) => h('option', { value: name, selected: name === chosen }, name)));
    team.hidden = teams.size === 0;
    const shown = [...found.values()].filter((one) => !only.value || shownAs(one) === only.value)
      .sort((a, b) => (a.display_name ?? a.id).localeCompare(b.display_name ?? b.id));
    const old = new Map([...list.children].map((item) => [item.dataset.id, item]));
    list.replaceChildren(...shown.map((one) => {
      const item = entry(one);
      const before = old.get(one.id);
      if (before?.isEqualNode(item)) return before;
      return item;
    }));
    total.textContent = !shown.length ? '' : next && !only.value ? t('colleagues.some', { n: shown.length, total: all }) : count('colleagues', shown.length);
    nobody.hidden = shown.length > 0;
    more.hidden = !next;
  }

  const entry = (one) => h('li', { 'data-id': one.id },
    avatar(one.display_name ?? one.id, shownAs(one)),
    h('div', { class: 'words' },
      h('p', { class: 'name' }, one.display_name ?? one.id, one.id === session.id && h('span', { class: 'tag' }, t('you'))),
      h('p', { class: 'state' }, shownAs(one)
        ? [mark(shownAs(one), 'tiny'), statusWord(shownAs(one)), one.until && h('span', { class: 'hint' }, ending(one.until))]
        : h('span', { class: 'hint' }, t('colleagues.hidden'))),
      one.message && h('p', { class: 'message' }, one.message),
      one.order && h('p', { class: 'hint' }, t('why.override', { by: one.order.by ?? t('role.the_administrator') })),
      one.teams?.length > 0 && h('p', { class: 'hint' }, one.teams.map((name) => name.name ?? name).join(', '))),
    !isAdmin && one.may_order && tool('edit', t('override.for', { name: one.display_name }), () => orderStatus(one, () => look(one.id))));

  /** Reads afresh what the stream does not tell: what was ordered, for who may order. */
  async function look(id) {
    const { data } = await get(`subscribers/${encodeURIComponent(id)}/status`);
    if (!found.has(id)) return;
    found.set(id, { teams: found.get(id).teams, ...data });
    draw();
  }

  const nobody = empty(t('colleagues.none'));
  await load();
  fill(room, heading(t('view.colleagues')),
    h('div', { class: 'filters', role: 'search' }, h('span', { class: 'find' }, icon('search'), search), team, only),
    total, list, nobody, more);
  const again = () => load().catch(() => {});
  search.addEventListener('input', calmly(again));
  team.addEventListener('change', again);
  only.addEventListener('change', () => { draw(); if (only.value && next) load(true).catch(wrong); });
  const heard = (news) => {
    if (news.deleted || news.shows === 'none') found.delete(news.id);
    else if (found.has(news.id)) {
      const { teams: own, may_order, order: ordered } = found.get(news.id);
      found.set(news.id, { teams: own, may_order, order: ordered, ...news });
      if (may_order) look(news.id).catch(() => {});
    } else if (!search.value && !team.value) { calmAgain(); return; } else return;
    draw();
  };
  const calmAgain = calmly(again, 1000);
  const stops = [on('status', heard), on('document', (news) => news.id === session.id && calmAgain()), on('resync', again)];
  return () => stops.forEach((stop) => stop());
}
