// The desk for clients that run on Node: the same environment as desk.py (see there), and modules from the folder that
// tests/run filled from node/package-lock.json.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

export const desk = JSON.parse(process.env.DESK);
export const host = 'localhost';
export const [alice, bob] = ['alice@ringpost.test', 'bob@ringpost.test'];
export const ca = readFileSync(desk.cert);
export const client = createRequire(`${desk.node}/`);
// How long we wait for anything to happen, milliseconds.
export const PATIENCE_MS = 60_000;

/** What `promise` gives, or an error that names `what` when it takes too long. */
export async function soon(what, promise, limit_ms = PATIENCE_MS) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`${what} did not come`)), limit_ms);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}

/** The next `event` of `emitter` that `wanted` accepts. */
export function next(emitter, event, wanted = () => true) {
    const seen = new Promise(resolve => {
        emitter.on(event, function hear(value) {
            if (wanted(value)) {
                emitter.off(event, hear);
                resolve(value);
            }
        });
    });
    return soon(`event ${event}`, seen);
}
