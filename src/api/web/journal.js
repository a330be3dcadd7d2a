// What became of one's calls, and why.
import { on } from './api.js';
import { clock, count, day, has, lasting, t } from './words.js';
import { button, calmly, empty, fill, h, heading, icon, party, wrong } from './ui.js';
import { caller, digest, read } from './digest.js';

const PAGE = 50;
const FEW = 20;
const MOST = 1000;
const DRAWN = {
  answered: 'in', answered_elsewhere: 'in', rang_through: 'in', missed: 'missed', forwarded: 'forwarded', voicemail: 'box',
  message: 'edit', feature_code: 'key', rejected_dnd: 'no', rejected: 'no', blocked: 'no',
};
const GROUPS = {
  all: () => true,
  missed: ({ kind }) => kind === 'missed' || kind === 'voicemail',
  forwarded: ({ kind }) => kind === 'forwarded' || kind === 'answered_elsewhere',
  rejected: ({ kind }) => ['rejected_dnd', 'rejected', 'blocked'].includes(kind),
};

/** The reasons of a decision, in words. */
export const reasonWords = (reasons) => reasons.map((code) => {
  if (has(`reason.${code}`)) return t('reason.' + code);
  const [, condition, action] = /^(.+?)_(connect|reject|missed|voicemail|forward)$/.exec(code) ?? [];
  return condition && has(`condition.${condition}`) ? t('reason.rule', { condition: t('condition.' + condition), action: t(action === 'forward' ? 'reason.forward' : 'action.' + action) }) : code;
}).join(' → ');

/** Kinds that say their reason themselves. */
const SAID = { rejected_dnd: 'dnd' };
const reached = (one) => one.target_name ?? (one.kind === 'voicemail' ? '' : one.target && party(one.target));

const entry = (one) => h('li', { class: `call kind-${one.kind}` }, icon(DRAWN[one.kind] ?? 'calls'),
  h('div', { class: 'words' },
    h('p', { class: 'name', title: one.from }, caller(one), h('span', { class: 'hint' }, t('kind.' + one.kind), reached(one) && ` → ${reached(one)}`)),
    one.reasons.join() !== SAID[one.kind] && h('small', null, reasonWords(one.reasons))),
  h('div', { class: 'when' }, h('time', { datetime: one.at }, clock(one.at)),
    h('small', null, one.talk_s ? t('journal.talked', { time: lasting(one.talk_s) }) : one.ring_ms ? t('journal.rang', { time: lasting(Math.round(one.ring_ms / 1000)) }) : '')));

export async function journal(room, { of, isOf, rest }) {
  const group = rest[0] in GROUPS ? rest[0] : 'all';
  const hash = isOf ? `#/of/${encodeURIComponent(of)}/journal` : '#/journal';
  let entries = []; let next;
  const list = h('div', { class: 'journal' });
  const more = button(t('more'), () => load(true).catch(wrong));
  const news = h('div');
  const kept = h('p', { class: 'hint' });
  async function load(isMore = false) {
    const page = await read(of, isMore ? { limit: PAGE, before: next } : { limit: PAGE });
    entries = isMore ? [...entries, ...page.entries] : page.entries;
    next = page.next;
    kept.textContent = t('journal.kept', { time: count('days', page.kept_days) });
    draw();
    // Few of many: those of the group may stand further back.
    if (next && entries.length < MOST && entries.filter(GROUPS[group]).length < FEW) await load(true);
  }
  function draw() {
    const shown = entries.filter(GROUPS[group]);
    const days = Map.groupBy ? Map.groupBy(shown, (one) => day(one.at)) : shown.reduce((map, one) => map.set(day(one.at), [...map.get(day(one.at)) ?? [], one]), new Map());
    fill(list, [...days].map(([name, calls]) => h('section', { class: 'card' }, h('h2', null, name), h('ul', null, calls.map(entry)))),
      !shown.length && empty(t('journal.none')));
    more.hidden = !next;
  }
  await load();
  fill(room, heading(t('view.journal')),
    h('nav', { class: 'tabs', 'aria-label': t('view.journal') }, Object.keys(GROUPS).map((name) => h('a', { href: `${hash}/${name}`, 'aria-current': name === group ? 'page' : null }, t('group.' + name)))),
    news, list, more, kept);
  if (!isOf) digest(news, of).catch(() => {});
  const again = calmly(() => load().catch(() => {}), 300);
  const timer = setInterval(again, 15000);
  const stops = [on('call', again), on('status', (told) => told.id === of && again()), on('resync', again)];
  return () => { clearInterval(timer); stops.forEach((stop) => stop()); };
}
