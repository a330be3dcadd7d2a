// What belongs to a person whatever the status: who may order it, hours, calendars, who sees what, and the data.
import { ask, get, on, onChange, replace, same, Overtaken } from './api.js';
import { count, t, when } from './words.js';
import { avatar, button, card, empty, field, fill, h, heading, icon, linesOf, ownStatuses, reveal, select, showFaults, clearFaults, statusWord, sure, toast, tool, wrong } from './ui.js';
import { namesOf, personInput } from './choice.js';
import { order } from './menu.js';

export async function personal(room, { of, isOf, isAdmin, session, tabs }) {
  const base = `subscribers/${encodeURIComponent(of)}`;
  const stops = [];
  const about = { of, isOf, isAdmin, session, stops };
  const [delegates, hours, calendars, visibility] = await Promise.all([delegatesCard, hoursCard, calendarsCard, visibilityCard].map((make) => make(base, about)));
  fill(room, heading(t('view.settings')), h('p', { class: 'hint' }, t('personal.hint')), tabs, delegates, hours, calendars, visibility, dataCard(base, about));
  reveal(tabs);
  return () => stops.forEach((stop) => stop());
}

/**
 * A document that is read, shown in a form and put back whole. `draw` fills the form with what was
 * seen and answers how the form is read; what was changed elsewhere is shown where nobody types.
 * `beside` shows what is no part of the form: whenever it is read, and every minute.
 */
async function whole(path, { of, stops }, draw, { part = (all) => all, beside } = {}) {
  let seen = await get(path);
  let isTouched = false;
  let read;
  const form = h('form', { class: 'stack', novalidate: true });
  const core = beside ? part : (all) => all;
  const show = () => { isTouched = false; read = draw(form, seen.data, put); beside?.(seen.data); };
  async function put(work) {
    clearFaults(form);
    try {
      const { data, etag } = await work();
      seen = { data, etag };
      toast(t('saved'));
    } catch (problem) {
      if (!(problem instanceof Overtaken)) { showFaults(form, problem); return; }
      seen = problem.fresh;
      toast(t('overtaken'), 'bad');
    }
    show();
  }
  form.addEventListener('input', () => { isTouched = true; });
  form.addEventListener('submit', (event) => { event.preventDefault(); put(() => replace(path, seen, read(), { part })); });
  const again = async () => {
    const fresh = await get(path);
    beside?.(fresh.data);
    const isSame = same(core(fresh.data), core(seen.data));
    if (isTouched || isSame) { if (isSame) seen = fresh; return; }
    seen = fresh;
    show();
  };
  stops.push(onChange(of, () => again().catch(() => {})), on('resync', () => again().catch(() => {})));
  if (beside) {
    const timer = setInterval(() => again().catch(() => {}), 60000);
    stops.push(() => clearInterval(timer));
  }
  show();
  return form;
}

const save = (...more) => h('div', { class: 'bar' }, h('button', { type: 'submit', class: 'primary' }, t('save')), ...more);

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const SEGMENTS = { outside: 'away', in_breaks: 'break', on_holidays: 'away' };

/** Statuses that hours and calendars can stand for; the first is none. */
const statusChoices = (none) => [['available', none], ...['away', 'break', 'dnd', ...ownStatuses().map((one) => one.id)].map((status) => [status, statusWord(status)])];

/** "Mon 09:00–12:30, 13:00–17:00" of each day with hours. */
export const weekWords = (week) => DAYS.filter((day) => week?.[day]?.length).map((day) => `${t('day.' + day)} ${week[day].join(', ').replaceAll('-', '–')}`);

/** When somebody works. */
async function hoursCard(base, about) {
  const path = `${base}/hours`;
  const form = await whole(path, about, (place, { own, in_force: now, now: segment, until }, put) => {
    const week = own ?? now ?? {};
    const days = DAYS.map((day) => [day, h('input', { value: (week[day] ?? []).join(', '), placeholder: t('hours.off'), autocomplete: 'off', spellcheck: 'false' })]);
    const zone = h('input', { value: week.zone ?? '', placeholder: t('rule.zone_server'), autocomplete: 'off', spellcheck: 'false' });
    const statuses = Object.entries(SEGMENTS).map(([key, status]) => [key, status, select(statusChoices(t('hours.nothing')), week[key] ?? status)]);
    fill(place,
      h('p', null, !now ? t('hours.none') : [t(own ? 'hours.own' : 'hours.house'), segment && [' ', t('hours.now', { segment: t('segment.' + segment), time: until ? when(until) : '' })]]),
      h('div', { class: 'week' }, days.map(([day, input]) => field(t('day.' + day), input, { name: day }))),
      h('p', { class: 'hint' }, t('hours.hint')),
      h('div', { class: 'pair' }, statuses.map(([key, , choice]) => field(t('hours.' + key), choice, { name: key })), field(t('rule.zone'), zone, { name: 'zone' })),
      save(own && button(t('hours.as_house'), () => put(() => ask('DELETE', path)), 'quiet')));
    return () => {
      const body = Object.fromEntries(days.map(([day, input]) => [day, linesOf(input).map((span) => span.replace(/\s*[-–]\s*/, '-'))]).filter(([, spans]) => spans.length));
      if (zone.value.trim()) body.zone = zone.value.trim();
      statuses.forEach(([key, status, choice]) => { if (choice.value !== status) body[key] = choice.value; });
      return body;
    };
  }, { part: (all) => all.own });
  return card(t('hours'), form);
}

/** How each feed was read the last time, in the order of the addresses. */
function readingsList() {
  const list = h('ol', { class: 'readings', 'aria-live': 'polite' });
  let told = '';
  const words = (one) => {
    if (!one) return h('span', { class: 'hint' }, t('calendars.not_yet'));
    if (!one.fault) return h('span', { class: 'hint' }, t('calendars.read', { time: when(one.read_at), n: count('calendars.entries', one.entries) }));
    return [h('span', { class: 'badge bad' }, t('calendars.troubled', { time: when(one.fault.since) })), ' ', one.fault.text, '. ', h('span', { class: 'hint' }, t('calendars.stays'))];
  };
  list.show = ({ calendars, readings }) => {
    const now = JSON.stringify([calendars, readings]);
    if (now === told) return;
    told = now;
    fill(list, calendars.map((feed) => h('li', null, h('strong', null, hostOf(feed)), ' ', words(readings.find((one) => one.feed === feed)))));
    list.hidden = !calendars.length;
  };
  return list;
}

const hostOf = (feed) => { try { return new URL(feed).host || feed; } catch { return feed; } };

let categoryRows = 0;
/** What entries of some categories mean; those that the feeds have had of late are offered. */
function categoriesChoice(own, changed) {
  const rows = h('div', { class: 'stack' });
  const fault = h('p', { class: 'fault', id: `c${categoryRows += 1}`, hidden: true });
  const add = (name = '', status = 'away') => {
    const input = h('input', { list: 'categories', value: name, autocomplete: 'off', spellcheck: 'false', 'aria-label': t('calendars.category'), 'aria-describedby': fault.id });
    const meaning = select(statusChoices(t('calendars.nothing')), status, { 'aria-label': `${t('calendars.category')}: ${t('calendars.category_status')}` });
    const row = h('div', { class: 'category' }, input, meaning, tool('bin', t('calendars.category_remove', { name: name || t('calendars.category') }), () => { row.remove(); changed(); more.focus(); }));
    row.read = () => [input.value.trim(), meaning.value];
    rows.append(row);
    return input;
  };
  const more = button([icon('plus'), t('calendars.category_add')], () => { changed(); add().focus(); }, 'quiet');
  Object.entries(own).forEach(([name, status]) => add(name, status));
  const box = h('fieldset', { class: 'field plain-set', 'data-field': 'calendar_categories' }, h('legend', null, t('calendars.categories')),
    h('p', { class: 'hint' }, t('calendars.categories_hint')), rows, h('div', { class: 'bar' }, more), fault);
  box.read = () => Object.fromEntries([...rows.children].map((row) => row.read()).filter(([name]) => name));
  return box;
}

/** Which calendars tell of somebody, and what their entries mean. */
async function calendarsCard(base, about) {
  const readings = readingsList();
  const known = h('datalist', { id: 'categories' });
  const beside = (data) => {
    readings.show(data);
    const offered = [...data.categories, ...t('calendars.common').split(', ')];
    fill(known, [...new Set(offered)].map((name) => h('option', { value: name })));
  };
  const feeds = await whole(`${base}/calendars`, about, (place, { calendars }) => {
    const input = h('textarea', { rows: 2, spellcheck: 'false', value: calendars.join('\n') });
    fill(place, field(t('calendars.feeds'), input, { name: 'calendars', hint: t('calendars.hint') }), readings, save());
    return () => ({ calendars: linesOf(input) });
  }, { part: (all) => all.calendars, beside });
  const meaning = await whole(`${base}/triggers`, about, (place, own) => {
    const busy = select([['', t('calendars.meeting')], ...statusChoices(t('calendars.nothing'))], own.calendar_busy ?? '');
    const away = select([['', statusWord('away')], ...statusChoices(t('calendars.nothing')).filter(([status]) => status !== 'away')], own.calendar_out_of_office ?? '');
    const categories = categoriesChoice(own.calendar_categories ?? {}, () => place.dispatchEvent(new Event('input')));
    fill(place, h('div', { class: 'pair' }, field(t('calendars.busy'), busy, { name: 'calendar_busy' }), field(t('calendars.away'), away, { name: 'calendar_out_of_office' })),
      categories, known, save());
    return () => {
      const { calendar_busy, calendar_out_of_office, calendar_categories, ...body } = own;
      if (busy.value) body.calendar_busy = busy.value;
      if (away.value) body.calendar_out_of_office = away.value;
      const named = categories.read();
      if (Object.keys(named).length) body.calendar_categories = named;
      return body;
    };
  });
  return card(t('calendars'), feeds, meaning);
}

const LEVELS = ['full', 'status', 'free_busy', 'none'];

/** What colleagues see. */
async function visibilityCard(base, about) {
  const form = await whole(`${base}/visibility`, about, (place, { own, configured, teams }) => {
    const levels = (who) => [['', t('level.as_configured', { level: t('level.' + (configured[who] ?? 'full')) })], ...LEVELS.map((level) => [level, t('level.' + level)])];
    const inputs = { team: select(levels('team'), own.team ?? ''), others: select(levels('others'), own.others ?? '') };
    fill(place, h('p', { class: 'hint' }, t('visibility.hint'), teams.length > 0 && ` ${t('visibility.teams', { teams: teams.join(', ') })}`),
      h('div', { class: 'pair' }, field(t('people.seen_team'), inputs.team, { name: 'team' }), field(t('people.seen_others'), inputs.others, { name: 'others' })), save());
    return () => Object.fromEntries(Object.entries(inputs).map(([who, input]) => [who, input.value]).filter(([, level]) => level));
  }, { part: (all) => all.own });
  return card(t('visibility'), form);
}

/** What is kept about somebody: given out, and erased. */
function dataCard(base, { of, isOf }) {
  const give = async () => {
    try {
      const { data } = await get(`${base}/data`);
      const address = URL.createObjectURL(new Blob([JSON.stringify(data, null, 2)], { type: 'application/json' }));
      h('a', { href: address, download: `${of}.json` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
      toast(t('data.given'));
    } catch (problem) { wrong(problem); }
  };
  const erase = () => sure(t('data.erase_journal'), t('data.erase_hint'), t('data.erase'), async () => {
    await ask('DELETE', `${base}/journal`);
    toast(t('data.erased'));
  });
  const forget = () => sure(t('data.forget'), t('data.forget_hint', { name: of }), t('data.forget'), async () => {
    await ask('DELETE', `${base}/data`);
    toast(t('deleted'));
    location.hash = '#/people';
  });
  return card(t('data'), h('p', { class: 'hint' }, t('data.hint')), h('div', { class: 'bar' },
    button(t('data.give'), give), button(t('data.erase_journal'), erase), isOf && button(t('data.forget'), forget)));
}

/** Who may order the status, and whose one may order. */
async function delegatesCard(base, { of, session, stops }) {
  const path = `${base}/delegates`;
  let seen = await get(path);
  let names = new Map();
  const nameOf = (id) => names.get(id) ?? id;
  const learn = async () => { names = await namesOf(seen.data.delegates); };
  const list = h('ul', { class: 'chosen' });
  const person = personInput({ leaves: (id) => id === of || seen.data.delegates.includes(id) });
  const who = person.input;
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
    await learn();
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
    const isMe = of === session.id;
    fill(mine, others.length > 0 && [h('h3', null, t(isMe ? 'delegates.of_me' : 'delegates.of')), h('ul', { class: 'chosen' }, others.map((one) => h('li', null,
      avatar(one.display_name, null, 'small'), h('span', { class: 'name' }, one.display_name), isMe && button([t('status.change'), h('span', { class: 'unseen' }, one.display_name)], () => choose(one.id), 'quiet'))))]);
  }

  async function choose(id) {
    const { data } = await get(`subscribers/${encodeURIComponent(id)}/status`);
    order(data, () => {});
  }

  const form = h('form', { class: 'stack', novalidate: true, onsubmit: (event) => {
    event.preventDefault();
    const typed = who.value.trim();
    if (!typed) { who.focus(); return; }
    person.read().then((id) => save([...seen.data.delegates, id], form)).catch(wrong);
  } }, h('div', { class: 'with-button' }, field(t('delegates.add'), who, { name: 'delegate', hint: t('delegates.add_hint') }), h('button', { type: 'submit' }, t('add'))), person.list);
  const again = async () => {
    const fresh = await get(path);
    if (same(fresh.data, seen.data)) { seen = fresh; return; }
    seen = fresh;
    await learn();
    draw();
  };
  stops.push(onChange(of, () => again().catch(() => {})), on('resync', () => again().catch(() => {})));
  await learn();
  draw();
  return card(t('people.delegates'), h('p', { class: 'hint' }, t('delegates.hint')), list, none, form, mine);
}
