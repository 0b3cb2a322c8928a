// nodemailer submits letters: STARTTLS on the submission port and TLS at once on the submissions port, AUTH PLAIN and LOGIN,
// the certificate checked. Without a login, with a wrong password, for another domain, or where the certificate is from
// nowhere it trusts, nothing is sent. Every letter goes to two people at once, wherever each of them lives.
import assert from 'node:assert/strict';

import { alice, bob, ca, client, desk, host } from './desk.mjs';

const { createTransport } = client('nodemailer');
const { ImapFlow } = client('imapflow');

const transport = (port, options = {}) =>
    createTransport({ host, port, tls: { ca }, auth: { user: alice, pass: desk.passwords[alice] }, name: 'desk.test', ...options });
const starttls = { requireTLS: true };
const implicit = { secure: true };
const parts = {
    text: 'Grüße\n.\n..two dots\n',
    html: '<p>Grüße</p>',
    attachments: [{ filename: 'bytes.bin', content: Buffer.from([...Array(256).keys()]) }]
};

const sent = [];
for (const [service, how] of [['submission', starttls], ['submissions', implicit]]) {
    for (const authMethod of ['PLAIN', 'LOGIN']) {
        const post = transport(desk[service], { ...how, authMethod, pool: true, maxConnections: 1 });
        assert.equal(await post.verify(), true);
        // Several letters over one connection, as a program that sends many does it.
        for (let n = 0; n < 3; n++) {
            const subject = `${service}-${authMethod}-${n}`;
            const info = await post.sendMail({ from: alice, to: [bob, alice], subject, ...parts });
            assert.deepEqual([info.accepted, info.rejected], [[bob, alice], []]);
            sent.push(subject);
        }
        post.close();
    }
}

const refused = async (options, port, envelope, code) => {
    const error = await transport(port, options)
        .sendMail({ from: alice, to: bob, subject: 'never', text: 'never', envelope })
        .then(() => assert.fail(`sent in spite of ${JSON.stringify(options)}`), error => error);
    assert(code.includes(error.responseCode ?? error.code), `${error.responseCode} ${error.code}: ${error.message}`);
};
await refused({ ...starttls, auth: { user: alice, pass: 'wrong' } }, desk.submission, undefined, [535]);
await refused({ ...starttls, auth: undefined }, desk.submission, undefined, [530]);
await refused({ ...implicit }, desk.submissions, { from: alice, to: ['someone@elsewhere.test'] }, [550]);
await refused({ ...implicit, tls: {} }, desk.submissions, undefined, ['ESOCKET', 'ETLS', 'ECONNECTION']);
await refused({ ...starttls, tls: {} }, desk.submission, undefined, ['ESOCKET', 'ETLS', 'ECONNECTION']);

for (const user of [alice, bob]) {
    const box = new ImapFlow({ host, port: desk.imaps, secure: true, tls: { ca }, auth: { user, pass: desk.passwords[user] }, logger: false });
    await box.connect();
    await box.mailboxOpen('INBOX');
    const letters = await box.fetchAll('1:*', { envelope: true, bodyStructure: true, bodyParts: ['2'] });
    assert.deepEqual(letters.map(l => l.envelope.subject).sort(), [...sent].sort());
    for (const { envelope, bodyStructure, bodyParts } of letters) {
        assert.equal(envelope.from[0].address, alice);
        assert.deepEqual(bodyStructure.childNodes.map(part => part.type), ['multipart/alternative', 'application/octet-stream']);
        assert.deepEqual([...Buffer.from(bodyParts.get('2').toString(), 'base64')], [...Array(256).keys()]);
    }
    await box.logout();
}
console.log('all done');
