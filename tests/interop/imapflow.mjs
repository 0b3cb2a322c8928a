// imapflow does what a web mail's back end does: watches by IDLE, appends, fetches, searches, flags, copies, moves, and
// makes, renames and removes mailboxes.
//
// One client watches INBOX and says nothing while another changes it: each change must be told to the watcher by itself,
// which NOOPs never (its own polling is out of reach: IDLE is not restarted for minutes, and the log is read for NOOPs).
import assert from 'node:assert/strict';

import { alice, ca, client, desk, host, next } from './desk.mjs';

const { ImapFlow } = client('imapflow');

const spoken = [];

async function open(name) {
    const log = entry => entry.src === 'c' && spoken.push([name, entry.msg]);
    const quiet = () => {};
    const flow = new ImapFlow({
        host,
        port: desk.imaps,
        secure: true,
        tls: { ca, rejectUnauthorized: true },
        auth: { user: alice, pass: desk.passwords[alice] },
        logger: { trace: log, debug: log, info: log, warn: quiet, error: quiet },
        logRaw: false
    });
    flow.on('error', error => assert.fail(error));
    await flow.connect();
    return flow;
}

const letter = (subject, text) =>
    `From: bob@ringpost.test\r\nTo: ${alice}\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@desk.test>\r\n\r\n${text}\r\n`;

// Without our authority the certificate is refused.
const stranger = new ImapFlow({ host, port: desk.imaps, secure: true, auth: { user: alice, pass: 'x' }, logger: false });
stranger.on('error', () => {});
await assert.rejects(stranger.connect(), /certificate/);

const one = await open('one');
const watcher = await open('watcher');
for (const extension of ['IDLE', 'MOVE', 'UIDPLUS', 'CONDSTORE', 'SPECIAL-USE', 'NAMESPACE', 'ENABLE', 'LIST-STATUS']) {
    assert(one.capabilities.has(extension), `${extension} is not offered: ${[...one.capabilities.keys()]}`);
}

// Mailboxes: the default ones have their use, and names outside ASCII go there and back.
const listed = await one.list({ statusQuery: { messages: true, unseen: true } });
const uses = Object.fromEntries(listed.filter(box => box.specialUse).map(box => [box.specialUse, box.path]));
for (const use of ['\\Drafts', '\\Sent', '\\Trash', '\\Junk', '\\Archive']) {
    assert(uses[use], `no mailbox for ${use}: ${JSON.stringify(uses)}`);
}
assert.equal(listed.find(box => box.path === 'INBOX').status.messages, 0);
assert.equal((await one.mailboxCreate(['Projekte', 'Grüße & 你好'])).created, true);
await one.mailboxRename(['Projekte', 'Grüße & 你好'], ['Projekte', 'Erledigt']);
await one.mailboxCreate('Scratch');
await one.mailboxDelete('Scratch');
const paths = (await one.list()).map(box => box.path);
assert(paths.includes('Projekte/Erledigt') && !paths.some(path => /Grüße|Scratch/.test(path)), paths.join());
assert.equal((await one.mailboxCreate('INBOX')).created, false);
await assert.rejects(one.mailboxDelete('Nowhere'));

// IDLE: an arrival, a flag and a removal are told at once.
await watcher.mailboxOpen('INBOX');
watcher.idle().catch(assert.fail);
await one.mailboxOpen('INBOX');
let told = next(watcher, 'exists');
const first = await one.append('INBOX', letter('pushed', 'hello'), ['\\Flagged'], new Date('2026-02-01T10:11:12Z'));
assert.deepEqual([first.uid, (await told).count], [1, 1], 'APPENDUID, and EXISTS at the watcher');
told = next(watcher, 'flags', flags => flags.flags.has('\\Answered'));
await one.messageFlagsAdd('1', ['\\Answered', '$Forwarded', 'own-word']);
assert.deepEqual([...(await told).flags].sort(), ['$Forwarded', '\\Answered', '\\Flagged', 'own-word']);
told = next(watcher, 'exists');
await one.append('INBOX', letter('second', 'x'.repeat(100_000)));
assert.equal((await told).count, 2);
told = next(watcher, 'expunge');
assert.equal(await one.messageDelete('1', { uid: true }), true);
assert.equal((await told).seq, 1);
assert(!spoken.some(([name, said]) => name === 'watcher' && /\bNOOP\b/.test(said)), 'the watcher polled');

// The watcher stops watching and works: everything it was told is still so.
const all = { uid: true, envelope: true, size: true, bodyStructure: true, source: true };
const found = (await watcher.fetchAll('1:*', all)).find(message => message.envelope);
assert.deepEqual([found.uid, found.envelope.subject, found.bodyStructure.type], [2, 'second', 'text/plain']);
assert.equal(found.source.toString(), letter('second', 'x'.repeat(100_000)));
assert.equal(found.size, found.source.length);

// Search, copy and move, each with the UIDs that COPYUID tells.
for (let n = 3; n <= 12; n++) {
    await one.append('INBOX', letter(`number-${n}`, n % 2 ? 'odd text' : 'even text'), n % 3 ? [] : ['\\Seen']);
}
assert.deepEqual(await one.search({ seen: true }, { uid: true }), [3, 6, 9, 12]);
assert.deepEqual(await one.search({ body: 'odd text', not: { subject: 'number-5' } }, { uid: true }), [3, 7, 9, 11]);
assert.deepEqual(await one.search({ or: [{ larger: 90_000 }, { header: { 'message-id': 'number-4@' } }] }, { uid: true }), [2, 4]);
const copied = await one.messageCopy('3:5', 'Projekte/Erledigt', { uid: true });
assert.deepEqual([...copied.uidMap], [[3, 1], [4, 2], [5, 3]]);
const moved = await one.messageMove('6,8,10', uses['\\Archive'], { uid: true });
assert.deepEqual([...moved.uidMap], [[6, 1], [8, 2], [10, 3]]);
assert.deepEqual(await one.search({ all: true }, { uid: true }), [2, 3, 4, 5, 7, 9, 11, 12]);
assert(await one.messageFlagsRemove({ uid: '3,9' }, ['\\Seen'], { uid: true }));
assert(await one.messageFlagsSet({ uid: '11' }, ['\\Draft'], { uid: true }));
assert.deepEqual(await one.search({ seen: true }, { uid: true }), [12]);
assert.deepEqual(await one.search({ draft: true }, { uid: true }), [11]);

// CONDSTORE: only what changed since, and no change over a newer one.
const modseq = (await one.status('INBOX', { highestModseq: true })).highestModseq;
await one.messageFlagsAdd({ uid: '4' }, ['\\Flagged'], { uid: true });
const since = [];
for await (const message of one.fetch('1:*', { uid: true, flags: true }, { uid: true, changedSince: modseq })) {
    since.push(message.uid);
}
assert.deepEqual(since, [4]);
await one.messageFlagsAdd({ uid: '4' }, ['\\Deleted'], { uid: true, unchangedSince: modseq });
assert.deepEqual(await one.search({ deleted: true }, { uid: true }), []);

// Elsewhere: the archive has them with flags and order, and the quota of surprises is none.
await one.mailboxOpen(uses['\\Archive']);
const archived = await one.fetchAll('1:*', { envelope: true, flags: true });
assert.deepEqual(archived.map(m => [m.envelope.subject, m.flags.has('\\Seen')]), [
    ['number-6', true],
    ['number-8', false],
    ['number-10', false]
]);
await one.logout();
await watcher.logout();
console.log('all done');
