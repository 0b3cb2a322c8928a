//! What the file says of filters, and what it may not say.

use std::time::Duration;

use super::{in_force, refused};
use crate::filter::helo::Form;
use crate::filter::{Mode, RefuseAt};

#[test]
fn filters_are_off_unless_the_file_switches_them_on() {
    let none = in_force("").config().settings.filter;
    assert!(!none.any_on());
    let text = "[filter]\nexempt = [\"192.0.2.0/24\"]\nrefuse_at = \"mail\"\n\
                [filter.pregreet]\nmode = \"tag\"\nwait_ms = 0\n\
                [filter.dnsbl]\nmode = \"reject\"\nlists = [\"zen.test=127.0.0.[2..11]*3\", \"good.test*-2\"]\nthreshold = 3\n\
                [filter.helo]\nours = \"reject\"\nunknown = \"dry-run\"\n\
                [filter.sender_domain]\nmode = \"defer\"\non_failure = \"accept\"\n\
                [filter.greylist]\nmode = \"defer\"\ndelay_s = 60\nkeep_days = 365\n";
    let settings = in_force(text).config().settings.filter;
    assert_eq!((settings.exempt.len(), settings.refuse_at), (1, RefuseAt::Mail));
    assert_eq!(
        (settings.pregreet.mode, settings.pregreet.wait, settings.pregreet.teaser),
        (Mode::Tag, Duration::ZERO, true)
    );
    let weights: Vec<i32> = settings.dnsbl.sites.iter().map(|site| site.weight).collect();
    assert_eq!((settings.dnsbl.mode, weights, settings.dnsbl.threshold), (Mode::Reject, vec![3, -2], 3));
    let modes = Form::ALL.map(|form| settings.helo.of(form));
    assert_eq!(modes, [Mode::Off, Mode::Off, Mode::Reject, Mode::Off, Mode::DryRun]);
    assert_eq!((settings.sender_domain.mode, settings.sender_domain.accept_on_failure), (Mode::Defer, true));
    let greylist = settings.greylist;
    assert_eq!(
        (greylist.mode, greylist.delay_s, greylist.window_s, greylist.keep_s),
        (Mode::Defer, 60, 172_800, 31_536_000)
    );
}

#[test]
fn mistakes_in_filters_are_said_where_they_are() {
    let said = |text: &str| refused(text, &[]).into_iter().next().unwrap_or_default();
    let nobody = said("[filter.dnsbl]\nmode = \"tag\"\n");
    assert!(nobody.starts_with("2:8: filter.dnsbl.mode: there is nobody to ask: "), "{nobody}");
    let list = said("[filter.dnsbl]\nlists = [\"good.test\", \"bad.test=127.0.0\"]\n");
    assert!(list.starts_with("2:23: filter.dnsbl.lists: `bad.test=127.0.0` is no list: "), "{list}");
    let many = said(&format!("[filter.dnsbl]\nlists = [{}]\n", "\"a.test\", ".repeat(17)));
    assert!(many.contains("17 are too many: name at most 16"), "{many}");
    let late = said("[filter.greylist]\ndelay_s = 3600\nwindow_s = 3600\n");
    assert!(late.starts_with("3:12: filter.greylist.window_s: nobody could come again"), "{late}");
    let word = said("[filter.greylist]\nmode = \"reject\"\n");
    assert!(word.contains("\"off\" or \"dry-run\" or \"defer\""), "{word}");
    let name = said("[filter.helo]\nunknwon = \"tag\"\n");
    assert!(name.contains("did you mean `filter.helo.unknown`?"), "{name}");
}
