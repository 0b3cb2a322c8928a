//! `[filter]` and a section for each filter: what is done about other hosts that bring mail. All of it is off unless it is set.

use super::{Key, Row, number};
use crate::config::value::{Kind, Value};
use crate::filter::{Mode, dnsbl, greylist};

/// How long a greeting may be put off, milliseconds: RFC 5321 §4.5.3.2.1 has clients wait five minutes, and few do.
const PREGREET_WAIT_MS_MAX: u64 = 30_000;
/// Of greylisting there is no rejecting, and a letter that waits has nothing to be tagged with.
const GREYLIST_WORDS: &[&str] = &["off", "dry-run", "defer"];

const fn mode(key: Key, path: &'static str, about: &'static str) -> Row {
    Row { key, path, kind: Kind::OneOf(Mode::WORDS), about, default: |_| Value::Text("off".to_owned()) }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        key: Key::FilterExempt,
        path: "filter.exempt",
        kind: Kind::Networks,
        about: "Networks no filter is asked about: your own relays, monitoring, a backup MX. Submission is never asked about.",
        default: |_| Value::Networks(Vec::new()),
    },
    Row {
        key: Key::FilterWaitMs,
        path: "filter.wait_ms",
        kind: number(100, 30_000),
        about: "How long MAIL waits for DNS, for all filters together, milliseconds. What is not known by then refuses nobody for \
                good.",
        default: |_| Value::Number(5_000),
    },
    Row {
        key: Key::FilterRefuseAt,
        path: "filter.refuse_at",
        kind: Kind::OneOf(&["rcpt", "mail"]),
        about: "When a client hears of what filters found. At rcpt the log has sender and recipient, and postmaster@ and abuse@ \
                hear from everybody; at mail it is said once.",
        default: |_| Value::Text("rcpt".to_owned()),
    },
    mode(
        Key::PregreetMode,
        "filter.pregreet.mode",
        "What is done about clients that talk before they were greeted (554 5.5.0), as no mail server does. Try a filter with \
         dry-run first: it logs and counts what it would refuse. tag adds a header field X-Ringpost-Filter, defer answers 4xx.",
    ),
    Row {
        key: Key::PregreetWaitMs,
        path: "filter.pregreet.wait_ms",
        kind: number(0, PREGREET_WAIT_MS_MAX),
        about: "How long clients wait for the greeting, milliseconds; networks that did wait are greeted at once for a day. 0: \
                nobody waits, and hardly anybody is caught.",
        default: |_| Value::Number(3_000),
    },
    Row {
        key: Key::PregreetTeaser,
        path: "filter.pregreet.teaser",
        kind: Kind::Switch,
        about: "Sends the first of two lines of the greeting at once: who takes it for the whole talks too early.",
        default: |_| Value::Switch(true),
    },
    mode(
        Key::DnsblMode,
        "filter.dnsbl.mode",
        "What is done about clients whose address is listed (550 5.7.1): off, dry-run, tag, defer or reject.",
    ),
    Row {
        key: Key::DnsblLists,
        path: "filter.dnsbl.lists",
        kind: Kind::Names(list),
        about: "Lists to ask by DNS, each with the answers that count and its weight, as [\"zen.spamhaus.org=127.0.0.[2..11]*3\", \
                \"list.dnswl.org=127.0.[0..255].[1..3]*-2\"]; without them all answers count, and 1. A list that does not answer, \
                or answers that it does not want you (127.255.255.x), lists nobody. At most 16.",
        default: |_| Value::Names(Vec::new()),
    },
    Row {
        key: Key::DnsblThreshold,
        path: "filter.dnsbl.threshold",
        kind: number(1, 1_000),
        about: "From this sum of weights on a client counts as listed.",
        default: |_| Value::Number(1),
    },
    Row {
        key: Key::DnsblAskLocal,
        path: "filter.dnsbl.ask_local",
        kind: Kind::Switch,
        about: "Asks about loopback and private addresses too, to try lists out. No public list has them.",
        default: |_| Value::Switch(false),
    },
    mode(
        Key::HeloInvalid,
        "filter.helo.invalid",
        "What is done about names in HELO and EHLO that no host has, as `a b`, `-x.test` or an address without brackets \
         (501 5.5.4): off, dry-run, tag, defer or reject.",
    ),
    mode(
        Key::HeloNotFqdn,
        "filter.helo.not_fqdn",
        "About names without a dot, as `localhost` (504 5.5.2). Some honest senders have them.",
    ),
    mode(Key::HeloOurs, "filter.helo.ours", "About our own name from elsewhere than this host (550 5.7.1)."),
    mode(
        Key::HeloLiteral,
        "filter.helo.literal",
        "About an address literal that is not the client's address (550 5.7.1). Honest senders behind NAT have them.",
    ),
    mode(
        Key::HeloUnknown,
        "filter.helo.unknown",
        "About names for which DNS has neither address nor MX (550 5.7.1). Many honest senders have them: dry-run first.",
    ),
    mode(
        Key::SenderDomainMode,
        "filter.sender_domain.mode",
        "What is done about senders whose domain has neither MX nor address (550 5.1.8), or says that it takes no mail \
         (null MX, 550 5.7.27): no bounce could reach them. off, dry-run, tag, defer or reject.",
    ),
    Row {
        key: Key::SenderDomainOnFailure,
        path: "filter.sender_domain.on_failure",
        kind: Kind::OneOf(&["defer", "accept"]),
        about: "What is done where DNS does not answer, in the modes defer and reject: 451 4.4.3, or nothing.",
        default: |_| Value::Text("defer".to_owned()),
    },
    Row {
        key: Key::GreylistMode,
        path: "filter.greylist.mode",
        kind: Kind::OneOf(GREYLIST_WORDS),
        about: "Tells senders who come for the first time to come again (450 4.7.1), which most programs that send spam do not. \
                Costs strangers' first letters the delay. Clients whom filter.dnsbl.lists weigh below 0 do not wait.",
        default: |_| Value::Text("off".to_owned()),
    },
    Row {
        key: Key::GreylistDelayS,
        path: "filter.greylist.delay_s",
        kind: number(1, 86_400),
        about: "How long such a letter waits, seconds. Each network (/24, /64), sender and recipient wait for themselves.",
        default: |_| Value::Number(greylist::Settings::DELAY_DEFAULT.as_secs()),
    },
    Row {
        key: Key::GreylistWindowS,
        path: "filter.greylist.window_s",
        kind: number(60, 30 * 86_400),
        about: "Within which it has to come again, seconds. Later it counts as new.",
        default: |_| Value::Number(greylist::Settings::WINDOW_DEFAULT.as_secs()),
    },
    Row {
        key: Key::GreylistKeepDays,
        path: "filter.greylist.keep_days",
        kind: number(1, 365),
        about: "Days for which a network that came again waits no more, counted from its last letter.",
        default: |_| Value::Number(greylist::Settings::KEEP_DAYS_DEFAULT),
    },
];

fn list(text: &str) -> Result<(), String> {
    text.parse::<dnsbl::Site>().map(drop)
}
