// JsSIP as a browser's phone: JSON lines tell it what to do, JSON lines tell what happened.
//
// node phone.js URL USER PASSWORD [FILE OF THE ROOT CERTIFICATE]
'use strict';

const { readFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { createInterface } = require('node:readline');

// The packages are where `npm ci` was run, which is not here.
const packages = createRequire(`${process.cwd()}/package.json`);
const JsSIP = packages('jssip');
const { WebSocket } = packages('ws');

const [url, user, password, root] = process.argv.slice(2);
const ca = root ? readFileSync(root) : undefined;
globalThis.WebSocket = class extends WebSocket {
  constructor(address, protocol) {
    super(address, protocol, { ca, origin: 'https://example.com' });
  }
};

const say = (event, more = {}) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
const outcome = (what) => ({
  eventHandlers: {
    succeeded: ({ response }) => say(what, { status: response.status_code }),
    failed: ({ response, cause }) => say(what, { status: response?.status_code ?? 0, cause }),
  },
});

const ua = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(url)],
  uri: `sip:${user}@example.com`,
  password,
  register: true,
  register_expires: 600,
});
ua.on('connected', () => say('connected'));
ua.on('registered', ({ response }) => say('registered', { status: response.status_code }));
ua.on('unregistered', () => say('unregistered'));
ua.on('registrationFailed', ({ response, cause }) =>
  say('registration_failed', { status: response?.status_code ?? 0, cause }));
ua.on('newMessage', ({ originator, request }) => {
  if (originator === 'remote') {
    say('message', { from: String(request.from.uri), body: request.body });
  }
});

const does = {
  message: ({ to, body }) => ua.sendMessage(to, body, outcome('sent')),
  options: ({ to }) => ua.sendOptions(to, '', outcome('answered')),
  subscribe: ({ to }) => {
    const accept = 'application/pidf+xml';
    const subscriber = ua.subscribe(to, 'presence', accept, { expires: 600, contentType: accept });
    subscriber.on('accepted', () => say('accepted'));
    subscriber.on('active', () => say('active'));
    subscriber.on('notify', (isFinal, _request, body) => say('notify', { is_final: isFinal, body }));
    subscriber.on('terminated', (code) => say('terminated', { code }));
    subscriber.subscribe();
    does.unsubscribe = () => subscriber.terminate();
  },
  unregister: () => ua.unregister({ all: false }),
  stop: () => {
    ua.stop();
    setTimeout(() => process.exit(0), 100);
  },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const { what, ...how } = JSON.parse(line);
  does[what](how);
}).on('close', () => process.exit(0));
ua.start();
