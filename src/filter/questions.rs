//! Asks DNS for the filters: several questions at once, none of them waited for longer than the filters may wait.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future::{or, zip};

use super::dnsbl::Site;
use super::{helo, sender_domain};
use crate::dns::resolver::Family;
use crate::dns::{Lookup, Name, Resolver};
use crate::shard;

/// What comes of `work` if it comes in time.
pub(super) async fn in_time<T>(wait: Duration, work: impl Future<Output = T>) -> Option<T> {
    let late = async {
        shard::sleep(wait).await;
        None
    };
    or(async { Some(work.await) }, late).await
}

/// What each list has under this address, `None` where nothing came in time; and how long that took.
pub(super) async fn lists(
    resolver: &Resolver,
    sites: &[Site],
    ip: IpAddr,
    wait: Duration,
) -> Vec<(Option<Lookup<IpAddr>>, Duration)> {
    let began = shard::now();
    type Asked<'a> = Pin<Box<dyn Future<Output = Lookup<IpAddr>> + 'a>>;
    let ask = |site: &Site| -> Asked<'_> {
        let name = site.name_of(ip);
        Box::pin(async move { resolver.lookup_address(&name, Family::V4).await })
    };
    let mut asked: Vec<Option<Asked<'_>>> = sites.iter().map(|site| Some(ask(site))).collect();
    let mut answers = vec![(None, wait); sites.len()];
    let all = poll_fn(|cx| {
        for (asked, answer) in asked.iter_mut().zip(&mut answers) {
            if let Some(Poll::Ready(said)) = asked.as_mut().map(|asked| asked.as_mut().poll(cx)) {
                (*asked, *answer) = (None, (Some(said), shard::now().since(began)));
            }
        }
        if asked.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    });
    // What is not here in time stays `None`.
    let _ = in_time(wait, all).await;
    answers
}

/// How a domain is to be reached.
pub(super) async fn domain(resolver: &Resolver, name: &Name) -> sender_domain::Domain {
    let mx = resolver.lookup_mx(name).await;
    let address = match mx {
        Lookup::NoData(_) => Some(resolver.lookup_address(name, Family::Any).await),
        _ => None,
    };
    sender_domain::judge(&mx, address.as_ref())
}

/// True: there is no such host; `None`: nobody can tell.
pub(super) async fn is_unknown(resolver: &Resolver, name: &Name) -> Option<bool> {
    let (address, mx) = zip(resolver.lookup_address(name, Family::Any), resolver.lookup_mx(name)).await;
    helo::is_unknown(&address, Some(&mx))
}
