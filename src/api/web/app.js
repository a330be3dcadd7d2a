// The frame: who is signed in, the menu, and which view is shown.
import { get, ask, on, listen, hangUp, wake } from './api.js';
import { LANGUAGES, language, preferred, speak, t } from './words.js';
import { avatar, fill, h, icon, learnStatuses, say, shownOf, statusWord, toast, button, wrong } from './ui.js';
import { signIn } from './signin.js';
import * as activity from './activity.js';

/** What is not shown first is loaded when it is. */
const VIEWS = {
  status: () => import('./status.js').then(({ status }) => status),
  settings: () => import('./settings.js').then(({ settings }) => settings),
  exceptions: () => import('./exceptions.js').then(({ exceptions }) => exceptions),
  colleagues: () => import('./colleagues.js').then(({ colleagues }) => colleagues),
  journal: () => import('./journal.js').then(({ journal }) => journal),
  whatif: () => import('./whatif.js').then(({ whatIf }) => whatIf),
  people: () => import('./people.js').then(({ people }) => people),
  calls: () => import('./admin.js').then(({ calls }) => calls),
  decisions: () => import('./admin.js').then(({ decisions }) => decisions),
  systems: () => import('./admin.js').then(({ systems }) => systems),
  house: () => import('./house.js').then(({ house }) => house),
};
const OF_SUBSCRIBER = ['status', 'settings', 'exceptions', 'colleagues', 'journal', 'whatif'];
const OF_ADMIN = ['people', 'colleagues', 'calls', 'decisions', 'house', 'systems', 'whatif'];
const OF_PERSON = ['status', 'settings', 'exceptions', 'journal'];
const ICON_OF = { status: 'me', people: 'me' };

const app = document.getElementById('app');
let session = null;
let stop = () => {};
let stops = [];

const plainPart = (part) => { try { return decodeURIComponent(part); } catch { return ''; } };

/** `#/settings/away`, or for the administrator `#/of/anna/settings/away`. */
function place() {
  const parts = location.hash.replace(/^#\/?/, '').split('/').map(plainPart);
  const isOf = session.role === 'administrator' && parts[0] === 'of' && parts[1];
  const [view, ...rest] = isOf ? parts.slice(2) : parts;
  const allowed = isOf ? OF_PERSON : session.role === 'administrator' ? OF_ADMIN : OF_SUBSCRIBER;
  return { of: isOf ? parts[1] : session.id, isOf: Boolean(isOf), view: allowed.includes(view) ? view : allowed[0], rest };
}

async function start() {
  if (location.hash.startsWith('#problem-')) { location.replace(`/api${location.hash}`); return; }
  await speak(preferred());
  const left = sessionStorage.getItem('left');
  const failed = /^#sign-in-(\w+)$/.exec(location.hash)?.[1];
  if (failed) history.replaceState(null, '', location.pathname);
  try {
    const { data } = await get('session');
    if ((left || failed) && data.via === 'machine') showSignIn(data, failed);
    else await enter(data);
  } catch (problem) {
    if (problem.status === 401) showSignIn(undefined, failed);
    else { fill(app, h('main', { class: 'plain' }, h('h1', null, 'pointsman'), h('p', null, problem.message || t('error.line')), button(t('again'), () => location.reload(), 'primary'))); }
  }
}

/** What lies over a view goes with it. */
const closeDialogs = () => document.querySelectorAll('dialog[open]').forEach((box) => box.close());

function showSignIn(machine, failed) {
  leave();
  closeDialogs();
  session = null;
  signIn(app, { machine, failed, enter: (data) => { sessionStorage.removeItem('left'); return enter(data); }, languages: languageChoice });
}

async function enter(data) {
  session = data;
  document.getElementById('toasts').replaceChildren();
  await Promise.all([speak(preferred(data.language)), learnStatuses()]);
  frame();
  listen();
  if (session.role === 'subscriber') stops.push(activity.begin(session.id));
  await show(true);
}

/** Stops everything that runs for whoever was signed in. */
function leave() {
  stop();
  stop = () => {};
  stops.forEach((end) => end());
  stops = [];
  hangUp();
}

async function signOut() {
  try {
    await activity.end();
    if (session.via === 'page') await ask('DELETE', 'session');
  } catch (problem) {
    if (problem.status !== 401) { wrong(problem); return; }
  }
  sessionStorage.setItem('left', '1');
  if (session.at_provider) { location.assign('/api/v1/session/oidc/end'); return; }
  location.hash = '';
  let machine = null;
  try { machine = (await get('session')).data; } catch { /* nobody is signed in */ }
  showSignIn(machine);
}

const languageChoice = () => h('label', { class: 'language' }, icon('world'), h('span', { class: 'unseen' }, t('language')),
  h('select', { onchange: async (event) => { await speak(event.target.value, true); if (session) { frame(); await show(true); } else showSignIn(); } },
    Object.entries(LANGUAGES).map(([tag, name]) => h('option', { value: tag, selected: tag === language, lang: tag }, name))));

let main; let menu; let own; let line; let tabs;

function frame() {
  stops.forEach((end) => end.isFrame && end());
  main = h('main', { id: 'main', tabindex: -1 });
  menu = h('nav', { 'aria-label': t('menu') });
  tabs = h('div', { class: 'person' });
  own = h('button', { type: 'button', id: 'own', class: 'own', 'aria-haspopup': 'dialog', hidden: true, onclick: () => import('./menu.js').then(({ statusMenu }) => statusMenu(session.id, own)).catch(wrong) });
  line = h('p', { class: 'line', role: 'status', hidden: true }, t('line.lost'));
  const isAdmin = session.role === 'administrator';
  const name = isAdmin ? t('role.administrator') : session.display_name;
  const more = h('details', { class: 'more' },
    h('summary', null, h('span', { class: 'unseen' }, `${t('account')}: `), isAdmin && avatar(name, null, 'small'), h('span', { class: 'name' }, name), icon('down')),
    h('div', { class: 'sheet' }, languageChoice(),
      session.role === 'subscriber' && button([icon('key'), t('password.change')], () => { more.open = false; import('./password.js').then(({ changePassword }) => changePassword(session.id)).catch(wrong); }),
      h('a', { href: '/api' }, icon('systems'), t('api')),
      button([icon('out'), t(session.via === 'page' ? 'sign_out' : 'sign_in_as')], signOut)));
  more.addEventListener('keydown', (event) => { if (event.key === 'Escape') { more.open = false; more.querySelector('summary').focus(); } });
  document.addEventListener('click', (event) => { if (!more.contains(event.target)) more.open = false; });
  fill(app,
    h('a', { class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); main.focus(); } }, t('skip')),
    h('header', { class: 'top' }, h('a', { class: 'brand', href: '#/' }, h('img', { src: '/assets/icon.svg', alt: '', width: 28, height: 28 }), 'pointsman'), line, own, more),
    menu, h('div', { class: 'stage' }, tabs, main));
  const frameStops = [
    on('line', (isUp) => { line.hidden = isUp; }),
    on('status', (news) => { if (news.id === session.id && news.effective_status) showOwn(news); }),
  ];
  frameStops.forEach((end) => { end.isFrame = true; stops.push(end); });
  if (!isAdmin) get(`subscribers/${encodeURIComponent(session.id)}/status`).then(({ data }) => showOwn(data), () => {});
}

/** The mark beside one's own name follows one's status, and changes are read out. */
function showOwn(news) {
  const before = own.dataset.status;
  const now = shownOf(news);
  own.dataset.status = now;
  own.hidden = false;
  fill(own, avatar(session.display_name, now, 'small'), h('span', { class: 'unseen' }, `${t('status.change')}: `), h('span', { class: 'state' }, statusWord(now)));
  // Who changed it here reads it already.
  const isRead = () => document.getElementById('toasts').textContent.includes(statusWord(now));
  if (before && before !== now) setTimeout(() => isRead() || say(t('status.now', { status: statusWord(now) })), 300);
}

async function show(isFirst = false) {
  if (!session) return;
  closeDialogs();
  const at = place();
  const list = session.role === 'administrator' ? OF_ADMIN : OF_SUBSCRIBER;
  fill(menu, h('ul', null, list.map((view) => h('li', null, h('a', {
    href: `#/${view}`, 'aria-current': (at.isOf ? view === 'people' : view === at.view) ? 'page' : null,
  }, icon(ICON_OF[view] ?? view), h('span', null, t((view === 'whatif' ? 'menu.' : 'view.') + view)))))));
  const whose = h('strong', null, at.of);
  if (at.isOf) get(`subscribers/${encodeURIComponent(at.of)}/status`).then(({ data }) => { whose.textContent = data.display_name; }, () => {});
  fill(tabs, at.isOf && h('nav', { 'aria-label': at.of }, h('a', { href: '#/people', class: 'back' }, t('view.people')), whose,
    OF_PERSON.map((view) => h('a', { href: `#/of/${encodeURIComponent(at.of)}/${view}`, 'aria-current': view === at.view ? 'page' : null }, view === 'status' ? t('status') : t('view.' + view)))));
  stop();
  stop = () => {};
  const room = h('div', { class: `view view-${at.view}` }, h('p', { class: 'wait' }, t('wait')));
  fill(main, room);
  document.title = `${t('view.' + at.view).replaceAll('\u00ad', '')} · pointsman`;
  try {
    const view = await VIEWS[at.view]();
    const ends = await view(room, { ...at, session, isAdmin: session.role === 'administrator' });
    if (!room.isConnected) ends?.();
    else stop = ends ?? stop;
  } catch (problem) {
    if (!room.isConnected || problem.status === 401) return;
    fill(room, h('h1', { tabindex: -1 }, at.isOf ? at.of : t('view.' + at.view)), h('p', { class: 'empty' }, problem.message || t('error.line')), button(t('again'), () => show(), 'primary'));
  }
  if (!isFirst && room.isConnected) room.querySelector('h1')?.focus({ preventScroll: true });
  scrollTo(0, 0);
}

addEventListener('hashchange', () => show());

// A browser has few connections to one server: a page that nobody sees gives its own back.
let rest;
document.addEventListener('visibilitychange', () => {
  clearTimeout(rest);
  if (!session) return;
  if (document.hidden) rest = setTimeout(hangUp, 20000);
  else wake();
});
// One that was left is kept by the browser for the way back, and would keep its connection, too.
addEventListener('pagehide', () => { if (session) hangUp(); });
addEventListener('pageshow', (event) => { if (event.persisted && session) wake(); });
let isAsking = false;
addEventListener('signed-out', async () => {
  if (!session || isAsking) return;
  isAsking = true;
  hangUp();
  const before = session;
  const found = await import('./password.js').then(({ signInAgain }) => signInAgain(before)).catch(() => undefined);
  isAsking = false;
  if (session !== before) return;
  if (!found) {
    showSignIn();
    toast(t('session.over'), 'bad');
  } else if (found.id === before.id && found.role === before.role) {
    session = found;
    wake();
  } else await enter(found);
});
start();
