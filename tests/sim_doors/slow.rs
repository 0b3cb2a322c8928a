//! Clients that trickle: no phase of a conversation can be kept open by an octet now and then.

use std::time::Duration;

use ringpost::shard;

use crate::{Client, POP3, SMTP, SUBMISSION, over_seeds};

/// Sends these, an octet every `pause`, until the server has had enough; how long that took, and what it said last.
async fn trickle(port: u16, text: &[u8], pause: Duration) -> (Duration, String) {
    let mut client = Client::connect(port).await;
    client.line().await;
    let began = shard::now();
    let mut said = String::new();
    for octet in text.iter().cycle() {
        if client.stream.send(vec![*octet]).await.0.is_err() {
            break;
        }
        client.stream.set_deadline(Some(shard::now().after(pause)));
        match client.stream.recv().await {
            Ok(chunk) if chunk.is_empty() => break,
            Ok(chunk) => said += &String::from_utf8_lossy(&chunk),
            Err(why) if why.kind() == std::io::ErrorKind::TimedOut => {}
            Err(_) => break,
        }
        assert!(shard::now().since(began) < Duration::from_secs(3_600), "port {port} waits forever");
    }
    (shard::now().since(began), said)
}

#[test]
fn r17_a_command_that_trickles_in_is_cut() {
    over_seeds(async |_, _| {
        for (port, most_s, farewell) in
            [(SMTP, 300, "421 4.4.2 "), (SUBMISSION, 300, "421 4.4.2 "), (POP3, 60, "-ERR ")]
        {
            for pause_s in [1, 25] {
                let (took, said) = trickle(port, b"USER", Duration::from_secs(pause_s)).await;
                let most = Duration::from_secs(most_s + pause_s + 5);
                assert!(took <= most && took.as_secs() + pause_s >= most_s, "{took:?} at port {port}");
                assert!(said.is_empty() || said.starts_with(farewell), "{said}");
            }
        }
    });
}
