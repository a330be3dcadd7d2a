// Somebody's status: how it is, and why.
import { ask, get, on, onChange } from './api.js';
import { has, t } from './words.js';
import { avatar, baseOf, button, card, ending, fill, h, heading, icon, mark, quoted, shownOf, statusWord, toast, wrong } from './ui.js';
import { CHOSEN, SEGMENTS, sentence, why } from './why.js';
import * as activity from './activity.js';
import { digest } from './digest.js';

/** Loaded when somebody wants to change something. */
const menus = () => import('./menu.js');

const KINDS = { event: ['meeting', 'activity'], calendar: ['calendar'], schedule: ['schedule'] };

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

  const isMe = of === session.id;
  const change = (event) => {
    const anchor = event.currentTarget;
    menus().then(({ order, statusMenu }) => (isMe ? statusMenu(of, anchor) : order({ ...seen.data, order: seen.data.layers.find((one) => one.layer === 'override') }, load))).catch(wrong);
  };

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
    const focused = face.contains(document.activeElement) ? document.activeElement.id : '';
    fill(face,
      button(avatar(data.display_name, shown, 'big'), change, 'face', { id: 'face', 'aria-haspopup': 'dialog', 'aria-label': t('status.change_from', { status: statusWord(shown) }) }),
      h('div', { class: 'words' },
        h('p', { class: 'name' }, h('bdi', null, data.display_name)),
        button([mark(shown), h('span', null, statusWord(shown)), icon('down')], change, 'pick', { id: 'pick', 'aria-haspopup': 'dialog' }),
        data.effective_status === 'in_call' && data.status !== 'in_call' && h('p', { class: 'hint' }, [t('status.beneath', { status: statusWord(baseOf(data)) }), ending(data.until)].filter(Boolean).join(', ')),
        data.calls > 0 && data.status === 'dnd' && h('p', { class: 'hint' }, t('status.dnd_in_call')),
        data.message && h('p', { class: 'message' }, quoted(data.message)),
        data.until && shown !== 'in_call' && h('p', { class: 'hint' }, ending(data.until)),
        sentence(data) && h('p', { class: 'sentence' }, sentence(data)),
        h('p', { class: 'bar' }, isMe && button([icon('edit'), t('status.details')], () => menus().then(({ statusForm }) => statusForm(of)).catch(wrong), 'plain-tool', { id: 'details', 'aria-haspopup': 'dialog' }),
          h('a', { class: 'plain-tool', href: `${isOf ? `#/of/${encodeURIComponent(of)}` : '#'}/settings/${baseOf(data)}` }, icon('settings'), t('status.settings', { status: statusWord(baseOf(data)) })))));
    if (focused) document.getElementById(focused)?.focus();
    const meetings = signals.filter((one) => one.kind === 'meeting' && !one.dismissed && !data.layers.some((layer) => layer.layer === 'event' && layer.event === one.id)
      && Date.parse(one.from ?? 0) <= Date.now() && (!one.until || Date.parse(one.until) > Date.now()));
    const dismissed = signals.filter((one) => one.dismissed);
    fill(layers, h('h2', null, t('layers')), h('p', { class: 'hint' }, t('layers.hint')),
      h('ol', { class: 'layers' }, data.layers.map((layer, at) => h('li', { class: at ? '' : 'now' },
        mark(baseOf(layer)), h('div', null, h('strong', null, statusWord(baseOf(layer))), h('span', null, why(layer)),
          h('small', null, layer.message && quoted(layer.message), layer.message && layer.until && ' · ', ending(layer.until))),
        at === 0 && h('span', { class: 'tag' }, t('layers.now')), tools(layer))),
        meetings.map((one) => h('li', null, mark('in_call'), h('div', null, h('strong', null, statusWord('in_call')), h('span', null, t(one.title ? 'why.meeting' : 'why.meeting_untitled', { cause: one.title })), h('small', null, ending(one.until))), tools({ layer: 'event', event: one.id })))),
      dismissed.length > 0 && h('h3', null, t('dismissed')),
      dismissed.length > 0 && h('ul', { class: 'layers' }, dismissed.map((signal) => h('li', null, mark(signal.status ? baseOf(signal) : 'dnd'),
        h('div', null, h('strong', null, signal.kind === 'schedule' && SEGMENTS.includes(signal.title) ? t('segment.' + signal.title) : signal.title ?? (has('untitled.' + signal.kind) ? t('untitled.' + signal.kind) : signal.id)), h('small', null, ending(signal.until))),
        button(t('count_again'), act(() => ask('DELETE', `${base}/signals/${signal.kind}/${encodeURIComponent(signal.id)}/dismissed`)), 'quiet')))));
  }

  const permit = isMe ? await activity.permission() : 'none';
  if (permit === 'prompt') {
    fill(aside, card(t('activity'), h('p', null, t('activity.hint')),
      button(t('activity.allow'), async () => { fill(aside); toast(t(await activity.allow() ? 'activity.allowed' : 'activity.denied')); })));
  }
  await load();
  fill(room, heading(isOf ? t('status.of', { name: seen.data.display_name }) : t('view.status'), isOf && isAdmin && button(t('override.title'), () => menus().then(({ order }) => order(seen.data, load)).catch(wrong))), news, h('div', { class: 'columns' }, face, layers), aside);
  let shown = null;
  const tellDigest = () => { if (isMe && shown !== seen.data.status) { shown = seen.data.status; digest(news, of).catch(() => {}); } };
  tellDigest();
  const again = () => load().then(tellDigest, () => {});
  const timer = setInterval(again, 30000);
  const stops = [onChange(of, again), on('resync', again), on('line', (isUp) => isUp && again())];
  return () => { clearInterval(timer); stops.forEach((stop) => stop()); };
}
