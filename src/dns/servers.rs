//! The resolvers, and which of them is asked first. Pure: the time is told.

use std::net::SocketAddr;
use std::time::Duration;

use crate::limits::DNS_RESOLVER_REST_S;
use crate::shard::Moment;

/// The resolvers of a shard.
pub struct Servers(Vec<Server>);

struct Server {
    at: SocketAddr,
    /// It did not answer: until then it is asked after those who do.
    rests_until: Moment,
}

impl Servers {
    /// In the order in which they are to be asked.
    #[must_use]
    pub fn new(list: &[SocketAddr]) -> Servers {
        Servers(list.iter().map(|at| Server { at: *at, rests_until: Moment(0) }).collect())
    }

    /// All of them: those who answer in their order, then the others, from the one whose rest ends first.
    #[must_use]
    pub fn in_order(&self, now: Moment) -> Vec<SocketAddr> {
        let mut order: Vec<&Server> = self.0.iter().collect();
        order.sort_by_key(|server| if server.rests_until <= now { Moment(0) } else { server.rests_until });
        order.into_iter().map(|server| server.at).collect()
    }

    /// This one did not answer.
    pub fn rest(&mut self, at: SocketAddr, now: Moment) {
        self.set(at, now.after(Duration::from_secs(DNS_RESOLVER_REST_S)));
    }

    /// This one did.
    pub fn well(&mut self, at: SocketAddr) {
        self.set(at, Moment(0));
    }

    fn set(&mut self, at: SocketAddr, rests_until: Moment) {
        self.0.iter_mut().filter(|server| server.at == at).for_each(|server| server.rests_until = rests_until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_asked_last_for_a_while() {
        let [a, b, c] = [1, 2, 3].map(|n| SocketAddr::from(([127, 0, 0, n], 53)));
        let mut servers = Servers::new(&[a, b, c]);
        let at = |s| Moment(0).after(Duration::from_secs(s));
        assert_eq!(servers.in_order(at(1)), [a, b, c]);
        servers.rest(a, at(1));
        servers.rest(b, at(2));
        assert_eq!(servers.in_order(at(3)), [c, a, b]);
        servers.well(b);
        assert_eq!(servers.in_order(at(3)), [b, c, a]);
        assert_eq!(servers.in_order(at(1 + DNS_RESOLVER_REST_S)), [a, b, c]);
    }
}
