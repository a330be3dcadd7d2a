// The menus that set a status: one's own behind one's picture, and the form with everything.
import { ask, get, replace, Overtaken } from './api.js';
import { clock, count, t, zoneHint } from './words.js';
import { baseOf, button, check, dialog, ending, field, fromLocal, h, icon, mark, ownStatuses, popover, quoted, shownOf, statusWord, toast, toLocal, wrong } from './ui.js';
import { CHOSEN, sentence } from './why.js';

const CHOICES = ['available', 'away', 'break', 'dnd', 'in_call'];
const isOwn = (status) => ownStatuses().some((one) => one.id === status);
const all = () => [...CHOICES.slice(0, -1), ...ownStatuses().map((one) => one.id), 'in_call'];
const labelOf = (status) => (isOwn(status) ? statusWord(status) : t('label.' + status));
const aboutOf = (status) => (isOwn(status)
  ? t('status.counts_as', { status: statusWord(ownStatuses().find((one) => one.id === status).status) })
  : t('about.' + status));

/** What was chosen by hand, under whatever lies over it. */
const chosenOf = (document) => document.layers?.find((layer) => CHOSEN.includes(layer.layer)) ?? document;
/** What somebody's own choice is made of; the rest changes by itself. */
const part = ({ status, own_status, message, until, hold, layers }) => [status, own_status, message, until, hold, layers?.filter((one) => CHOSEN.includes(one.layer)).map((one) => [one.status, one.own_status])];

/** Chooses one's status, and says what came of it. */
async function put(path, seen, wish) {
  const { data, etag } = await replace(path, seen, wish, { part });
  const isInForce = CHOSEN.includes(data.layers[0]?.layer) || baseOf(data) === wish.status;
  if (isInForce) {
    toast([t('status.now', { status: statusWord(baseOf(data)) }), ending(data.until)].filter(Boolean).join(', '));
  } else {
    const hold = () => put(path, { data, etag }, { ...wish, hold: true }).catch(wrong);
    const isOrder = data.layers[0].layer === 'override';
    toast(t('status.still', { sentence: sentence(data) }), 'note', !isOrder && [t('status.anyway', { status: statusWord(wish.status) }), hold]);
  }
}

/**
 * Sends wishes for what was seen. Where somebody else was faster, that is told, and the next wish
 * counts for what is there now; so nobody's is overwritten unseen, and nothing typed is lost.
 */
const sender = (path, first) => {
  let seen = first;
  return async (wish) => {
    try {
      await put(path, seen, wish);
      return true;
    } catch (problem) {
      if (!(problem instanceof Overtaken)) throw problem;
      seen = problem.fresh;
      toast(t('overtaken.status', { status: statusWord(baseOf(chosenOf(seen.data))) }), 'bad');
      return false;
    }
  };
};

/** The menu behind one's picture: one click sets a status. */
export async function statusMenu(id, anchor) {
  const path = `subscribers/${encodeURIComponent(id)}/status`;
  const [seen, { data: settings }] = await Promise.all([get(path), get(`subscribers/${encodeURIComponent(id)}/settings`)]);
  const chosen = chosenOf(seen.data);
  const send = sender(path, seen);
  const messageOf = (status) => (settings[status] ?? settings.own?.[status])?.message ?? settings.all?.message;
  let until;
  const pick = async (status) => {
    box.close();
    const message = status === baseOf(chosen) ? chosen.message : undefined;
    try { await send({ status, message, until: until && instant(until) }); } catch (problem) { wrong(problem); }
  };
  const lengths = h('fieldset', { class: 'lengths' }, h('legend', null, t('end.for')), ends().map(([text, at], n) => h('label', { class: 'chip' },
    h('input', { type: 'radio', name: 'length', value: n, checked: n === 0, onchange: () => { until = at; } }), h('span', null, text))));
  const rows = all().map((status) => {
    const isNow = status === baseOf(chosen);
    const about = messageOf(status) && status !== 'in_call' ? quoted(messageOf(status)) : aboutOf(status);
    const words = h('span', { class: 'words' }, h('strong', null, labelOf(status)), h('small', null, about));
    if (status === 'in_call') return h('p', { class: 'option off' }, mark(status), words);
    return button([mark(status), words, isNow && h('span', { class: 'unseen' }, t('status.chosen')), isNow && icon('chosen')], () => pick(status), `option ${isNow ? 'now' : ''}`, { value: status });
  });
  const list = h('div', { class: 'statuses' }, rows);
  const buttons = rows.filter((row) => row.matches('button'));
  list.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const at = buttons.indexOf(document.activeElement);
    const to = step ? buttons.at((at + step) % buttons.length) : { Home: buttons[0], End: buttons.at(-1) }[event.key];
    if (!to) return;
    event.preventDefault();
    to.focus();
  });
  const details = () => {
    box.close();
    choose({ document: { hold: seen.data.hold, ...chosen, ...(until && { until: instant(until) }) }, apply: send });
  };
  const box = popover(anchor, t('status.change'), lengths, list, button([icon('edit'), t('status.more')], details, 'more-choices'));
  (buttons.find((one) => one.classList.contains('now')) ?? buttons[0]).focus();
}

/** The form with everything for one's own status; one means to write a message. */
export async function statusForm(id) {
  const path = `subscribers/${encodeURIComponent(id)}/status`;
  const seen = await get(path);
  const box = choose({ document: seen.data, apply: sender(path, seen) });
  box.querySelector('[name=message]').focus();
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

/** The form with everything: a status, a message, an end. */
function choose({ document: now, title = t('status.change'), hasHold = true, extra, apply: send }) {
  const chosen = chosenOf(now);
  let pick = baseOf(chosen);
  const options = all().map((status) => {
    const input = h('input', { type: 'radio', name: 'status', value: status, checked: status === pick, disabled: status === 'in_call', onchange: () => { pick = status; } });
    const label = h('label', { class: `option ${status === 'in_call' ? 'off' : ''}` }, input, mark(status),
      h('span', { class: 'words' }, h('strong', null, labelOf(status)), h('small', null, aboutOf(status))));
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
    field(t('end'), until, { name: 'until', hint: zoneHint() }), quick,
    hasHold && h('div', { class: 'stack tight' }, hold, h('p', { class: 'hint' }, t('hold.hint'))), extra,
  ], {
    className: 'menu', done: t('status.set'),
    submit: () => send({ status: pick, message: message.value.trim() || undefined, until: fromLocal(until.value), hold: hold.input.checked || undefined }),
  });
  box.querySelector('input:checked')?.focus();
  return box;
}

/** An end to the minute, as the server takes it. */
const instant = (at) => fromLocal(toLocal(at));

/** Ends that people often want. */
function ends() {
  const now = Date.now();
  const at = (hour, days = 0) => { const date = new Date(); date.setDate(date.getDate() + days); date.setHours(hour, 0, 0, 0); return date; };
  const list = [[t('end.none'), null], [count('end.minutes', 30), now + 18e5], [count('end.hours', 1), now + 36e5], [count('end.hours', 2), now + 72e5]];
  if (new Date().getHours() < 17) list.push([t('end.today', { time: clock(at(17)) }), at(17)]);
  list.push([t('end.tomorrow', { time: clock(at(8, 1)) }), at(8, 1)]);
  return list;
}
