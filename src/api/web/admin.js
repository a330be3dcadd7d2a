// What the administrator sees of the server: calls, decisions, systems.
import { get, on } from './api.js';
import { clock, count, language, lasting, t, when } from './words.js';
import { calmly, card, empty, fill, h, heading, icon, party } from './ui.js';
import { reasonWords } from './journal.js';

/** A table that a phone shows as cards. */
export const table = (caption, heads, rows) => h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption }, h('table', null,
  h('thead', null, h('tr', null, heads.map((text) => h('th', { scope: 'col' }, text)))),
  h('tbody', null, rows.map((cells) => h('tr', null, cells.map((cell, at) => h('td', { 'data-head': heads[at] }, h('div', null, cell))))))));

/** Somebody as people know them: by name, with what identifies them beneath. */
const whom = (name, under, address, id) => h(id ? 'a' : 'span', { class: 'whom', href: id && `#/of/${encodeURIComponent(id)}/status`, title: address },
  h('bdi', null, name), under && under !== name && h('small', null, under));
/** One side of a call. */
const side = (name, id, address) => whom(name ?? id ?? party(address), id ?? (name && party(address)), address, id);

/** Shows what `read` gives, and again when something happens or time passes. */
async function live(room, title, { read, draw, kinds, every, hint }) {
  const place = h('div', { class: 'stack' });
  const load = async () => fill(place, draw(await read()));
  await load();
  fill(room, heading(title), hint && h('p', { class: 'hint' }, hint), place);
  const again = calmly(() => load().catch(() => {}), 250);
  const timer = setInterval(again, every);
  const stops = [...kinds, 'resync'].map((kind) => on(kind, again));
  return () => { clearInterval(timer); stops.forEach((stop) => stop()); };
}

export const calls = (room) => live(room, t('view.calls'), {
  kinds: ['call'], every: 5000, read: () => get('calls?limit=200').then(({ data }) => data),
  draw: ({ calls: list, total }) => [h('p', { class: 'big', role: 'status' }, count('calls.open', total)),
    total ? card('', table(t('view.calls'), [t('from'), t('to'), t('calls.answered'), t('calls.lasts')], list.map((call) => [
      side(call.caller_name, call.caller, call.from), [side(call.callee_name, call.callee, call.to), call.first_called && call.first_called !== call.callee && h('small', null, t('calls.for', { name: call.first_called_name ?? call.first_called }))],
      when(call.answered_at), lasting(Math.max(0, Math.round((Date.now() - Date.parse(call.answered_at)) / 1000)))]))) : empty(t('calls.none'))],
});

export const decisions = (room) => live(room, t('view.decisions'), {
  kinds: ['call'], every: 5000, hint: t('decisions.hint'), read: () => get('decisions?limit=200').then(({ data }) => data),
  draw: ({ decisions: list }) => (list.length ? card('', table(t('view.decisions'), [t('time'), t('from'), t('to'), t('decisions.what'), t('decisions.why'), t('decisions.took')], list.map((one) => [
    h('time', { datetime: one.at }, clock(one.at)), (one.caller_class === 'anonymous' ? whom(t('class.anonymous'), '', one.from) : whom(one.from_name ?? party(one.from), [one.from_name && party(one.from), t('class.' + one.caller_class)].filter(Boolean).join(' · '), `${one.from} (${one.source})`)), side(one.callee_name, one.callee, one.to),
    [h('strong', null, t('plan.' + one.decision)), one.target && ` → ${one.target_name ?? party(one.target)}`, one.status > 0 && !t('plan.' + one.decision).includes(one.status) && h('small', null, ` ${one.status}`)],
    reasonWords(one.reasons), h('span', { class: 'unit' }, `${one.setup_ms} ms`)]))) : empty(t('decisions.none'))),
});

const STATES = { up: 'good', down: 'bad', penalised: 'warn', unknown: '', unresolved: 'warn' };
const state = (name) => h('span', { class: `badge ${STATES[name] ?? ''}` }, t('state.' + name));

const NUMBERS = ['subscribers', 'calls_open', 'calls_answered', 'calls_decided', 'bindings', 'event_listeners', 'bans', 'overloads'];

/** The plain numbers of the metrics' text. */
function numbers(text) {
  const found = new Map();
  for (const line of text.split('\n')) {
    const [, name, value] = /^pointsman_(\w+?)(?:_total)? ([\d.e+]+)$/.exec(line) ?? [];
    if (name) found.set(name, Number(value));
  }
  return NUMBERS.filter((name) => found.has(name)).map((name) => [name, found.get(name)]);
}

export const systems = (room) => live(room, t('view.systems'), {
  kinds: ['peer'], every: 10000,
  read: async () => {
    const [{ data }, metrics, isReady] = await Promise.all([get('peers'), get('/metrics'), get('/readyz').then(() => true, () => false)]);
    return { ...data, numbers: numbers(metrics.data), isReady };
  },
  draw: (all) => [
    card(t('systems.health'), h('p', null, h('span', { class: `badge ${all.isReady ? 'good' : 'bad'}` }, t(all.isReady ? 'systems.ready' : 'systems.not_ready')), ' ', h('a', { href: '/metrics' }, t('systems.metrics'))),
      h('dl', { class: 'numbers' }, all.numbers.map(([name, value]) => h('div', null, h('dt', null, t('number.' + name)), h('dd', null, value.toLocaleString(language)))))),
    card(t('systems.targets'), all.systems.length ? table(t('systems.targets'), [t('name'), t('systems.role'), t('address'), t('systems.state'), t('systems.rtt')], all.systems.flatMap((system) => (system.targets.length ? system.targets : [{}]).map((target) => [
      system.name, t('role.' + system.role), target.address ? `${target.transport}:${target.address}` : system.uri, [state(target.state ?? system.state), target.since && h('small', null, ` ${t('since', { time: when(target.since) })}`)], target.rtt_ms !== undefined ? `${target.rtt_ms} ms` : '–']))) : empty(t('systems.none'))),
    all.peers.length > 0 && card(t('systems.peers'), table(t('systems.peers'), [t('name'), t('address'), t('systems.connections')], all.peers.map((peer) => [peer.name, peer.addresses.join(', '), peer.connections]))),
    card(t('systems.listeners'), table(t('systems.listeners'), [t('address'), t('systems.advertised'), t('systems.connections')], all.listeners.map((one) => [`${one.transport}:${one.address}`, one.advertised, one.connections]))),
    all.holidays.length > 0 && card(t('systems.holidays'), table(t('systems.holidays'), [t('address'), t('systems.reading')], all.holidays.map((one) => [one.feed, one.fault
      ? [h('span', { class: 'badge bad' }, t('since', { time: when(one.fault.since) })), ` ${one.fault.text}`] : t('systems.reading_ok', { time: when(one.read_at), n: count('days', one.entries) })]))),
    all.calendars_unreadable > 0 && card('', h('p', null, h('span', { class: 'badge warn' }, count('systems.calendars_unreadable', all.calendars_unreadable)))),
    all.certificates.length > 0 && card(t('systems.certificates'), table(t('systems.certificates'), [t('name'), t('systems.use'), t('end')], all.certificates.map((one) => [one.subject, one.use, [h('span', { class: `badge ${one.days_left < 14 ? 'bad' : 'good'}` }, count('days', one.days_left)), ` ${when(one.not_after)}`]])))],
});
