// What runs inside Thunderbird for thunderbird.py, with the rights of its own windows. `do` in that file puts one call
// after this text, so everything here is made anew for each call.
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const LIMIT_MS = 30_000;

const account = () => MailServices.accounts.accounts[0];
const root = () => account().incomingServer.rootFolder;
const sleep = ms => new Promise(done => Cc["@mozilla.org/timer;1"].createInstance(Ci.nsITimer).initWithCallback(done, ms, 0));

/** Asks `test` until it says something true. */
async function until(what, test) {
    for (const end = Date.now() + LIMIT_MS; Date.now() < end; await sleep(50)) {
        const found = test();
        if (found) {
            return found;
        }
    }
    throw new Error(`${what} did not come`);
}

/** A url listener and the promise of its end. */
function url() {
    const { promise, resolve, reject } = Promise.withResolvers();
    const listener = {
        QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
        OnStartRunningUrl() {},
        OnStopRunningUrl: (_, status) => (Components.isSuccessCode(status) ? resolve() : reject(new Error(`url: ${status.toString(16)}`)))
    };
    return [listener, promise];
}

/** A copy listener and the promise of its end. */
function copy() {
    const { promise, resolve, reject } = Promise.withResolvers();
    const listener = {
        QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]),
        onStartCopy() {},
        onProgress() {},
        setMessageKey() {},
        getMessageId: () => null,
        onStopCopy: status => (Components.isSuccessCode(status) ? resolve() : reject(new Error(`copy: ${status.toString(16)}`)))
    };
    return [listener, promise];
}

const find_folder = name =>
    root().descendants.find(f => f.name === name || (name === "INBOX" && f.flags & Ci.nsMsgFolderFlags.Inbox));

const has_folder = name => find_folder(name) !== undefined;

function folder(name) {
    const found = find_folder(name);
    if (!found) {
        throw new Error(`no folder ${name} among ${root().descendants.map(f => f.name)}`);
    }
    return found.QueryInterface(Ci.nsIMsgImapMailFolder) && found;
}

const header = (box, subject) => {
    const found = [...folder(box).messages].find(h => h.mime2DecodedSubject === subject);
    if (!found) {
        throw new Error(`no ${subject} in ${box}`);
    }
    return found;
};

/** Keeps a password as "use the password manager" does. */
async function remember_password(origin, user, password) {
    const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
    login.init(origin, null, origin, user, password, "", "");
    await Services.logins.addLoginAsync(login);
}

/** Opens INBOX and returns why that failed, "" if it did not. */
async function try_inbox() {
    const [listener, done] = url();
    folder("INBOX").updateFolderWithListener(null, listener);
    return done.then(() => "", error => error.message);
}

/** The "Confirm Security Exception" button. `der64`: the certificate. */
async function confirm_exception(host, port, der64) {
    const cert = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).constructX509FromBase64(der64);
    const overrides = Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService);
    overrides.rememberValidityOverride(host, port, {}, cert, false);
}

/** Asks the server for its folders. */
async function discover() {
    const [listener, done] = url();
    account().incomingServer.QueryInterface(Ci.nsIImapIncomingServer);
    folder("INBOX").updateFolderWithListener(null, listener);
    await done;
    account().incomingServer.performExpand(null);
    const { Inbox, Drafts, SentMail, Trash, Junk, Archive } = Ci.nsMsgFolderFlags;
    const uses = { Inbox, Drafts, Sent: SentMail, Trash, Junk, Archive };
    const seen = () =>
        root().descendants.map(f => ({ name: f.name, use: Object.keys(uses).find(use => f.flags & uses[use]) ?? "" }));
    await until("the folders", () => seen().length > 5).catch(() => {});
    return seen();
}

const brief = h => ({ subject: h.mime2DecodedSubject, read: h.isRead, flagged: h.isFlagged });

async function listing_now(box) {
    return [...folder(box).messages].map(brief);
}

/** Opens a folder and waits until it shows `count` letters. */
async function listing(box, count) {
    const [listener, done] = url();
    // While it discovers folders once more it has none.
    await until(`a folder ${box}`, () => has_folder(box));
    folder(box).updateFolderWithListener(null, listener);
    await done;
    await until(`${count} letters`, () => [...folder(box).messages].length === count);
    return listing_now(box);
}

async function state_of(box, subject) {
    const { read, flagged } = brief(header(box, subject));
    return { read, flagged };
}

/** The source of a letter, fetched from the server. */
async function text_of(box, subject) {
    const uri = folder(box).getUriForMsg(header(box, subject));
    const { promise, resolve, reject } = Promise.withResolvers();
    const bytes = [];
    const listener = {
        QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]),
        onStartRequest() {},
        onDataAvailable(_, stream, offset, count) {
            const binary = Cc["@mozilla.org/binaryinputstream;1"].createInstance(Ci.nsIBinaryInputStream);
            binary.setInputStream(stream);
            bytes.push(...binary.readByteArray(count));
        },
        onStopRequest: (_, status) => (Components.isSuccessCode(status) ? resolve() : reject(new Error(status.toString(16))))
    };
    MailServices.messageServiceFromURI(uri).streamMessage(uri, listener, null, null, false, "", false);
    await promise;
    return new TextDecoder().decode(new Uint8Array(bytes));
}

async function mark(box, subject, { flagged, read, tag }) {
    const headers = [header(box, subject)];
    if (flagged !== undefined) {
        folder(box).markMessagesFlagged(headers, flagged);
    }
    if (read !== undefined) {
        folder(box).markMessagesRead(headers, read);
    }
    if (tag !== undefined) {
        folder(box).addKeywordsToMessages(headers, tag);
    }
}

async function create_folder(name) {
    root().createSubfolder(name, null);
    await until(name, () => root().descendants.some(f => f.name === name));
}

async function rename_folder(name, to) {
    folder(name).rename(to, null);
    await until(to, () => root().descendants.some(f => f.name === to));
}

/** Moves or copies letters to another folder. */
async function carry(box, to, subjects, is_move) {
    const [listener, done] = copy();
    const headers = subjects.map(subject => header(box, subject));
    MailServices.copy.copyMessages(folder(box), headers, folder(to), is_move, listener, null, false);
    await done;
}

/** The delete key: to Trash. */
async function remove(box, subjects) {
    const [listener, done] = copy();
    const headers = subjects.map(subject => header(box, subject));
    folder(box).deleteMessages(headers, null, false, false, listener, false);
    await done;
}

/** Subjects, sorted, of the letters in which the server finds `text` as (part of) the subject. */
async function search_subject(box, text) {
    const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
    session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder(box));
    const term = session.createTerm();
    const value = term.value;
    value.attrib = term.attrib = Ci.nsMsgSearchAttrib.Subject;
    value.str = text;
    term.value = value;
    term.op = Ci.nsMsgSearchOp.Contains;
    session.appendTerm(term);
    const found = [];
    const { promise, resolve } = Promise.withResolvers();
    session.registerListener({
        QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]),
        onSearchHit: hit => found.push(hit.mime2DecodedSubject),
        onSearchDone: resolve,
        onNewSearch() {}
    });
    session.search(null);
    await promise;
    return found.sort();
}

/** Writes a letter and sends it through the server `smtp`; done when its copy is in Sent too. */
async function send(smtp, to, subject, body) {
    const identity = account().defaultIdentity;
    identity.smtpServerKey = smtp;
    const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
    Object.assign(fields, { from: identity.email, to, subject });
    const { promise, resolve, reject } = Promise.withResolvers();
    const listener = {
        QueryInterface: ChromeUtils.generateQI(["nsIMsgSendListener", "nsIMsgCopyServiceListener"]),
        onStartSending() {},
        onSendProgress() {},
        onProgress() {},
        onStatus() {},
        onSendNotPerformed: () => reject(new Error("not sent")),
        onTransportSecurityError: (id, status) => reject(new Error(`not trusted: ${status.toString(16)}`)),
        onGetDraftFolderURI() {},
        onStopSending: (id, status) => Components.isSuccessCode(status) || reject(new Error(`not sent: ${status.toString(16)}`)),
        onStartCopy() {},
        setMessageKey() {},
        getMessageId: () => null,
        onStopCopy: status => (Components.isSuccessCode(status) ? resolve() : reject(new Error(`no copy in Sent: ${status.toString(16)}`)))
    };
    const program = Cc["@mozilla.org/messengercompose/send;1"].createInstance(Ci.nsIMsgSend);
    const { Now } = Ci.nsIMsgCompDeliverMode;
    await program.createAndSendMessage(null, identity, account().key, fields, false, false, Now, null, "text/plain", body, null, null, listener, "", null, Ci.nsIMsgCompType.New);
    await promise;
}
