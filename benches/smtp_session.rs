//! What the receiving SMTP session costs: a pipelined transaction with a 4 KiB message through `step()`, every ask
//! answered at once, the pieces copied into one buffer as the door does.
//!
//! `cargo bench --bench smtp_session`

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringpost::mail::header::{Bounds, Examiner};
use ringpost::proto::contract::{Input, Out, Piece, Session as _};
use ringpost::proto::smtp::{Answer, Ask, Config, Session};

const ENVELOPE: &[u8] = b"MAIL FROM:<bench@client.test> SIZE=4096\r\nRCPT TO:<user0001@ringpost.test>\r\nDATA\r\n";
const MESSAGE_BYTES: usize = 4_096;

/// An ordinary letter: header, blank line, lines of 72 octets, no dots.
fn letter() -> Vec<u8> {
    let mut letter = b"From: Bench <bench@client.test>\r\nTo: <user0001@ringpost.test>\r\nSubject: a letter\r\n\
        Date: Sun, 22 Nov 2026 08:46:46 +0000\r\nMessage-ID: <1@client.test>\r\n\r\n"
        .to_vec();
    while letter.len() + 2 < MESSAGE_BYTES {
        let room = (MESSAGE_BYTES - letter.len() - 2).min(72);
        letter.extend(std::iter::repeat_n(b'x', room));
        letter.extend_from_slice(b"\r\n");
    }
    letter
}

/// The same with a lone LF in every line, so that nothing is taken in one piece.
fn crooked() -> Vec<u8> {
    letter().iter().copied().filter(|&b| b != b'\r').collect()
}

struct Talk {
    session: Session,
    out: Out<Ask>,
    body: Vec<u8>,
}

impl Talk {
    fn open() -> Self {
        let mut out = Out::default();
        let mut session = Session::open(Arc::new(Config::default()), &mut out);
        session.step(Input::Bytes(b"EHLO client.test\r\n"), &mut out);
        Talk { session, out, body: Vec::with_capacity(64 << 10) }
    }

    fn deliver(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let used = self.session.step(Input::Bytes(bytes), &mut self.out);
            for piece in self.out.body.drain(..) {
                match piece {
                    Piece::Input(range) => self.body.extend_from_slice(&bytes[range]),
                    Piece::Text(text) => self.body.extend_from_slice(text),
                }
            }
            bytes = &bytes[used..];
            if let Some(ask) = self.out.ask.take() {
                let answer = match ask {
                    Ask::Done { .. } => Answer::Queued { id: "0190c7a4b1d27c3e8f00000000000001".to_owned() },
                    _ => Answer::Yes,
                };
                self.session.step(Input::Answer(answer), &mut self.out);
            }
        }
        self.body.clear();
        self.out.reply.clear();
    }
}

fn session(c: &mut Criterion) {
    let wire = |letter: Vec<u8>| [ENVELOPE, &letter, b".\r\n"].concat();
    let ordinary = wire(letter());
    let crooked = [ENVELOPE, &crooked(), b"\r\n.\r\n"].concat();

    let mut group = c.benchmark_group("smtp_session");
    group.throughput(Throughput::Elements(1));
    let mut talk = Talk::open();
    group.bench_function("message_4k", |b| b.iter(|| talk.deliver(black_box(&ordinary))));
    group.bench_function("message_4k_in_packets", |b| {
        b.iter(|| black_box(&ordinary).chunks(1_448).for_each(|packet| talk.deliver(packet)));
    });
    group.bench_function("message_4k_lone_lf", |b| b.iter(|| talk.deliver(black_box(&crooked))));
    group.bench_function("envelope_and_empty_message", |b| {
        let empty = wire(Vec::new());
        b.iter(|| talk.deliver(black_box(&empty)));
    });
    group.bench_function("header_examined_4k", |b| {
        let letter = letter();
        b.iter_batched(
            || Examiner::new("mx.ringpost.test", Bounds::default()),
            |mut examiner| examiner.take(black_box(&letter)).map(|()| examiner),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, session);
criterion_main!(benches);
