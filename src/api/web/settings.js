// What happens to calls in each status, and what changes the status by itself.
import { ask, get, on, onChange, replace, same, Overtaken } from './api.js';
import { t, has } from './words.js';
import { button, card, check, field, fill, h, heading, linesOf, mark, ownStatuses, reveal, select, statusWord, showFaults, clearFaults, toast, warnings, wrong } from './ui.js';

const PARTS = ['all', 'available', 'away', 'break', 'dnd', 'in_call'];
/** Beside the statuses: what belongs to the person whatever the status. */
const PERSONAL = 'personal';
const CHATS = ['deliver', 'reject', 'suppress'];
const CONDITIONS = ['immediate', 'busy', 'no_answer', 'unreachable', 'declined'];
const CLASSES = ['internal', 'external', 'anonymous'];
const ACTIONS = ['connect', 'reject', 'missed', 'voicemail', 'forward'];
/** What a condition takes over where it is unset. */
const FALLS_TO = { unreachable: 'no_answer', declined: 'busy' };

export const actionWord = (action) => (typeof action === 'object' ? t('action.forward_to', { target: action.forward }) : t('action.' + action));

const isPerClass = (rule) => rule && typeof rule === 'object' && !('forward' in rule);
const ofClass = (rule, name) => (isPerClass(rule) ? rule[name] : rule);

/** The settings of one status; those of an own one stand apart. */
const partOf = (settings, part) => (PARTS.includes(part) ? settings[part] : settings.own?.[part]) ?? {};
const classOf = (part) => ownStatuses().find((one) => one.id === part)?.status;

/** What holds for a class of caller where a status sets nothing. */
function inherited(settings, part, condition, name) {
  const own = (from) => ofClass(partOf(settings, from)[condition], name);
  const base = classOf(part);
  if (base && own(base)) return { action: own(base), from: 'class', base };
  if (part !== 'all' && own('all')) return { action: own('all'), from: 'all' };
  if (FALLS_TO[condition]) {
    const instead = ofClass(partOf(settings, part)[FALLS_TO[condition]], name) ?? ofClass(settings.all?.[FALLS_TO[condition]], name);
    if (instead) return { action: instead, from: FALLS_TO[condition] };
  }
  if (condition === 'immediate') return { action: (base ?? part) === 'dnd' ? 'reject' : 'connect', from: 'default' };
  return { action: null, from: 'default' };
}

const inheritedWord = ({ action, from, base }) => {
  const what = action ? actionWord(action) : t('settings.pass_on');
  if (from === 'class') return t('settings.unset_as', { what, condition: statusWord(base) });
  return t(from === 'all' ? 'settings.unset_all' : from === 'default' ? 'settings.unset' : 'settings.unset_as', { what, condition: from in { busy: 1, no_answer: 1 } ? t('condition.' + from) : '' });
};

let actions = 0;
/** Choosing an action, with a target where it needs one. */
export function actionChoice(action, unset, label, { name } = {}) {
  const kind = action === undefined || action === null ? '' : typeof action === 'object' ? 'forward' : action;
  const choices = ACTIONS.map((one) => [one, t('action.' + one)]);
  const choice = select(unset ? [['', unset], ...choices] : choices, kind, { 'aria-label': label });
  const target = h('input', { value: action?.forward ?? '', 'aria-label': t('action.target_for', { label }), placeholder: t('action.target'), autocomplete: 'off', spellcheck: 'false' });
  const fault = h('p', { class: 'fault', id: `a${actions += 1}`, hidden: true });
  [choice, target].forEach((input) => input.setAttribute('aria-describedby', fault.id));
  const box = h('div', { class: 'action', 'data-field': name }, choice, target, fault);
  const draw = () => { target.hidden = choice.value !== 'forward'; };
  choice.addEventListener('change', () => { draw(); if (!target.hidden) target.focus(); });
  draw();
  box.read = () => (choice.value === '' ? undefined : choice.value === 'forward' ? { forward: target.value.trim() } : choice.value);
  return box;
}

/** What becomes of messages where a status says nothing. */
function unsetChat(settings, part) {
  const base = classOf(part);
  const ofBase = base && partOf(settings, base).chat;
  if (ofBase) return t('settings.unset_as', { what: t('chat.' + ofBase), condition: statusWord(base) });
  const all = part === 'all' ? undefined : settings.all?.chat;
  const lifts = (base ?? part) === 'dnd' && all === 'deliver';
  if (all && !lifts) return t('settings.unset_all', { what: t('chat.' + all), condition: '' });
  return t('settings.unset', { what: t('chat.as_calls'), condition: '' });
}

const tabs = (hash, part) => h('nav', { class: 'tabs', 'aria-label': t('status') }, [...PARTS, ...ownStatuses().map((one) => one.id), PERSONAL].map((name) => h('a', { href: `${hash}/${name}`, 'aria-current': name === part ? 'page' : null },
  name !== 'all' && name !== PERSONAL && mark(name, 'tiny'), name === 'all' || name === PERSONAL ? t('settings.' + name) : statusWord(name))));

export async function settings(room, view) {
  const { of, isOf, rest } = view;
  const base = `subscribers/${encodeURIComponent(of)}`;
  const hash = isOf ? `#/of/${encodeURIComponent(of)}/settings` : '#/settings';
  if (rest[0] === PERSONAL) {
    const { personal } = await import('./personal.js');
    return personal(room, { ...view, tabs: tabs(hash, PERSONAL) });
  }
  const part = PARTS.includes(rest[0]) || classOf(rest[0]) ? rest[0] : 'all';
  let seen = await get(`${base}/settings`);
  let triggers = await get(`${base}/triggers`);
  const told = h('div');
  const warn = async () => fill(told, warnings((await get(base)).data.warnings));
  await warn();
  const form = h('form', { class: 'stack', novalidate: true });
  const more = h('div', { class: 'stack' });
  let isTouched = false;
  let read = () => ({});

  function draw() {
    const own = partOf(seen.data, part);
    isTouched = false;
    const message = h('input', { value: own.message ?? '', maxlength: 500, placeholder: part === 'all' ? t('message.none') : partOf(seen.data, classOf(part)).message ?? seen.data.all?.message ?? t('message.none') });
    const ring = h('input', { type: 'number', min: 5, max: 120, value: own.ring_for_s ?? '', inputmode: 'numeric', placeholder: (part !== 'all' && (partOf(seen.data, classOf(part)).ring_for_s ?? seen.data.all?.ring_for_s)) || t('settings.ring_default') });
    const chat = part !== 'in_call' && select([['', unsetChat(seen.data, part)], ...CHATS.map((one) => [one, t('chat.' + one)])], own.chat ?? '');
    const rows = CONDITIONS.map((condition) => conditionRow(own, condition));
    fill(form,
      card(t('settings.shown'), field(t('message'), message, { name: 'message', hint: t('settings.message_hint') })),
      card(t('settings.calls'), part === 'in_call' && h('p', { class: 'hint' }, t('settings.in_call_hint')),
        rows.map((row) => row.element), field(t('settings.ring'), ring, { name: 'ring_for_s', hint: t('settings.ring_hint') })),
      chat && card(t('settings.chat'), field(t('settings.chat_what'), chat, { name: 'chat', hint: t('settings.chat_hint') })),
      h('div', { class: 'bar' }, h('button', { type: 'submit', class: 'primary' }, t('save')),
        Object.keys(own).length > 0 && button(t('settings.reset'), reset, 'quiet')));
    read = () => {
      const shown = ['message', 'ring_for_s', ...CONDITIONS];
      const body = Object.fromEntries(Object.entries(own).filter(([key]) => !shown.includes(key)));
      if (message.value.trim()) body.message = message.value.trim();
      if (ring.value) body.ring_for_s = Number(ring.value);
      if (chat) { delete body.chat; if (chat.value) body.chat = chat.value; }
      rows.forEach((row) => { const rule = row.read(); if (rule !== undefined) body[row.condition] = rule; });
      return body;
    };
    drawTriggers();
  }

  function conditionRow(own, condition) {
    const label = part === 'in_call' && condition === 'immediate' ? t('condition.second_call') : t('condition.' + condition);
    let apart = isPerClass(own[condition]);
    const choices = h('div', { class: 'choices' });
    let read;
    const drawChoices = (rule) => {
      if (apart) {
        const each = CLASSES.map((name) => [name, actionChoice(ofClass(rule, name), inheritedWord(inherited(seen.data, part, condition, name)), `${label}, ${t('class.' + name)}`, { name: `${condition}.${name}` })]);
        fill(choices, each.map(([name, box]) => h('div', { class: 'class' }, h('span', null, t('class.' + name)), box)));
        read = () => {
          const all = Object.fromEntries(each.map(([name, box]) => [name, box.read()]).filter(([, action]) => action !== undefined));
          return Object.keys(all).length ? all : undefined;
        };
      } else {
        const box = actionChoice(rule, inheritedWord(inherited(seen.data, part, condition, 'external')), label, { name: condition });
        fill(choices, box);
        read = box.read;
      }
    };
    const split = check(t('settings.by_caller'), apart, {
      onchange: (event) => {
        const rule = read();
        apart = event.target.checked;
        drawChoices(apart ? Object.fromEntries(CLASSES.map((name) => [name, rule])) : ofClass(rule, 'external'));
      },
    });
    drawChoices(own[condition]);
    const hint = `condition.${condition}.hint`;
    return {
      condition, read: () => read(),
      element: h('fieldset', { class: 'condition' }, h('legend', null, label), has(hint) && h('p', { class: 'hint' }, t(hint)), choices, split),
    };
  }

  async function save(work) {
    clearFaults(form);
    fill(told);
    try {
      const { data } = await work();
      fill(told, warnings(data.warnings));
      toast(t('saved'));
    } catch (problem) {
      if (!(problem instanceof Overtaken)) { showFaults(form, problem); return; }
      toast(t('overtaken'), 'bad');
    }
    seen = await get(`${base}/settings`);
    draw();
    told.firstChild?.scrollIntoView({ block: 'center' });
  }

  const options = { read: `${base}/settings`, part: (all) => ([...PARTS, 'own'].includes(Object.keys(all)[0]) ? partOf(all, part) : all) };
  const path = `${base}/settings/${part}`;
  const reset = () => save(() => replace(path, seen, undefined, { ...options, method: 'DELETE' }));
  form.addEventListener('submit', (event) => { event.preventDefault(); save(() => replace(path, seen, read(), options)); });
  form.addEventListener('input', () => { isTouched = true; });

  function drawTriggers() {
    const own = triggers.data;
    const put = async (change) => {
      try {
        const body = { ...own, ...change };
        triggers = await replace(`${base}/triggers`, triggers, body);
        toast(t('saved'));
      } catch (problem) {
        if (problem instanceof Overtaken) { triggers = problem.fresh; toast(t('overtaken'), 'bad'); } else wrong(problem);
      }
      drawTriggers();
    };
    if (part === 'away') {
      const minutes = h('input', { type: 'number', min: 0, max: 240, value: own.away_after_min ?? 5, inputmode: 'numeric', onchange: (event) => put({ away_after_min: Number(event.target.value) }) });
      const lock = check(t('trigger.lock'), own.away_on_lock ?? true, { onchange: (event) => put({ away_on_lock: event.target.checked }) });
      fill(more, card(t('trigger.away'), h('p', { class: 'hint' }, t('trigger.away_hint')), field(t('trigger.minutes'), minutes, { name: 'away_after_min', hint: t('trigger.minutes_hint') }), lock));
    } else if (part === 'dnd') {
      const meetings = check(t('trigger.meetings'), own.dnd_in_meetings ?? false, { onchange: (event) => put({ dnd_in_meetings: event.target.checked }) });
      const activities = h('input', { value: (own.dnd_activities ?? []).join(', '), autocomplete: 'off', onchange: (event) => put({ dnd_activities: linesOf(event.target) }) });
      fill(more, card(t('trigger.dnd'), h('p', { class: 'hint' }, t('trigger.dnd_hint')), meetings, field(t('trigger.activities'), activities, { name: 'dnd_activities', hint: t('trigger.activities_hint') })));
    } else fill(more);
  }

  draw();
  const shown = tabs(hash, part);
  fill(room, heading(t('view.settings')), h('p', { class: 'hint' }, t('settings.hint')),
    shown, told, form, more);
  reveal(shown);
  const again = async () => {
    if (isTouched) return;
    const [fresh, now] = await Promise.all([get(`${base}/settings`), get(`${base}/triggers`)]);
    const isOther = !same(fresh.data, seen.data) || !same(now.data, triggers.data);
    seen = fresh;
    triggers = now;
    await warn();
    if (isOther && !room.contains(document.activeElement?.closest?.('form'))) draw();
  };
  const stops = [onChange(of, () => again().catch(() => {})), on('resync', () => again().catch(() => {}))];
  return () => stops.forEach((stop) => stop());
}
