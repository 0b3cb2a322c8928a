//! A mix of letters as people and programs send them: of many sizes, with long headers, text beside HTML, attachments in base64.
//!
//! Nobody's mail is in it: all of it is drawn from the seed. Sizes are spread as those of mail are, few of them large ([`sizes`]); three
//! of five letters of middle size are `multipart/alternative`, and those above [`ATTACHED_BYTES_MIN`] carry an attachment
//! (RFC 2045, 2046). Every line is lawful, so what a server makes of it must be what was sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rand::Rng;
use rand::rngs::StdRng;

use crate::letter::{fill, words};

/// Letters of different size in a mix.
pub(crate) const SIZES: usize = 64;
/// The smallest letter of a mix: its header is more than half of it.
pub(crate) const LETTER_BYTES_MIN: usize = 3_072;
/// From this size on a letter has an attachment.
const ATTACHED_BYTES_MIN: usize = 20_480;
/// How widely sizes scatter: the deviation of their logarithm.
const SPREAD: f64 = 1.1;
/// Octets of base64 on a line, CRLF not counted (RFC 2045 §6.8).
const BASE64_LINE_BYTES: usize = 76;

/// [`SIZES`] sizes with this mean, octets: the logarithm is spread as a logistic distribution, which is nearly the normal one.
pub(crate) fn sizes(mean_bytes: usize) -> Vec<usize> {
    let raw = |n: usize| {
        let part = (n as f64 + 0.5) / SIZES as f64;
        // 1.7: what makes a logistic distribution as wide as a normal one.
        ((part / (1.0 - part)).ln() / 1.7 * SPREAD).exp()
    };
    let sum: f64 = (0..SIZES).map(raw).sum();
    let scaled = |n| (raw(n) * (mean_bytes * SIZES) as f64 / sum) as usize;
    let mut sizes: Vec<usize> = (0..SIZES).map(|n| scaled(n).max(LETTER_BYTES_MIN)).collect();
    // What the smallest were given is taken from the largest.
    let over = sizes.iter().sum::<usize>().saturating_sub(mean_bytes * SIZES);
    let most = &mut sizes[SIZES - 1];
    *most = most.saturating_sub(over).max(LETTER_BYTES_MIN);
    sizes
}

/// Everything of a letter between its `Message-ID` and its last line, which end at `end` octets of `text`.
pub(crate) fn write(text: &mut Vec<u8>, end: usize, chance: &mut StdRng) {
    header(text, chance);
    let left = end - text.len();
    let boundary = format!("=_{:016x}", chance.random::<u64>());
    if left + text.len() >= ATTACHED_BYTES_MIN {
        let inner = format!("=_{:016x}", chance.random::<u64>());
        line(text, &format!("Content-Type: multipart/mixed;\r\n\tboundary=\"{boundary}\"\r\n\r\n--{boundary}"));
        line(text, &format!("Content-Type: multipart/alternative;\r\n\tboundary=\"{inner}\"\r\n"));
        let mut tail = html(&inner, left / 8, chance);
        line(&mut tail, &format!("--{boundary}\r\nContent-Type: application/pdf; name=\"proof.pdf\""));
        line(
            &mut tail,
            "Content-Disposition: attachment; filename=\"proof.pdf\"\r\nContent-Transfer-Encoding: base64\r\n",
        );
        attachment(&mut tail, left / 4 * 3 - left / 16, chance);
        line(&mut tail, &format!("--{boundary}--"));
        plain(text, &inner, &tail, end, chance);
    } else if chance.random_range(0..5) < 3 {
        line(text, &format!("Content-Type: multipart/alternative;\r\n\tboundary=\"{boundary}\"\r\n"));
        let tail = html(&boundary, left / 2, chance);
        plain(text, &boundary, &tail, end, chance);
    } else {
        line(text, "Content-Type: text/plain; charset=us-ascii\r\n");
        fill(text, end, chance);
    }
}

fn line(text: &mut Vec<u8>, words: &str) {
    text.extend_from_slice(words.as_bytes());
    text.extend_from_slice(b"\r\n");
}

/// What hops, signers, lists and programs put on top.
fn header(text: &mut Vec<u8>, chance: &mut StdRng) {
    for hop in 0..chance.random_range(1..4) {
        let (id, second) = (chance.random::<u64>(), chance.random_range(10..60));
        line(text, &format!("Received: from hop{hop}.load.example (hop{hop}.load.example [192.0.2.{hop}])"));
        line(text, &format!("\tby relay{hop}.load.example with ESMTPS id {id:016x}"));
        line(text, "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))");
        line(text, &format!("\tfor <subscribers@load.example>; Thu, 01 Jan 2026 12:00:{second} +0000"));
    }
    line(text, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=load.example; s=works;");
    line(text, "\th=from:to:subject:date:message-id:list-unsubscribe:mime-version:content-type;");
    line(text, &format!("\tbh={};", BASE64.encode(chance.random::<[u8; 32]>())));
    let signature = BASE64.encode((0..256).map(|_| chance.random::<u8>()).collect::<Vec<u8>>());
    for (nth, piece) in signature.as_bytes().chunks(70).enumerate() {
        text.extend_from_slice(if nth == 0 { b"\tb=" } else { b"\t " });
        text.extend_from_slice(piece);
        text.extend_from_slice(b"\r\n");
    }
    line(text, "Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nFrom: \"The Printing Works\" <works@load.example>");
    line(text, "To: Subscribers <subscribers@load.example>, \"A. Reader\" <reader@load.example>");
    text.extend_from_slice(b"Subject: =?UTF-8?Q?Pr=C3=BCfung:_?= ");
    words(text, 40, chance);
    text.extend_from_slice(b"\r\n");
    for _ in 0..chance.random_range(0..4) {
        line(text, &format!("References: <{:032x}@load.example>", chance.random::<u128>()));
    }
    line(text, "List-Id: The Weekly Proof <weekly.load.example>\r\nList-Unsubscribe: <mailto:leave@load.example>");
    line(text, "X-Mailer: Printing Works 4.2\r\nPrecedence: bulk\r\nMIME-Version: 1.0");
}

/// A text part that takes what `tail` leaves of the room up to `end`, and `tail`.
fn plain(text: &mut Vec<u8>, boundary: &str, tail: &[u8], end: usize, chance: &mut StdRng) {
    line(text, &format!("--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n"));
    assert!(text.len() + tail.len() + 3 <= end, "parts are shares of what is left");
    fill(text, end - tail.len(), chance);
    text.extend_from_slice(tail);
}

/// An HTML part of about so many octets, and the end of its multipart.
fn html(boundary: &str, bytes: usize, chance: &mut StdRng) -> Vec<u8> {
    let mut text = Vec::new();
    line(&mut text, &format!("--{boundary}\r\nContent-Type: text/html; charset=us-ascii"));
    line(&mut text, "Content-Transfer-Encoding: quoted-printable\r\n\r\n<html><body><table>");
    let mut rows = Vec::new();
    while rows.len() + 90 < bytes.saturating_sub(200) {
        rows.extend_from_slice(b"<tr><td style=3D\"font: 14px serif\">");
        words(&mut rows, 28, chance);
        rows.extend_from_slice(b"</td></tr>=\r\n");
    }
    text.append(&mut rows);
    line(&mut text, &format!("</table></body></html>\r\n--{boundary}--"));
    text
}

/// At most so many octets of base64, in whole lines.
fn attachment(text: &mut Vec<u8>, bytes: usize, chance: &mut StdRng) {
    for _ in 0..bytes / (BASE64_LINE_BYTES + 2) {
        let octets: [u8; BASE64_LINE_BYTES / 4 * 3] = std::array::from_fn(|_| chance.random());
        line(text, &BASE64.encode(octets));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_mean_and_a_long_tail() {
        let sizes = sizes(15 << 10);
        let mean = sizes.iter().sum::<usize>() / SIZES;
        assert!((mean as f64 / f64::from(15 << 10) - 1.0).abs() < 0.01, "{mean}");
        let middle = sizes[SIZES / 2];
        assert!(middle < mean * 2 / 3 && sizes[SIZES - 1] > mean * 5, "{sizes:?}");
        assert!(sizes.is_sorted() && sizes[0] == LETTER_BYTES_MIN);
    }
}
