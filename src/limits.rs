//! Every bound by name, with assertions that they fit one another.
//!
//! Units stand at the end of the name. What happens at a bound is said on the line above it.

/// One SMTP command line without CRLF, octets. Longer: 500 5.5.2, drained to CRLF (RFC 5321 §4.5.3.1.4; ESMTP parameters allowed for).
pub const SMTP_LINE_BYTES_MAX: usize = 4_096;
/// One line of AUTH without CRLF, octets: SMTP's command and every response of SMTP and POP3. Longer: 500 5.5.6, -ERR, drained
/// (RFC 4954 §4, RFC 5034 §4).
pub const AUTH_LINE_BYTES_MAX: usize = 12_288;
/// One POP3 command line without CRLF, octets. Longer: -ERR, drained (RFC 2449 §4).
pub const POP3_LINE_BYTES_MAX: usize = 255;
/// One IMAP command without its literals, octets, after login. Longer: BAD, drained (RFC 9051 §4.3 leaves the bound to us).
pub const IMAP_LINE_BYTES_MAX: usize = 65_536;
/// The same before login.
pub const IMAP_LINE_BYTES_MAX_BEFORE_LOGIN: usize = 8_192;
/// Sum of literals of one command before login, octets. More: BAD before reading (synchronising) or BYE.
pub const IMAP_LITERAL_BYTES_MAX_BEFORE_LOGIN: usize = 16_384;
/// One literal before login, octets.
pub const IMAP_ONE_LITERAL_BYTES_MAX_BEFORE_LOGIN: usize = 8_192;
/// Sum of literals of one command after login, APPEND's message aside, octets.
pub const IMAP_LITERAL_BYTES_MAX: usize = 262_144;
/// Literals in one command. More: BYE.
pub const IMAP_LITERALS_MAX: usize = 1_000;
/// Messages of one APPEND (RFC 3502). More: NO [LIMIT], and none is kept. Together they are at most as large as one may be.
pub const APPEND_MESSAGES_MAX: usize = 1_000;
/// Nesting of parentheses, NOT and OR in one IMAP command. Deeper: BAD.
pub const IMAP_NESTING_MAX: usize = 64;
/// Bytes without CRLF thrown away before the connection is closed.
pub const JUNK_BYTES_MAX: usize = 65_536;

/// One stored message, octets, trace fields not counted. Larger: 552 5.3.4, NO [TOOBIG].
pub const MESSAGE_BYTES_MAX: u64 = 50 << 20;
/// Message octets a shard holds between receive and commit, all connections together. More: 452 4.3.1.
pub const BODY_BYTES_IN_FLIGHT_MAX: u64 = 256 << 20;
/// The part of it that one address (IPv4) or /64 (IPv6) may take, exempt networks aside. More: 452 4.3.1.
pub const BODY_BYTES_IN_FLIGHT_PER_ADDRESS_MAX: u64 = 64 << 20;
/// Octets of a message in memory while it arrives, or of all messages of one APPEND. More: they are put into the log of the
/// volume that decides, and nothing is received meanwhile. What is refused in the end is dead there at once.
pub const BODY_BYTES_IN_MEMORY_MAX: u64 = 256 << 10;
/// The same for one of which octets have been put away: less, because it is long, and because whoever reads it takes as much
/// at a time.
pub const BODY_BYTES_PUT_AWAY: u64 = 128 << 10;
/// The part of what is announced and on its way to a volume that counts against others, of one address (IPv4) or /64 (IPv6),
/// exempt networks aside. More counts against itself alone: where there is no room for all of it, 452 4.3.1.
pub const BODY_BYTES_EXPECTED_PER_ADDRESS_MAX: u64 = BODY_BYTES_IN_FLIGHT_PER_ADDRESS_MAX;
/// What a message counts for whose MAIL announces no size, octets: with the others it is held against what is free, and where
/// that is too little MAIL or DATA is answered 452 4.3.1.
pub const MAIL_BYTES_UNANNOUNCED: u64 = 32 << 10;
/// Octets of a refused message read on, so that the refusal can be said. More: the connection closes.
pub const OVERSIZE_DRAIN_BYTES_MAX: u64 = 1 << 20;
/// One header field, octets. Longer: 552 5.3.4.
pub const HEADER_FIELD_BYTES_MAX: usize = 100 << 10;
/// The header section, octets. Longer: 552 5.3.4.
pub const HEADER_BYTES_MAX: usize = 1 << 20;
/// Fields in a header section. More: 550 5.6.0.
pub const HEADER_FIELDS_MAX: usize = 2_000;
/// Received fields. From this number on the message is a loop: 554 5.4.6 (RFC 5321 §6.3).
pub const RECEIVED_FIELDS_MAX: usize = 100;
/// Received fields written by us. More: the message is a loop (a list post comes back through us once or twice): 554 5.4.6.
pub const RECEIVED_BY_US_MAX: usize = 10;

/// Recipients of one message. More: 452 4.5.3 (RFC 5321 §4.5.3.1.10 asks for at least 100).
pub const RECIPIENTS_MAX: usize = 1_000;
/// The same by LMTP, where each has a reply of its own to the message. More: 452 4.5.3.
pub const LMTP_RECIPIENTS_MAX: usize = 100;
/// Mailboxes of one message, those that groups lead to included. More: 452 4.5.3 to the RCPT that leads there.
pub const MAILBOXES_MAX: usize = 1_000;
/// Names that the recipients of one message lead through, aliases and members of groups. More: 452 4.5.3 to each RCPT.
pub const NAMES_FOLLOWED_MAX: usize = 10_000;
/// Names that one RCPT leads through before others on its shard have their turn.
pub const NAMES_AT_ONCE: usize = 64;
/// Recipients of one message refused for now where one is accepted, or for want of room (4.5.3, 4.2.2). More: 421 4.7.0.
pub const RECIPIENTS_OVERSHOOT_MAX: usize = 1_000;
/// Commands that accept no mail (NOOP, RSET, VRFY, …) between two accepted messages. More: 421 4.7.0.
pub const SMTP_IDLE_COMMANDS_MAX: u32 = 100;
/// Errors between two accepted messages. More: 421 4.7.0.
pub const SMTP_ERRORS_MAX: u32 = 20;
/// Refusals for now (4xx) between two accepted messages; of recipients, those of [`RECIPIENTS_OVERSHOOT_MAX`] count once their message
/// came to nothing. More: 421 4.7.0.
pub const SMTP_DEFERRALS_MAX: u32 = 200;
/// Lines of the log for refusals on one connection between two accepted messages. More: counted, and their number is said at its end.
pub const LOG_LINES_REFUSED_MAX: u32 = 20;
/// Logins refused on one SMTP connection. The last of them is answered 421 4.7.0.
pub const SMTP_LOGINS_REFUSED_MAX: u32 = 5;
/// Bad commands before login in IMAP and POP3. More: BYE, -ERR and close.
pub const BAD_COMMANDS_BEFORE_LOGIN_MAX: u32 = 20;

/// Connections of one shard. More: 421 4.3.2 / BYE / -ERR, then close. Fewer where the limit of open files leaves less.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Connections of one shard without which no door is worth opening. Fewer: the start is refused.
pub const CONNECTIONS_MIN: usize = 64;
/// Open files that connections never take, for the process: log, lock, mesh, side pool, and connections being refused.
pub const FILES_KEPT: u64 = 256;
/// The same for each shard: rings, doors, segments made after the start, those who ask for figures, questions to DNS, and newcomers.
pub const FILES_KEPT_PER_SHARD: u64 =
    128 + HTTP_CONNECTIONS_MAX as u64 + DNS_IN_FLIGHT_MAX as u64 + 8 * NEWCOMERS_AT_ONCE as u64;
/// Connections that a door has accepted and not looked at yet. More: they wait in the kernel's queue.
pub const NEWCOMERS_AT_ONCE: usize = 16;
/// Connections of one address (IPv4) or /64 (IPv6) on one shard. More: 421 4.7.0 / BYE / -ERR, then close.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 50;
/// Connections of one network, /24 (IPv4) or /48 (IPv6), on one shard. More: 421 4.7.0 / BYE / -ERR, then close.
pub const CONNECTIONS_PER_NETWORK_MAX: usize = 500;
/// Of the memory that the process may hold, how many hundredths it holds when newcomers are turned away (421 4.3.2 / BYE / -ERR).
pub const MEMORY_SHED_PERCENT: u64 = 80;
/// The same for letters of those who are here: 452 4.3.1 at MAIL.
pub const MEMORY_REFUSED_PERCENT: u64 = 90;
/// How old a shard's knowledge of that may be, milliseconds. Older: it looks again.
pub const MEMORY_LOOK_MS: u64 = 50;
/// How long all commits of a shard wait for the disk before who brings mail is turned away, seconds, if letters already fill half of
/// [`BODY_BYTES_IN_FLIGHT_MAX`].
pub const DISK_STALL_S: u64 = 10;
/// Descriptors that are left when newcomers are turned away. They are told so; with none left nobody could be.
pub const FILES_SCARCE: u64 = 64;
/// Of a shard's time that others want too, this part is spent on turning newcomers away: one in so many. Then they wait in the
/// kernel's queue, where who finds no room tries again: telling ten times as many as can be served that there is no place would
/// leave no time to serve.
pub const TURNING_AWAY_PART: u32 = 120;
/// The most that turning one of them away counts for, microseconds: what took longer was somebody else's doing.
pub const TURNING_AWAY_US_MAX: u64 = 200;
/// What may be saved up of it, milliseconds of that part.
pub const TURNING_AWAY_SAVED_MS: u64 = 100;
/// Reply bytes waiting for a peer that does not read. At the bound we wait, up to the write deadline, then reset.
pub const OUT_BYTES_MAX: usize = 65_536;
/// From a connection's opening to the end of what its balancer says of it (PROXY protocol), seconds. Then it is closed (A062).
pub const PROXY_HEADER_S: u64 = 5;
/// From a connection's first octet of TLS to the end of the handshake, seconds. Then it is closed (A093).
pub const HANDSHAKE_S: u64 = 10;
/// Handshakes under way from one address (IPv4) or /64 (IPv6) on one shard, exempt networks aside. More: closed (A093).
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = 10;
/// Silence allowed to an SMTP client, seconds (RFC 5321 §4.5.3.2.7). Then 421 4.4.2.
pub const SMTP_IDLE_S: u64 = 300;
/// Silence allowed to a POP3 client, seconds (RFC 1939 §3 asks for at least 600).
pub const POP3_IDLE_S: u64 = 600;
/// Silence allowed to an IMAP client after login, seconds (RFC 9051 §5.4 asks for at least 1800).
pub const IMAP_IDLE_S: u64 = 1_800;
/// Silence in IDLE after which we say that we are here, seconds, so that no NAT on the way forgets the connection.
pub const IMAP_STILL_S: u64 = 120;
/// Silence allowed before login in POP3 and IMAP, seconds.
pub const LOGIN_IDLE_S: u64 = 60;
/// A message that arrives slower than this, octets per second, is cut: 421 4.4.2. Octets earn time at this rate.
pub const DATA_RATE_MIN_BYTES_S: u64 = 500;
/// Seconds of patience to begin with, and the most that octets can earn ahead.
pub const DATA_RATE_GRACE_S: u64 = 30;
/// For each [`OUT_BYTES_MAX`] reply bytes, seconds: a peer that does not take them in this time is reset.
pub const WRITE_STALL_S: u64 = 60;
/// From the final dot to the verdict, seconds. Past it the connection closes without one.
pub const COMMIT_DEADLINE_S: u64 = 60;

/// HTTP connections of one shard, counted apart from those of mail, so that figures are there when mail is crowded. More: 503,
/// then close.
pub const HTTP_CONNECTIONS_MAX: usize = 64;
/// The part of them that one address (IPv4) or /64 (IPv6) may take, exempt networks aside. More: 503, then close.
pub const HTTP_CONNECTIONS_PER_ADDRESS_MAX: usize = 16;
/// The first line of an HTTP request, octets with its line end (RFC 9112 §3 asks for at least 8,000). Longer: 414, then close.
pub const HTTP_LINE_BYTES_MAX: usize = 8_192;
/// An HTTP request, all its lines, octets. More: 431, then close (RFC 6585 §5).
pub const HTTP_HEADER_BYTES_MAX: usize = 16_384;
/// Header fields of an HTTP request. More: 431, then close.
pub const HTTP_FIELDS_MAX: usize = 64;
/// From the opening of a connection, or from the answer before, to the end of an HTTP request's header, seconds. Then closed.
pub const HTTP_HEADER_S: u64 = 20;
/// Requests answered on one HTTP connection. The last answer says so, then it is closed.
pub const HTTP_REQUESTS_MAX: u32 = 100;
/// Requests for figures being answered on one shard. More: 503 with Retry-After.
pub const SCRAPES_MAX: usize = 4;
/// How long a shard may take to tell of itself, seconds; kept to within one more. Then it is reported as not answering.
pub const SHARD_ANSWER_S: u64 = 2;
/// Seconds for which a door that had to pause, because the kernel had no descriptor for it, is reported as not accepting.
pub const ACCEPT_PAUSE_SHOWN_S: u64 = 1;

/// DNS questions under way on one shard, each with a socket of its own. More: the oldest slow one fails for now, and where none is
/// slow the new one does.
pub const DNS_IN_FLIGHT_MAX: usize = 256;
/// A question that is under way for longer is slow, milliseconds.
pub const DNS_SLOW_MS: u64 = 1_000;
/// Answers of DNS that one shard keeps. More: the one that was wanted least lately goes.
pub const DNS_CACHE_ENTRIES_MAX: usize = 10_000;
/// Octets they take, roughly. More: the same.
pub const DNS_CACHE_BYTES_MAX: usize = 8 << 20;
/// A TTL, seconds. Longer: taken for this (RFC 8767 §4 speaks of a week; A091).
pub const DNS_TTL_S_MAX: u32 = 7 * 86_400;
/// How long it is kept that something is not there, seconds. Longer: this (RFC 2308 §5).
pub const DNS_NEGATIVE_TTL_S_MAX: u32 = 3 * 3_600;
/// How long every answer is kept at least, seconds, so that a crowd of letters to one name asks once. *Liberty*: a TTL of 0 is
/// for the transaction in progress alone (RFC 1035 §3.2.1).
pub const DNS_CACHE_S_MIN: u32 = 1;
/// How long it is kept that nobody could answer, seconds (RFC 9520 §3.2 asks for 1 to 300).
pub const DNS_FAILURE_S: u32 = 5;
/// Aliases followed from one name. More: a temporary failure (A085).
pub const DNS_ALIASES_MAX: usize = 11;
/// Records of an answer that are read, in each section. More: not looked at, and memory is never taken ahead by counts (A082).
pub const DNS_RECORDS_READ_MAX: usize = 256;
/// Records of an answer that are kept. More: the rest is ignored; of MX the worse preferences (A086).
pub const DNS_RECORDS_MAX: usize = 100;
/// Names of one address that are kept. More: ignored (A092).
pub const DNS_PTR_NAMES_MAX: usize = 10;
/// The strings of one TXT record together, octets. Longer: the record is ignored (A088).
pub const DNS_TXT_BYTES_MAX: usize = 8_192;
/// Octets of an answer by UDP that we ask for (EDNS). What is longer comes by TCP.
pub const DNS_UDP_BYTES: u16 = 1_232;
/// Answers to one question whose id or question is not ours. More: asked again by TCP, where guessing does not help (A083).
pub const DNS_FORGED_MAX: u32 = 32;
/// A question by TCP, from connecting to its last octet, seconds. Then the next resolver is asked (A084).
pub const DNS_TCP_S: u64 = 5;
/// A question with all its resolvers, rounds and aliases, seconds. Then it is a temporary failure.
pub const DNS_LOOKUP_S: u64 = 30;
/// How long a resolver that did not answer is asked after the others, seconds.
pub const DNS_RESOLVER_REST_S: u64 = 30;
/// Resolvers. More: refused in the configuration, ignored in `/etc/resolv.conf`.
pub const DNS_RESOLVERS_MAX: usize = 8;

/// Names that filters look up for one SMTP session between two accepted messages. More: 421 4.7.0.
pub const FILTER_QUESTIONS_MAX: u32 = 200;
/// Lists of addresses that are asked about one client. More: refused in the configuration.
pub const FILTER_LISTS_MAX: usize = 16;
/// Letters that one shard keeps waiting by greylisting: triplets. More: the oldest is forgotten.
pub const FILTER_TRIPLETS_MAX: usize = 50_000;
/// The part of them that one network may take. More: its own oldest is forgotten.
pub const FILTER_TRIPLETS_PER_NETWORK_MAX: usize = 256;
/// Networks that passed greylisting, on one shard. More: the one that was not seen for longest is forgotten.
pub const FILTER_KNOWN_MAX: usize = 50_000;
/// Networks that waited for the greeting, on one shard. More: the same.
pub const FILTER_WAITED_MAX: usize = 10_000;
/// Between two writings of what greylisting remembers, seconds.
pub const FILTER_WRITE_S: u64 = 300;

/// Password hashes waiting for the side pool, whole process. More: 454 4.7.0 / NO [UNAVAILABLE] / -ERR [SYS/TEMP].
pub const SIDE_QUEUE_MAX: usize = 64;
/// Requests in flight from one shard to another. More: 451 / NO [UNAVAILABLE].
pub const MESH_REQUESTS_MAX: usize = 256;
/// Body bytes in flight from one shard to another; one body is always allowed. More: 451.
pub const MESH_BODY_BYTES_MAX: u64 = 32 << 20;
/// Transfers carried to another volume at once. More go with the next load.
pub const LOAD_TRANSFERS_MAX: usize = 64;
/// Octets of one load; a single larger transfer is a load of its own. More go with the next.
pub const LOAD_BYTES_MAX: u64 = 4 << 20;
/// The longest a courier waits before it tries again, milliseconds.
pub const COURIER_WAIT_MS_MAX: u64 = 30_000;

const _: () = {
    assert!(IMAP_LINE_BYTES_MAX_BEFORE_LOGIN <= IMAP_LINE_BYTES_MAX);
    assert!(IMAP_ONE_LITERAL_BYTES_MAX_BEFORE_LOGIN <= IMAP_LITERAL_BYTES_MAX_BEFORE_LOGIN);
    assert!(HEADER_FIELD_BYTES_MAX <= HEADER_BYTES_MAX);
    assert!((HEADER_BYTES_MAX as u64) < MESSAGE_BYTES_MAX);
    assert!(BODY_BYTES_PUT_AWAY <= BODY_BYTES_IN_MEMORY_MAX);
    assert!(BODY_BYTES_IN_MEMORY_MAX < MESSAGE_BYTES_MAX && BODY_BYTES_IN_MEMORY_MAX < MESH_BODY_BYTES_MAX);
    assert!(MESSAGE_BYTES_MAX < BODY_BYTES_IN_FLIGHT_PER_ADDRESS_MAX);
    assert!(BODY_BYTES_IN_FLIGHT_PER_ADDRESS_MAX < BODY_BYTES_IN_FLIGHT_MAX);
    assert!(RECIPIENTS_MAX >= 100 && LMTP_RECIPIENTS_MAX >= 100);
    // A reply line has at most 512 octets (RFC 5321 §4.5.3.1.5).
    assert!(LMTP_RECIPIENTS_MAX * 512 <= OUT_BYTES_MAX);
    assert!(CONNECTIONS_MIN <= CONNECTIONS_MAX);
    assert!(CONNECTIONS_PER_ADDRESS_MAX <= CONNECTIONS_PER_NETWORK_MAX && FILES_SCARCE < FILES_KEPT);
    assert!(MEMORY_SHED_PERCENT < MEMORY_REFUSED_PERCENT && MEMORY_REFUSED_PERCENT < 100);
    assert!(DISK_STALL_S < COMMIT_DEADLINE_S);
    assert!(HTTP_CONNECTIONS_PER_ADDRESS_MAX < HTTP_CONNECTIONS_MAX && SCRAPES_MAX < HTTP_CONNECTIONS_PER_ADDRESS_MAX);
    assert!(SMTP_LINE_BYTES_MAX < AUTH_LINE_BYTES_MAX && AUTH_LINE_BYTES_MAX < OUT_BYTES_MAX);
    assert!(POP3_LINE_BYTES_MAX < AUTH_LINE_BYTES_MAX);
    assert!(SMTP_LOGINS_REFUSED_MAX < SMTP_ERRORS_MAX);
    assert!(HTTP_LINE_BYTES_MAX < HTTP_HEADER_BYTES_MAX);
    assert!(LOAD_BYTES_MAX < MESH_BODY_BYTES_MAX);
    assert!(FILTER_LISTS_MAX < DNS_IN_FLIGHT_MAX && FILTER_TRIPLETS_PER_NETWORK_MAX < FILTER_TRIPLETS_MAX);
    assert!(DNS_PTR_NAMES_MAX <= DNS_RECORDS_MAX && DNS_RECORDS_MAX <= DNS_RECORDS_READ_MAX);
    assert!(DNS_CACHE_S_MIN <= DNS_FAILURE_S && DNS_NEGATIVE_TTL_S_MAX <= DNS_TTL_S_MAX && DNS_TCP_S < DNS_LOOKUP_S);
};
