// One's own status: how it is, why, and the menu that changes it.
import { ask, get, on, onChange, replace, Overtaken } from './api.js';
import { clock, has, t, when, count } from './words.js';
import { avatar, baseOf, button, card, check, dialog, ending, field, fill, fromLocal, h, heading, icon, mark, ownStatuses, shownOf, statusWord, toast, toLocal, wrong } from './ui.js';
import * as activity from './activity.js';
import { digest } from './journal.js';

const CHOICES = ['available', 'away', 'break', 'dnd', 'in_call'];
const KINDS = { event: ['meeting', 'activity'], calendar: ['calendar'], schedule: ['schedule'] };
const CHOSEN = ['held', 'chosen', 'available'];
const SEGMENTS = ['business_hours', 'break', 'outside_hours', 'holiday'];

/** Why a layer says what it says. */
export function why(layer) {
  const since = layer.since ? when(layer.since) : '';
  const values = { cause: layer.cause ?? '', since, by: layer.by ?? (layer.cause === 'admin' ? t('role.the_administrator') : layer.cause) };
  switch (layer.layer) {
    case 'override': return t('why.override', values);
    case 'idle': return t(layer.cause === 'locked' ? 'why.locked' : since ? 'why.idle_since' : 'why.idle', values);
    case 'schedule': if (SEGMENTS.includes(layer.cause)) return t('hours.why', { cause: t('segment.' + layer.cause) });
    // falls through
    case 'event': case 'calendar': return t('why.' + layer.layer + (layer.cause ? '' : '_untitled'), values);
    default: return !layer.source ? t('why.default') : t(since ? 'why.chosen_since' : 'why.chosen', { ...values, source: t('source.' + layer.source) });
  }
}

/** "Away, because idle since 14:05; chosen: available". */
export function sentence(document) {
  const [top, ...beneath] = document.layers;
  if (!top || CHOSEN.includes(top.layer)) return '';
  const chosen = beneath.find((layer) => CHOSEN.includes(layer.layer));
  return t('status.sentence', { status: statusWord(baseOf(top)), why: why(top), chosen: chosen ? statusWord(baseOf(chosen)) : statusWord('available') });
}

export async function status(room, { of, isOf, isAdmin, session }) {
  const base = `subscribers/${encodeURIComponent(of)}`;
  const path = `${base}/status`;
  let seen; let signals;
  const face = h('section', { class: 'card hero' });
  const layers = h('section', { class: 'card' });
  const news = h('div');
  const aside = h('div');
  const load = async () => {
    const [read, reported] = await Promise.all([get(path), get(`${base}/signals`)]);
    if (!seen || Number(read.data.version) >= Number(seen.data.version)) seen = read;
    signals = reported.data;
    draw();
  };

  const change = () => choose({
    document: seen.data,
    apply: async (wish) => {
      try {
        const part = ({ status: s, own_status, message, until, hold, layers: all }) => [s, own_status, message, until, hold, all?.filter((l) => CHOSEN.includes(l.layer)).map((l) => [l.status, l.own_status])];
        seen = await replace(path, seen, wish, { part });
        toast(t('status.now', { status: statusWord(shownOf(seen.data)) }));
        draw();
      } catch (problem) {
        if (!(problem instanceof Overtaken)) throw problem;
        seen = problem.fresh;
        draw();
        toast(t('overtaken'), 'bad');
        return false;
      }
      return true;
    },
  });

  const act = (then) => async () => { try { await then(); await load(); } catch (problem) { wrong(problem); } };

  function tools(layer) {
    if (layer.layer === 'override' && isAdmin) return button(t('override.take_back'), act(() => ask('DELETE', `${base}/override`)), 'quiet');
    const signal = signals.find((one) => KINDS[layer.layer]?.includes(one.kind) && one.id === layer.event);
    const at = signal && `${base}/signals/${signal.kind}/${encodeURIComponent(signal.id)}/dismissed`;
    if (signal) return button(t('dismiss'), act(() => ask('PUT', at)), 'quiet', { title: t('dismiss.hint') });
    const isChoice = ['held', 'chosen'].includes(layer.layer) || (layer.layer === 'available' && layer.source && (layer.message || layer.until));
    return isChoice && button(t('clear'), act(() => ask('DELETE', path)), 'quiet');
  }

  function draw() {
    const { data } = seen;
    const shown = shownOf(data);
    const isFocused = face.contains(document.activeElement);
    fill(face,
      button(avatar(data.display_name, shown, 'big'), change, 'face', { 'aria-label': t('status.change_from', { status: statusWord(shown) }) }),
      h('div', { class: 'words' },
        h('p', { class: 'name' }, data.display_name),
        button([mark(shown), h('span', null, statusWord(shown)), icon('down')], change, 'pick', { id: 'pick', 'aria-haspopup': 'dialog' }),
        data.effective_status === 'in_call' && data.status !== 'in_call' && h('p', { class: 'hint' }, t('status.beneath', { status: statusWord(baseOf(data)) })),
        data.calls > 0 && data.status === 'dnd' && h('p', { class: 'hint' }, t('status.dnd_in_call')),
        data.message && h('p', { class: 'message' }, `“${data.message}”`),
        data.until && h('p', { class: 'hint' }, ending(data.until)),
        sentence(data) && h('p', { class: 'sentence' }, sentence(data))));
    if (isFocused) face.querySelector('#pick').focus();
    const meetings = signals.filter((one) => one.kind === 'meeting' && !one.dismissed && !data.layers.some((layer) => layer.layer === 'event' && layer.event === one.id)
      && Date.parse(one.from ?? 0) <= Date.now() && (!one.until || Date.parse(one.until) > Date.now()));
    const dismissed = signals.filter((one) => one.dismissed);
    fill(layers, h('h2', null, t('layers')), h('p', { class: 'hint' }, t('layers.hint')),
      h('ol', { class: 'layers' }, data.layers.map((layer, at) => h('li', { class: at ? '' : 'now' },
        mark(baseOf(layer)), h('div', null, h('strong', null, statusWord(baseOf(layer))), h('span', null, why(layer)),
          h('small', null, [layer.message && `“${layer.message}”`, ending(layer.until)].filter(Boolean).join(' · '))),
        at === 0 && h('span', { class: 'tag' }, t('layers.now')), tools(layer))),
        meetings.map((one) => h('li', null, mark('in_call'), h('div', null, h('strong', null, statusWord('in_call')), h('span', null, t(one.title ? 'why.meeting' : 'why.meeting_untitled', { cause: one.title })), h('small', null, ending(one.until))), tools({ layer: 'event', event: one.id })))),
      dismissed.length > 0 && h('h3', null, t('dismissed')),
      dismissed.length > 0 && h('ul', { class: 'layers' }, dismissed.map((signal) => h('li', null, mark(signal.status ? baseOf(signal) : 'dnd'),
        h('div', null, h('strong', null, signal.kind === 'schedule' && SEGMENTS.includes(signal.title) ? t('segment.' + signal.title) : signal.title ?? (has('untitled.' + signal.kind) ? t('untitled.' + signal.kind) : signal.id)), h('small', null, ending(signal.until))),
        button(t('count_again'), act(() => ask('DELETE', `${base}/signals/${signal.kind}/${encodeURIComponent(signal.id)}/dismissed`)), 'quiet')))));
  }

  const isMe = of === session.id;
  const permit = isMe ? await activity.permission() : 'none';
  if (permit === 'prompt') {
    fill(aside, card(t('activity'), h('p', null, t('activity.hint')),
      button(t('activity.allow'), async () => { fill(aside); if (await activity.allow()) toast(t('activity.allowed')); })));
  }
  await load();
  fill(room, heading(isOf ? t('status.of', { name: seen.data.display_name }) : t('view.status'), isOf && isAdmin && button(t('override.title'), () => order(seen.data, load))), news, h('div', { class: 'columns' }, face, layers), aside);
  let shown = null;
  const tellDigest = () => { if (isMe && shown !== seen.data.status) { shown = seen.data.status; digest(news, of).catch(() => {}); } };
  tellDigest();
  const again = () => load().then(tellDigest, () => {});
  const timer = setInterval(again, 30000);
  const stops = [onChange(of, again), on('resync', again), on('line', (isUp) => isUp && again())];
  return () => { clearInterval(timer); stops.forEach((stop) => stop()); };
}

/** Orders somebody's status, or takes the order back; `then` is called when that is done. */
export function order(document, then) {
  const path = `subscribers/${encodeURIComponent(document.id)}/override`;
  const now = { status: baseOf(document.order ?? document), message: document.order?.message, until: document.order?.until };
  const done = (data) => { toast(t('override.done', { name: document.display_name, status: statusWord(baseOf(data)) })); return then(); };
  const takeBack = async () => {
    try { const { data } = await ask('DELETE', path); box.close(); await done(data); } catch (problem) { wrong(problem); }
  };
  const box = choose({
    document: now, title: t('override.for', { name: document.display_name }), hasHold: false,
    extra: document.order && button(t('override.take_back'), takeBack),
    apply: async ({ hold, ...wish }) => { const { data } = await ask('PUT', path, wish); await done(data); },
  });
}

/** The menu: a status, a message, an end. */
export function choose({ document: now, title = t('status.change'), hasHold = true, extra, apply }) {
  const chosen = now.layers?.find((layer) => CHOSEN.includes(layer.layer)) ?? now;
  let pick = baseOf(chosen);
  const owned = new Map(ownStatuses().map((one) => [one.id, one]));
  const options = [...CHOICES.slice(0, -1), ...owned.keys(), 'in_call'].map((status) => {
    const input = h('input', { type: 'radio', name: 'status', value: status, checked: status === pick, disabled: status === 'in_call', onchange: () => { pick = status; } });
    const label = h('label', { class: `option ${status === 'in_call' ? 'off' : ''}` }, input, mark(status),
      h('span', null, h('strong', null, owned.has(status) ? statusWord(status) : t('label.' + status)), h('small', null, owned.has(status) ? t('status.counts_as', { status: statusWord(owned.get(status).status) }) : t('about.' + status))));
    label.addEventListener('dblclick', () => status !== 'in_call' && box.querySelector('form').requestSubmit());
    return label;
  });
  const message = h('input', { name: 'message', maxlength: 500, value: chosen.message ?? '', autocomplete: 'off', placeholder: t('message.placeholder') });
  const until = h('input', { type: 'datetime-local', name: 'until', value: chosen.until ? toLocal(chosen.until) : '' });
  const quick = h('div', { class: 'quick' }, ends().map(([text, at]) => button(text, () => { until.value = at ? toLocal(at) : ''; until.focus(); })));
  const hold = check(t('hold'), now.hold ?? false, { name: 'hold' });
  const box = dialog(title, [
    h('fieldset', { class: 'options', 'data-field': 'status' }, h('legend', { class: 'unseen' }, t('status')), options, h('p', { class: 'fault', hidden: true })),
    field(t('message'), message, { name: 'message', hint: t('message.hint') }),
    field(t('end'), until, { name: 'until' }), quick,
    hasHold && hold, hasHold && h('p', { class: 'hint' }, t('hold.hint')), extra,
  ], {
    className: 'menu', done: t('status.set'),
    submit: () => apply({ status: pick, message: message.value.trim() || undefined, until: fromLocal(until.value), hold: hold.input.checked || undefined }),
  });
  box.querySelector('input:checked')?.focus();
  return box;
}

/** Ends that people often want. */
function ends() {
  const now = Date.now();
  const at = (hour, days = 0) => { const date = new Date(); date.setDate(date.getDate() + days); date.setHours(hour, 0, 0, 0); return date; };
  const list = [[t('end.none'), null], [count('end.minutes', 15), now + 9e5], [count('end.minutes', 30), now + 18e5], [count('end.hours', 1), now + 36e5], [count('end.hours', 2), now + 72e5]];
  if (new Date().getHours() < 17) list.push([t('end.today', { time: clock(at(17)) }), at(17)]);
  list.push([t('end.tomorrow', { time: clock(at(8, 1)) }), at(8, 1)]);
  return list;
}
