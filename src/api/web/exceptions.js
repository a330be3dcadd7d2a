// Who is treated otherwise than the status says.
import { get, on, onChange, replace, same, Overtaken } from './api.js';
import { t, when } from './words.js';
import { button, card, check, dialog, empty, field, fill, fromLocal, h, heading, linesOf, select, showFaults, toast, tool, toLocal, warnings, say } from './ui.js';
import { namesOf } from './choice.js';
import { actionChoice, actionWord } from './settings.js';

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];

const CLASSES = ['internal', 'external', 'anonymous'];

/** "Mon–Fri, Sun": three and more in a row are named by their ends. */
function daysWord(days) {
  const rows = [];
  DAYS.forEach((one, at) => {
    if (!days.includes(one)) return;
    if (at > 0 && days.includes(DAYS[at - 1])) rows.at(-1).push(one); else rows.push([one]);
  });
  const word = (one) => t('day.' + one);
  return rows.map((row) => (row.length > 2 ? `${word(row[0])}–${word(row.at(-1))}` : row.map(word).join(', '))).join(', ');
}

/** "Mon–Fri, 08:00 to 17:00". */
function hoursWord(hours) {
  if (!hours) return t('rule.always');
  const days = hours.days?.length ? daysWord(hours.days) : t('rule.every_day');
  const times = hours.from || hours.to ? t('rule.times', { from: hours.from ?? '00:00', to: hours.to ?? '24:00' }) : '';
  const holidays = hours.holidays === true ? t('rule.holidays_only') : hours.holidays === false ? t('rule.holidays_not') : '';
  return [days, times, holidays, hours.zone].filter(Boolean).join(', ');
}

export async function exceptions(room, { of }) {
  const path = `subscribers/${encodeURIComponent(of)}/exceptions`;
  let seen = await get(path);
  const told = h('div');
  fill(told, warnings((await get(`subscribers/${encodeURIComponent(of)}`)).data.warnings));
  const rules = h('ol', { class: 'rules' });
  const none = empty(t('rule.none'));
  const lists = h('form', { class: 'stack', novalidate: true });
  let isTouched = false;
  let names = new Map();
  const learn = async () => { names = await namesOf([seen.data.rules?.flatMap((rule) => rule.callers ?? []), seen.data.blocked, seen.data.vips].flat().filter((one) => one && !CLASSES.includes(one))); };
  const callerWord = (word) => (CLASSES.includes(word) ? t('class.' + word) : names.get(word) ?? word);
  /** Who is meant by the ids of a list. */
  const meant = (list) => (list ?? []).filter((one) => names.has(one)).map((one) => `${one}: ${names.get(one)}`).join(', ');

  /** Saves a change of what was seen; shows what is odd about it. */
  async function save(change, place) {
    const body = { ...seen.data, ...change };
    try {
      const { data, etag } = await replace(path, seen, body);
      seen = { data: data.exceptions, etag };
      fill(told, warnings(data.warnings));
      toast(t('saved'));
      await learn();
      draw();
      return true;
    } catch (problem) {
      if (problem instanceof Overtaken) {
        seen = problem.fresh;
        draw();
        toast(t('overtaken'), 'bad');
      } else if (place) showFaults(place, problem);
      else throw problem;
      return false;
    }
  }

  async function move(from, by) {
    const all = [...seen.data.rules];
    const to = from + by;
    all.splice(to, 0, ...all.splice(from, 1));
    if (!await save({ rules: all }, room)) return;
    const tools = rules.children[to].querySelectorAll('button');
    (by < 0 ? (to === 0 ? tools[1] : tools[0]) : (to === all.length - 1 ? tools[0] : tools[1])).focus();
    say(t('rule.moved', { name: all[to].name, n: to + 1 }));
  }

  function draw() {
    isTouched = false;
    const all = seen.data.rules ?? [];
    none.hidden = all.length > 0;
    const now = Date.now();
    fill(rules, all.map((rule, at) => h('li', { class: rule.until && Date.parse(rule.until) <= now ? 'over' : '' },
      h('div', { class: 'words' }, h('strong', null, rule.name),
        h('span', null, (rule.callers ?? []).length ? rule.callers.map(callerWord).join(', ') : t('rule.everybody'), ' → ', h('b', null, actionWord(rule.action))),
        h('small', null, [hoursWord(rule.when), rule.until && t('until', { time: when(rule.until) })].filter(Boolean).join(' · '))),
      h('div', { class: 'tools' },
        tool('up', t('rule.up', { name: rule.name }), () => move(at, -1), { disabled: at === 0 }),
        tool('down', t('rule.down', { name: rule.name }), () => move(at, 1), { disabled: at === all.length - 1 }),
        tool('edit', t('rule.edit', { name: rule.name }), () => edit(rule, at)),
        tool('bin', t('rule.delete', { name: rule.name }), () => save({ rules: all.toSpliced(at, 1) }, room))))));
    const area = (list) => h('textarea', { rows: 4, spellcheck: 'false', value: (list ?? []).join('\n') });
    const [blocked, vips] = [area(seen.data.blocked), area(seen.data.vips)];
    const through = check(t('exceptions.through'), seen.data.call_through_dnd ?? false);
    fill(lists, h('div', { class: 'columns' },
      card(t('exceptions.blocked'), field(t('callers'), blocked, { name: 'blocked', hint: t('exceptions.blocked_hint') }), meant(seen.data.blocked) && h('p', { class: 'hint' }, meant(seen.data.blocked))),
      card(t('exceptions.vips'), field(t('callers'), vips, { name: 'vips', hint: t('exceptions.vips_hint') }), meant(seen.data.vips) && h('p', { class: 'hint' }, meant(seen.data.vips)))),
    card('', through, h('p', { class: 'hint' }, t('exceptions.through_hint'))),
    h('div', { class: 'bar' }, h('button', { type: 'submit', class: 'primary' }, t('save'))));
    lists.onsubmit = (event) => {
      event.preventDefault();
      save({ blocked: linesOf(blocked), vips: linesOf(vips), call_through_dnd: through.input.checked }, lists);
    };
  }

  function edit(rule, at) {
    const name = h('input', { value: rule?.name ?? '', maxlength: 128, autocomplete: 'off' });
    const named = (rule?.callers ?? []).filter((one) => !CLASSES.includes(one));
    const callers = h('textarea', { rows: 3, spellcheck: 'false', value: named.join('\n') });
    const classes = CLASSES.map((one) => check(t('class.' + one), rule?.callers?.includes(one), { value: one }));
    const days = DAYS.map((one) => check(t('day.' + one), rule?.when?.days?.includes(one), { value: one }));
    const from = h('input', { type: 'time', value: rule?.when?.from ?? '' });
    const to = h('input', { type: 'time', value: rule?.when?.to ?? '' });
    const holidays = select([['', t('rule.holidays_any')], ['true', t('rule.holidays_only')], ['false', t('rule.holidays_not')]], String(rule?.when?.holidays ?? ''));
    const zone = h('input', { value: rule?.when?.zone ?? '', placeholder: t('rule.zone_server'), autocomplete: 'off', spellcheck: 'false' });
    const action = actionChoice(rule?.action ?? 'connect', null, t('rule.action'), { name: 'action' });
    const until = h('input', { type: 'datetime-local', value: rule?.until ? toLocal(rule.until) : '' });
    dialog(t(rule ? 'rule.change' : 'rule.new'), [
      field(t('rule.name'), name, { name: 'name' }),
      h('fieldset', { class: 'days' }, h('legend', null, t('callers')), classes),
      field(t('callers.named'), callers, { name: 'callers', hint: t('callers.hint') }),
      h('fieldset', { class: 'plain-set' }, h('legend', null, t('rule.action')), action),
      h('fieldset', { class: 'days', 'data-field': 'when' }, h('legend', null, t('rule.days')), days, h('p', { class: 'fault', hidden: true })),
      h('div', { class: 'pair' }, field(t('rule.from'), from, { name: 'from' }), field(t('rule.to'), to, { name: 'to' })),
      h('div', { class: 'pair' }, field(t('rule.holidays'), holidays, { name: 'holidays' }), field(t('rule.zone'), zone, { name: 'zone' })),
      field(t('rule.ends'), until, { name: 'until' }),
    ], {
      done: t('save'),
      submit: () => {
        const hours = { days: days.map((one) => one.input).filter((input) => input.checked).map((input) => input.value) };
        if (from.value) hours.from = from.value;
        if (to.value) hours.to = to.value;
        if (holidays.value) hours.holidays = holidays.value === 'true';
        if (zone.value.trim()) hours.zone = zone.value.trim();
        if (!hours.days.length) delete hours.days;
        const made = { name: name.value.trim(), callers: [...classes.map((one) => one.input).filter((input) => input.checked).map((input) => input.value), ...linesOf(callers)], action: action.read(), until: fromLocal(until.value) };
        if (Object.keys(hours).length) made.when = hours;
        const all = [...seen.data.rules ?? []];
        if (rule) all[at] = made; else all.push(made);
        return save({ rules: all });
      },
    });
  }

  await learn();
  draw();
  fill(room, heading(t('view.exceptions')), h('p', { class: 'hint' }, t('exceptions.hint')), told,
    card(t('rules'), h('p', { class: 'hint' }, t('rules.hint')), rules, none, button(t('rule.new'), () => edit(), 'primary')), lists);
  lists.addEventListener('input', () => { isTouched = true; });
  const again = async () => {
    const fresh = await get(path);
    if (isTouched || same(fresh.data, seen.data)) return;
    seen = fresh;
    await learn();
    draw();
  };
  const stops = [onChange(of, () => again().catch(() => {})), on('resync', () => again().catch(() => {}))];
  return () => stops.forEach((stop) => stop());
}
