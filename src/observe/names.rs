//! What is counted: one variant each, with the family it is shown in, its labels and what it means.
//!
//! A family is all variants of one name; they stand together. Names and units follow the conventions of Prometheus: counters
//! end in `_total`, octets in `_bytes`, time in `_seconds`; outside they begin with `ringpost_`. The values of a label are
//! written here and nowhere made up, so nothing a peer says can add a time series (A183).

/// How a variant is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// The family's name, unit and `_total` included.
    pub name: &'static str,
    /// What it means, without a full stop.
    pub help: &'static str,
    /// Label and value, beside the shard's.
    pub labels: &'static [(&'static str, &'static str)],
}

macro_rules! families {
    ($(#[$doc:meta])* $kind:ident { $($family:literal, $help:literal => $($variant:ident { $($label:ident: $value:literal),* }),+;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum $kind { $($(#[doc = $help] $variant,)+)+ }

        impl $kind {
            /// All of them, families together.
            pub const ALL: &'static [$kind] = &[$($($kind::$variant,)+)+];

            /// How it is shown.
            #[must_use]
            pub fn shown(self) -> Shown {
                match self {
                    $($($kind::$variant => Shown {
                        name: $family,
                        help: $help,
                        labels: &[$((stringify!($label), $value)),*],
                    },)+)+
                }
            }
        }
    };
}

families! {
    /// Everything a shard counts.
    Counter {
        "connections_total", "Connections accepted" =>
            ConnectionsSmtp { service: "smtp" },
            ConnectionsSubmission { service: "submission" },
            ConnectionsSubmissions { service: "submissions" },
            ConnectionsLmtp { service: "lmtp" },
            ConnectionsImap { service: "imap" },
            ConnectionsImaps { service: "imaps" },
            ConnectionsPop3 { service: "pop3" },
            ConnectionsPop3s { service: "pop3s" },
            ConnectionsHttp { service: "http" },
            ConnectionsSendmail { service: "sendmail" };
        "connections_refused_total", "Connections refused at the door by a bound, new or handed over" =>
            RefusedSmtp { protocol: "smtp" },
            RefusedImap { protocol: "imap" },
            RefusedPop3 { protocol: "pop3" },
            RefusedHttp { protocol: "http" };
        "connections_shed_total", "Newcomers turned away at the door because there is too much of something: memory of the process, \
            descriptors, work that waits for the shard, letters that wait for the disk" =>
            ShedMemory { reason: "memory" },
            ShedDescriptors { reason: "descriptors" },
            ShedDelay { reason: "delay" },
            ShedDisk { reason: "disk" };
        "proxy_refused_total", "Connections of listed balancers closed for want of a PROXY header" => ProxyRefused {};
        "commands_total", "Commands executed; lines of them, where a command has several" =>
            CommandsSmtp { protocol: "smtp" },
            CommandsImap { protocol: "imap" },
            CommandsPop3 { protocol: "pop3" },
            CommandsHttp { protocol: "http" };
        "replies_total", "Replies that ended a command, by their class" =>
            Smtp2xx { protocol: "smtp", class: "2xx" },
            Smtp3xx { protocol: "smtp", class: "3xx" },
            Smtp4xx { protocol: "smtp", class: "4xx" },
            Smtp5xx { protocol: "smtp", class: "5xx" },
            ImapOk { protocol: "imap", class: "ok" },
            ImapNo { protocol: "imap", class: "no" },
            ImapBad { protocol: "imap", class: "bad" },
            Pop3Ok { protocol: "pop3", class: "ok" },
            Pop3Err { protocol: "pop3", class: "err" },
            Http2xx { protocol: "http", class: "2xx" },
            Http4xx { protocol: "http", class: "4xx" },
            Http5xx { protocol: "http", class: "5xx" };
        "session_received_bytes_total", "Octets that conversations received; after TLS was taken off, where it is on" =>
            SessionReceivedSmtp { protocol: "smtp" },
            SessionReceivedImap { protocol: "imap" },
            SessionReceivedPop3 { protocol: "pop3" },
            SessionReceivedHttp { protocol: "http" };
        "session_sent_bytes_total", "Octets that conversations sent; before TLS was put on, where it is on" =>
            SessionSentSmtp { protocol: "smtp" },
            SessionSentImap { protocol: "imap" },
            SessionSentPop3 { protocol: "pop3" },
            SessionSentHttp { protocol: "http" };
        "messages_accepted_total", "Messages acknowledged as durable (SMTP and APPEND)" =>
            AcceptedSmtp { protocol: "smtp" },
            AcceptedImap { protocol: "imap" };
        "messages_refused_total", "Messages refused after their body was received" =>
            MessagesRefusedSmtp { protocol: "smtp" },
            MessagesRefusedImap { protocol: "imap" };
        "messages_unknown_total", "Messages whose fate we could not tell the client" =>
            UnknownSmtp { protocol: "smtp" },
            UnknownImap { protocol: "imap" };
        "message_reads_total", "Readings of a message's octets: RETR, TOP, and each section of a FETCH" =>
            ReadImap { protocol: "imap" },
            ReadPop3 { protocol: "pop3" };
        "received_bytes_total", "Octets received from sockets" => ReceivedBytes {};
        "sent_bytes_total", "Octets sent to sockets" => SentBytes {};
        "body_copied_bytes_total", "Octets of message bodies copied in user space between receive and commit" => BodyBytesCopied {};
        "body_received_bytes_total", "Octets of message bodies received" => BodyBytesReceived {};
        "ring_enters_total", "Calls of io_uring_enter for the shard's own ring" => RingEnters {};
        "ring_completions_total", "Completions reaped from the shard's own ring" => RingCompletions {};
        "ring_syncs_total", "Completions of fdatasync reaped" => RingSyncs {};
        "ring_no_buffers_total", "Receives put off because no provided buffer was left" => RingNoBuffers {};
        "accept_paused_total", "Multishot accepts ended for want of descriptors" => AcceptPaused {};
        "mesh_requests_total", "Requests sent to another shard" => MeshRequests {};
        "mesh_full_total", "Requests refused for want of a slot or byte credit" => MeshFull {};
        "transfers_sent_total", "Transfers to another volume that ended there" => TransfersSent {};
        "transfers_received_total", "Transfers of another volume that became durable here" => TransfersReceived {};
        "transfers_bounced_total", "Copies for another volume whose account or mailbox was gone there" => TransfersBounced {};
        "transfers_dropped_total", "Copies that bounced and that no postmaster could be given" => TransfersDropped {};
        "transfers_gap_total", "Loads refused because the other volume misses transfers before them" => TransfersGap {};
        "side_jobs_total", "Jobs given to the side pool" => SideJobs {};
        "side_full_total", "Jobs refused because the side pool's queue was full" => SideFull {};
        "logins_total", "Logins that succeeded, by mechanism; command: LOGIN of IMAP, USER and PASS of POP3" =>
            LoginsCommand { mechanism: "command" },
            LoginsPlain { mechanism: "plain" },
            LoginsLogin { mechanism: "login" },
            LoginsScram { mechanism: "scram-sha-256" },
            LoginsScramPlus { mechanism: "scram-sha-256-plus" };
        "logins_wrong_total", "Logins with a wrong name or password, by mechanism" =>
            LoginsWrongCommand { mechanism: "command" },
            LoginsWrongPlain { mechanism: "plain" },
            LoginsWrongLogin { mechanism: "login" },
            LoginsWrongScram { mechanism: "scram-sha-256" },
            LoginsWrongScramPlus { mechanism: "scram-sha-256-plus" };
        "logins_refused_total", "Logins refused for another reason: the protocol is closed for the account, too many failed a moment \
            ago, too much is being verified or the account cannot be read now" =>
            LoginsClosed { reason: "closed" },
            LoginsTooMany { reason: "too-many" },
            LoginsNotNow { reason: "not-now" };
        "tls_handshakes_total", "TLS handshakes finished with a full key exchange" =>
            TlsFull13 { version: "TLSv1.3" },
            TlsFull12 { version: "TLSv1.2" };
        "tls_resumed_total", "TLS handshakes finished by resuming a session" =>
            TlsResumed13 { version: "TLSv1.3" },
            TlsResumed12 { version: "TLSv1.2" };
        "tls_failed_total", "TLS handshakes that were not finished: the client spoke other protocols alone (alpn), nothing in \
            common, refused by the client with an alert, not in time, anything else" =>
            TlsFailedAlpn { reason: "alpn" },
            TlsFailedIncompatible { reason: "incompatible" },
            TlsFailedAlert { reason: "alert" },
            TlsFailedTimeout { reason: "timeout" },
            TlsFailed { reason: "other" };
        "tls_reloads_total", "Times that the certificates were read anew" =>
            TlsReloads { outcome: "done" },
            TlsReloadsFailed { outcome: "failed" };
        "starttls_injections_total", "Connections closed because octets came between STARTTLS and its answer" => StartTlsInjections {};
        "handoffs_out_total", "Conversations that left for the shard of their account" => HandoffsOut {};
        "handoffs_in_total", "Conversations that came from another shard" => HandoffsIn {};
        "dns_lookups_total", "Questions to DNS, those answered from the cache too, by what came of them" =>
            DnsFound { outcome: "found" },
            DnsNoName { outcome: "no_name" },
            DnsNoData { outcome: "no_data" },
            DnsFailed { outcome: "failed" };
        "dns_cache_hits_total", "Questions to DNS answered from the cache" => DnsCacheHits {};
        "dns_shared_total", "Questions to DNS that waited for the same one under way" => DnsShared {};
        "dns_queries_total", "Queries sent to resolvers" =>
            DnsQueriesUdp { transport: "udp" },
            DnsQueriesTcp { transport: "tcp" };
        "dns_query_failures_total", "Queries that a resolver did not answer usefully" =>
            DnsTimeouts { reason: "timeout" },
            DnsUnreachable { reason: "unreachable" },
            DnsRefusals { reason: "refused" },
            DnsMalformed { reason: "malformed" };
        "dns_forged_total", "Answers ignored because their id or question was not ours" => DnsForged {};
        "filter_verdicts_total", "What filters made of clients; dry_run: would have refused, error: could not tell" =>
            FilterPregreetPass { filter: "pregreet", verdict: "pass" },
            FilterPregreetDryRun { filter: "pregreet", verdict: "dry_run" },
            FilterPregreetTag { filter: "pregreet", verdict: "tag" },
            FilterPregreetDefer { filter: "pregreet", verdict: "defer" },
            FilterPregreetReject { filter: "pregreet", verdict: "reject" },
            FilterPregreetError { filter: "pregreet", verdict: "error" },
            FilterDnsblPass { filter: "dnsbl", verdict: "pass" },
            FilterDnsblDryRun { filter: "dnsbl", verdict: "dry_run" },
            FilterDnsblTag { filter: "dnsbl", verdict: "tag" },
            FilterDnsblDefer { filter: "dnsbl", verdict: "defer" },
            FilterDnsblReject { filter: "dnsbl", verdict: "reject" },
            FilterDnsblError { filter: "dnsbl", verdict: "error" },
            FilterHeloPass { filter: "helo", verdict: "pass" },
            FilterHeloDryRun { filter: "helo", verdict: "dry_run" },
            FilterHeloTag { filter: "helo", verdict: "tag" },
            FilterHeloDefer { filter: "helo", verdict: "defer" },
            FilterHeloReject { filter: "helo", verdict: "reject" },
            FilterHeloError { filter: "helo", verdict: "error" },
            FilterSenderDomainPass { filter: "sender_domain", verdict: "pass" },
            FilterSenderDomainDryRun { filter: "sender_domain", verdict: "dry_run" },
            FilterSenderDomainTag { filter: "sender_domain", verdict: "tag" },
            FilterSenderDomainDefer { filter: "sender_domain", verdict: "defer" },
            FilterSenderDomainReject { filter: "sender_domain", verdict: "reject" },
            FilterSenderDomainError { filter: "sender_domain", verdict: "error" },
            FilterGreylistPass { filter: "greylist", verdict: "pass" },
            FilterGreylistDryRun { filter: "greylist", verdict: "dry_run" },
            FilterGreylistTag { filter: "greylist", verdict: "tag" },
            FilterGreylistDefer { filter: "greylist", verdict: "defer" },
            FilterGreylistReject { filter: "greylist", verdict: "reject" },
            FilterGreylistError { filter: "greylist", verdict: "error" };
        "filter_helo_total", "Names in EHLO that were found wrong, by what is wrong with them, whatever was done about it" =>
            FilterHeloInvalid { form: "invalid" },
            FilterHeloNotFqdn { form: "not_fqdn" },
            FilterHeloOurs { form: "ours" },
            FilterHeloLiteral { form: "literal" },
            FilterHeloUnknown { form: "unknown" };
        "filter_lists_failed_total", "Lists of addresses that did not answer in time, or refused to" => FilterListsFailed {};
        "filter_forgotten_total", "Triplets and networks that greylisting had to forget for others" => FilterForgotten {};
        "panics_total", "Tasks that panicked and were contained" => Panics {};
    }
}

families! {
    /// Everything of which a shard knows how much there is now.
    Gauge {
        "connections_open", "Connections being served" =>
            OpenSmtp { protocol: "smtp" },
            OpenImap { protocol: "imap" },
            OpenPop3 { protocol: "pop3" },
            OpenHttp { protocol: "http" };
        "dns_questions_open", "Questions to DNS under way" => DnsOpen {};
    }
}

/// What the conversations of one protocol count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Commands executed.
    pub commands: Counter,
    /// Octets received.
    pub received_bytes: Counter,
    /// Octets sent.
    pub sent_bytes: Counter,
}

macro_rules! ledgers {
    ($($name:ident, $commands:ident, $received:ident, $sent:ident;)+) => {
        impl Ledger {
            $(
                #[doc = concat!(stringify!($name), "'s.")]
                pub const $name: Ledger =
                    Ledger { commands: Counter::$commands, received_bytes: Counter::$received, sent_bytes: Counter::$sent };
            )+
        }
    };
}

ledgers! {
    SMTP, CommandsSmtp, SessionReceivedSmtp, SessionSentSmtp;
    IMAP, CommandsImap, SessionReceivedImap, SessionSentImap;
    POP3, CommandsPop3, SessionReceivedPop3, SessionSentPop3;
    HTTP, CommandsHttp, SessionReceivedHttp, SessionSentHttp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_and_families_stand_together() {
        let mut seen: Vec<&str> = Vec::new();
        let all = Counter::ALL.iter().map(|c| (c.shown(), true)).chain(Gauge::ALL.iter().map(|g| (g.shown(), false)));
        for (shown, counts) in all {
            assert_eq!(shown.name.ends_with("_total"), counts, "{}", shown.name);
            assert!(shown.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", shown.name);
            assert!(!shown.help.is_empty() && !shown.help.ends_with('.'), "{}", shown.help);
            if seen.last() != Some(&shown.name) {
                assert!(!seen.contains(&shown.name), "{} is torn apart", shown.name);
                seen.push(shown.name);
            }
        }
    }
}
