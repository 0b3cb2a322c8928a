//! Requests and answers as lines of JSON.

use std::collections::BTreeMap;

use super::*;

fn read(line: &str) -> Result<Request, String> {
    Request::read(line.as_bytes()).map_err(|response| match response {
        Response::Refused { error } => error,
        other => panic!("{other:?}"),
    })
}

#[test]
fn requests_are_read_from_one_line_each() {
    assert!(matches!(read(r#"{"verb":"stats"}"#), Ok(Request::Stats { per_shard: false })));
    assert!(matches!(read(r#"{"verb":"stats","per_shard":true}"#), Ok(Request::Stats { per_shard: true })));
    assert!(matches!(read(r#"{"verb":"stop"}"#), Ok(Request::Stop {})));
    assert!(
        matches!(read(r#"{"verb":"domain-add","domain":"a.test"}"#), Ok(Request::DomainAdd { domain }) if domain == "a.test")
    );
    assert!(matches!(read(r#"{"verb":"account-list"}"#), Ok(Request::AccountList { domain: None })));
    let Ok(Request::AccountAdd { accounts }) =
        read(r#"{"verb":"account-add","accounts":[{"address":"a@b.test","password":"x"},{"address":"c@b.test"}]}"#)
    else {
        panic!("an account-add is read")
    };
    assert_eq!(accounts[0].password.as_ref().map(|p| p.0.as_str()), Some("x"));
    assert!(accounts[1].password.is_none());
    assert!(
        matches!(read(r#"{"verb":"account-passwd","address":"a@b.test","password":"x"}"#), Ok(Request::AccountPasswd { account }) if account.address == "a@b.test")
    );
}

#[test]
fn what_is_no_request_is_refused() {
    for line in
        ["", "{}", "[]", r#"{"verb":"shutdown"}"#, r#"{"verb":"domain-add"}"#, r#"{"verb":"stats","x":1}"#, "\u{0}"]
    {
        assert!(read(line).is_err(), "{line}");
    }
    let many = r#"{"address":"a@b.test"},"#.repeat(ACCOUNTS_PER_REQUEST_MAX);
    let many = format!(r#"{{"verb":"account-add","accounts":[{many}{{"address":"a@b.test"}}]}}"#);
    assert!(read(&many).is_err_and(|why| why.contains("at most 1000")));
    assert!(read(r#"{"verb":"shutdown"}"#).is_err_and(|why| why.contains("account-add")), "the verbs are named");
}

#[test]
fn passwords_are_not_in_what_is_logged() {
    let request = read(r#"{"verb":"account-passwd","address":"a@b.test","password":"hush"}"#).unwrap();
    assert!(!format!("{request:?} {:?}", request.title()).contains("hush"));
}

#[test]
fn answers_are_objects_that_keep_their_shape() {
    let counters = BTreeMap::from([("batches_total".to_owned(), 3)]);
    let line =
        serde_json::to_string(&Response::Counters { counters, measures: BTreeMap::new(), shards: Vec::new() }).unwrap();
    assert_eq!(line, r#"{"answer":"counters","counters":{"batches_total":3},"measures":{}}"#);
    let refused = serde_json::to_string(&Response::from(Trouble::Refused("no".to_owned()))).unwrap();
    assert_eq!(refused, r#"{"answer":"refused","error":"no"}"#);
    assert_eq!(serde_json::to_string(&Response::Done).unwrap(), r#"{"answer":"done"}"#);
    let read: Response = serde_json::from_str(r#"{"answer":"accounts","accounts":[{"address":"a@b.test"}]}"#).unwrap();
    assert!(matches!(read, Response::Accounts { accounts } if accounts[0].password.is_none()));
}

#[test]
fn only_what_changes_something_waits_for_its_turn() {
    for (line, changes) in [
        (r#"{"verb":"stats"}"#, false),
        (r#"{"verb":"account-list"}"#, false),
        (r#"{"verb":"store","account":"a","ask":{"do":"messages","mailbox":1,"after":0}}"#, true),
        (r#"{"verb":"store","account":"a","ask":{"do":"read","mailbox":1,"uid":1,"offset":0,"len":9}}"#, false),
        (r#"{"verb":"domain-remove","domain":"a"}"#, true),
        (r#"{"verb":"account-remove","address":"a"}"#, true),
    ] {
        assert_eq!(read(line).unwrap().changes(), changes, "{line}");
    }
}
