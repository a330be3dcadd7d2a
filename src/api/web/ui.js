// The pieces that every view is made of.
import { get } from './api.js';
import { language, t, when } from './words.js';

/** An element. Properties that begin with `on` are listeners; texts are only ever texts. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'indeterminate') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

function drawing(box, className, shapes) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', box);
  svg.setAttribute('class', className);
  svg.setAttribute('aria-hidden', 'true');
  for (const [tag, attributes] of shapes) {
    const shape = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    svg.append(shape);
  }
  return svg;
}

const GLYPHS = {
  available: 'M5.8 10.4l2.8 2.8 5.6-6',
  away: 'M10 5.6V10l3 2',
  break: 'M8 6.6v6.8M12 6.6v6.8',
  free: 'M5.8 10.4l2.8 2.8 5.6-6',
  busy: 'M6 10h.01M10 10h.01M14 10h.01',
  dnd: 'M6 10h8',
  in_call: 'M6.6 6.2c.4 3.8 3.4 6.8 7.2 7.2l.6-2.2-2.1-1-1 .9a5 5 0 0 1-2.4-2.4l.9-1-1-2.1z',
};

/** The statuses of the deployment's own, by their ids. */
let own = new Map();

/** Reads which there are. */
export async function learnStatuses() {
  const { data } = await get('statuses');
  own = new Map(data.filter((one) => one.own).map((one) => [one.id, one]));
}

export const ownStatuses = () => [...own.values()];

/** The status of a document as people see it: the own one that stands behind it, where it is in force. */
export const baseOf = (one) => (own.get(one.own_status)?.status === one.status ? one.own_status : one.status);
export const shownOf = (one) => (own.get(one.own_status)?.status === one.effective_status ? one.own_status : one.effective_status);

/** The coloured mark of a status: its shape says the same as its colour. */
export const mark = (status, size = '') => {
  const one = own.get(status);
  return drawing('0 0 20 20', `mark ${one ? `in-${one.colour}` : `is-${status}`} ${size}`, [
    ['circle', { cx: 10, cy: 10, r: 9.5 }],
    ['path', { d: GLYPHS[one?.status ?? status] ?? 'M10 14h.01M10 6v5' }],
  ]);
};

const ICONS = {
  me: 'M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.5 20a7.5 7.5 0 0 1 15 0',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M13 5v4M9 15v4',
  exceptions: 'M12 3l7.5 3v5.5c0 4.5-3 8-7.5 9.5-4.5-1.5-7.5-5-7.5-9.5V6z',
  colleagues: 'M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.5 19.5a6.5 6.5 0 0 1 13 0M16 4.8a3.5 3.5 0 0 1 0 6.4M18 14a6.5 6.5 0 0 1 3.5 5.5',
  journal: 'M7 4h10a2 2 0 0 1 2 2v14H7a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2zM9 9h6M9 13h6',
  whatif: 'M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z',
  calls: 'M6 4c.5 8 6 13.5 14 14l1-4-4-2-2 2a10 10 0 0 1-5-5l2-2-2-4z',
  decisions: 'M6 4v6a4 4 0 0 0 4 4h8M14 10l4 4-4 4',
  house: 'M4 11l8-7 8 7v9h-5v-5H9v5H4z',
  systems: 'M4 5h16v5H4zM4 14h16v5H4zM8 7.5h.01M8 16.5h.01',
  down: 'M6 9l6 6 6-6', up: 'M6 15l6-6 6 6', close: 'M6 6l12 12M18 6L6 18', plus: 'M12 5v14M5 12h14',
  edit: 'M4 20l1-4L16 5l3 3L8 19z', bin: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13', out: 'M14 4h5v16h-5M4 12h10M10 8l4 4-4 4',
  missed: 'M5 8l7 6 7-6M14.5 14H12M5 8v4', forwarded: 'M4 17v-3a5 5 0 0 1 5-5h10M15 5l4 4-4 4',
  in: 'M18 6L7 17M7 9v8h8', no: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM6 6l12 12', box: 'M6 15a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM18 15a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM6 15h12',
  chosen: 'M5 12.5l4.5 4.5L19 7.5', search: 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l4.5 4.5', world: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM3 12h18M12 3c5 5 5 13 0 18M12 3c-5 5-5 13 0 18', key: 'M14 10a4 4 0 1 0-8 0 4 4 0 0 0 8 0zM14 10h7v4M18 10v3',
};

export const icon = (name) => drawing('0 0 24 24', 'icon', [['path', { d: ICONS[name] }]]);

/** Somebody's initials, with the mark of their status. */
export function avatar(name, status, size = '') {
  const letters = name.trim().split(/[\s._-]+/).map((word) => /[\p{L}\p{N}]/u.exec(word)?.[0]).filter(Boolean);
  const initials = (letters.length > 1 ? [letters[0], letters.at(-1)] : [letters[0] ?? '?']).join('').toUpperCase();
  const tone = [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 997, 7) % 6;
  return h('span', { class: `avatar tone-${tone} ${size}`, 'aria-hidden': 'true' }, initials, status && mark(status));
}

export const statusWord = (status) => own.get(status)?.text[language] ?? t('status.' + status);

/** What somebody wrote, in the quotation marks of the page's language, whichever way it is read. */
export const quoted = (text) => h('span', null, language === 'de' ? '„' : '“', h('bdi', null, text), language === 'de' ? '“' : '”');

/** "until 14:00", where there is an end. */
export const ending = (until) => (until ? t('until', { time: when(until) }) : '');

export const button = (text, then, className = '', properties = {}) =>
  h('button', { type: 'button', class: className, onclick: then, ...properties }, text);

/** A button with a picture only; its label is read out. */
export const tool = (name, label, then, properties = {}) =>
  h('button', { type: 'button', class: 'tool', 'aria-label': label, title: label, onclick: then, ...properties }, icon(name));

/** Replaces everything in an element. */
export const fill = (element, ...children) => element.replaceChildren(...children.flat(3).filter(Boolean));

/** Says something to screen readers only. */
export function say(text) {
  const live = document.getElementById('live');
  live.textContent = '';
  setTimeout(() => { live.textContent = text; }, 50);
}

/**
 * Says something to everybody, for a moment; what went wrong, and what can be acted upon, stays until
 * it is closed.
 */
export function toast(text, kind = 'good', action) {
  const close = () => box.remove();
  const act = action && button(action[0], () => { close(); action[1](); }, 'quiet');
  const box = h('div', { class: `toast ${kind}`, role: kind === 'bad' ? 'alert' : 'status' },
    h('div', null, h('p', null, text), act), tool('close', t('close'), close));
  const shown = document.querySelector('dialog[open]') ?? document.getElementById('toasts');
  (shown.querySelector?.('.toasts') ?? shown).append(box);
  if (kind === 'good') setTimeout(close, 5000);
}

export const wrong = (problem) => { if (problem.status !== 401) toast(problem.status === 0 ? t('error.line') : problem.message, 'bad'); };

let ids = 0;
/** An input under its label, with a place for what is wrong with it. */
export function field(label, input, { hint, name, wide } = {}) {
  const id = input.id || `f${ids += 1}`;
  input.id = id;
  const about = [hint && `${id}h`, `${id}e`].filter(Boolean).join(' ');
  input.setAttribute('aria-describedby', about);
  return h('div', { class: `field ${wide ? 'wide' : ''}`, 'data-field': name },
    h('label', { for: id }, label), input,
    hint && h('p', { class: 'hint', id: `${id}h` }, hint),
    h('p', { class: 'fault', id: `${id}e`, hidden: true }));
}

export const check = (label, checked, properties = {}) => {
  const input = h('input', { type: 'checkbox', checked, ...properties });
  return Object.assign(h('label', { class: 'check' }, input, h('span', null, label)), { input });
};

export const select = (choices, value, properties = {}) =>
  h('select', { ...properties }, choices.map(([key, text]) => h('option', { value: key, selected: key === value }, text)));

/** Shows a refusal at the fields it is about, the rest as a message; that a session is over the frame says. */
export function showFaults(form, problem) {
  clearFaults(form);
  if (problem.status === 401) return;
  let first = null;
  const rest = [];
  for (const { field: path, text } of problem.problems ?? []) {
    const parts = path.split('.');
    const fields = [...form.querySelectorAll('[data-field]')];
    const found = fields.find((one) => one.dataset.field === path)
      ?? fields.findLast((one) => one.dataset.field && path.startsWith(`${one.dataset.field}.`))
      ?? fields.find((one) => path.endsWith(`.${one.dataset.field}`))
      ?? fields.findLast((one) => parts.includes(one.dataset.field));
    const place = found?.querySelector('.fault');
    if (!place) { rest.push(text); continue; }
    place.textContent = text;
    place.hidden = false;
    const input = found.querySelector('input:not([hidden])') ?? found.querySelector('select,textarea');
    input?.setAttribute('aria-invalid', 'true');
    first ??= input;
  }
  first?.focus();
  if (!first || rest.length) toast(rest.join('; ') || problem.message || t('error.line'), 'bad');
  else say(problem.message);
}

export function clearFaults(form) {
  form.querySelectorAll('.fault').forEach((place) => { place.hidden = true; place.textContent = ''; });
  form.querySelectorAll('[aria-invalid]').forEach((input) => input.removeAttribute('aria-invalid'));
}

/** Opens a dialog over the page. The focus goes back to where it was. */
export function dialog(title, body, { className = '', done, submit, close } = {}) {
  const before = document.activeElement;
  const form = h('form', { method: 'dialog', novalidate: true },
    h('header', null, h('h2', { id: 'dialog-title' }, title), tool('close', t('close'), () => box.close())),
    h('div', { class: 'content' }, body, h('div', { class: 'toasts' })),
    done && h('footer', null, button(close ?? t('cancel'), () => box.close(), 'quiet'), h('button', { type: 'submit', class: 'primary' }, done)));
  const box = h('dialog', { class: className, 'aria-labelledby': 'dialog-title' }, form);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    clearFaults(form);
    const main = form.querySelector('.primary');
    main.disabled = true;
    try { if (await submit() !== false) box.close(); } catch (problem) { showFaults(form, problem); }
    main.disabled = false;
  });
  box.addEventListener('close', () => { document.getElementById('toasts').append(...box.querySelectorAll('.toast')); box.remove(); (before?.isConnected ? before : document.getElementById(before?.id))?.focus(); });
  box.addEventListener('click', (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  box.showModal();
  box.querySelector('input:not([disabled], [readonly]), select, textarea, .primary')?.focus();
  return box;
}

/** Opens a small menu at what was clicked; Escape and a click beside it close it. */
export function popover(anchor, label, ...body) {
  const box = h('dialog', { class: 'pop', 'aria-label': label }, body);
  const place = () => {
    const at = anchor.isConnected ? anchor.getBoundingClientRect() : document.getElementById(anchor.id)?.getBoundingClientRect();
    if (!at) return;
    const left = at.left + at.width / 2 > innerWidth / 2 ? at.right - box.offsetWidth : at.left;
    box.style.left = `${Math.max(8, Math.min(left, innerWidth - box.offsetWidth - 8))}px`;
    box.style.top = `${Math.max(8, Math.min(at.bottom + 6, innerHeight - box.offsetHeight - 8))}px`;
  };
  box.addEventListener('close', () => { removeEventListener('resize', place); document.getElementById('toasts').append(...box.querySelectorAll('.toast')); box.remove(); (anchor.isConnected ? anchor : document.getElementById(anchor.id))?.focus(); });
  box.addEventListener('click', (event) => { if (event.target === box) box.close(); });
  document.body.append(box);
  box.showModal();
  place();
  addEventListener('resize', place);
  return box;
}

/** Asks before something that cannot be taken back; Enter alone does nothing of it. */
export const sure = (title, text, yes, then) => {
  const box = dialog(title, h('p', null, text), { done: yes, submit: then, className: 'small' });
  box.querySelector('footer .quiet').focus();
  return box;
};

/** The title of a view, to which the focus goes. */
export const heading = (text, ...tools) => h('div', { class: 'heading' }, h('h1', { tabindex: -1 }, text), ...tools);

/** The tabs that a narrow screen scrolls: the one that is shown is in sight. */
export const reveal = (tabs) => tabs.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });

export const card = (title, ...children) => h('section', { class: 'card' }, title && h('h2', null, title), ...children);

export const empty = (text) => h('p', { class: 'empty' }, text);

export const warnings = (list) => list?.length
  ? h('div', { class: 'warn', role: 'status' }, h('strong', null, t('warnings')), h('ul', null, list.map((text) => h('li', null, text)))) : '';

/** The user part of an address, which is what people know. */
export const party = (address) => decodeURIComponent((address ?? '').replace(/^.*<|>.*$/g, '').replace(/^(sips?|tel):/i, '').split(/[@;]/)[0] || '?');

/** Calls no sooner than the typing has paused. */
export function calmly(then, ms = 200) {
  let timer;
  return (...args) => { clearTimeout(timer); timer = setTimeout(then, ms, ...args); };
}

/** An instant for an input of type datetime-local, and back. */
export const toLocal = (at) => {
  const date = new Date(at);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
};
export const fromLocal = (text) => (text ? new Date(text).toISOString().replace('.000', '') : undefined);

export const linesOf = (input) => input.value.split(/[\n,;]+/).map((line) => line.trim()).filter(Boolean);
