//! `ringpost dns`: ask DNS as the server would, through the resolvers it is configured with. No server needs to run.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use super::{say, say_json};
use crate::config::{self, Asked, Key, Value};
use crate::dns::{Absent, Family, Lookup, Name, Resolver, Settings, resolv_conf};
use crate::shard::{self, Mesh, Plan, plan};

/// Ask DNS as the server does: the same resolvers, checks and bounds, with a cache of its own.
///
/// Exit code 0: found. 1: no such name, nothing of that kind, or nobody could say; a sentence tells which.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ringpost dns mx example.org
  ringpost dns address mx.example.org --data /var/lib/ringpost
  ringpost dns ptr 192.0.2.1
  ringpost dns txt _dmarc.example.org --resolver 127.0.0.1 --json")]
pub(super) struct DnsArgs {
    /// What is asked for.
    #[arg(value_enum)]
    kind: Wanted,
    /// The name; for ptr an address.
    name: String,
    /// Ask this resolver (ADDRESS or ADDRESS:PORT) instead of the configured ones. May be given again.
    #[arg(long, value_name = "ADDRESS")]
    resolver: Vec<String>,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
    /// The configuration file [default: ringpost.toml in the data directory, if it is there].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory [default: ringpost-data, or what the file says].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// Mail exchangers.
    Mx,
    /// Addresses, IPv4 and IPv6.
    Address,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Texts.
    Txt,
    /// Names of an address.
    Ptr,
}

/// A question that can be asked.
#[derive(Clone)]
enum Question {
    Of(Wanted, Name),
    Names(IpAddr),
}

pub(super) fn run(args: DnsArgs) -> Result<(), String> {
    let question = match args.kind {
        Wanted::Ptr => {
            let address =
                args.name.parse().map_err(|_| format!("`{}` is not an address: write one for ptr", args.name))?;
            Question::Names(address)
        }
        kind => Question::Of(kind, Name::parse(&args.name).map_err(|why| format!("`{}` is {why}", args.name))?),
    };
    let settings = settings(&args)?;
    let answer = on_a_shard(settings, question)?;
    if args.json {
        say_json(&as_json(&answer))?;
    }
    match answer {
        Lookup::Found(found) => {
            if !args.json {
                found.records.iter().for_each(|record| say(&format!("{record}\n")));
                let whose =
                    if found.name.as_str() == args.name { String::new() } else { format!(" of {}", found.name) };
                let validated = if found.authentic { ", validated by the resolver" } else { "" };
                say(&format!("# {} record(s){whose}, for {} s{validated}\n", found.records.len(), found.ttl_s));
            }
            Ok(())
        }
        Lookup::NoName(Absent { ttl_s, .. }) => Err(format!("there is no such name (for {ttl_s} s)")),
        Lookup::NoData(Absent { ttl_s, .. }) => Err(format!("the name is there, without such records (for {ttl_s} s)")),
        Lookup::Failed(why) => Err(format!("no answer for now: {why}")),
    }
}

fn settings(args: &DnsArgs) -> Result<Settings, String> {
    let mut asked = Asked { file: args.config.clone(), ..Asked::default() };
    asked.flag(Key::Data, "--data", args.data.clone().map(Value::Path));
    asked.flag(
        Key::DnsResolvers,
        "--resolver",
        (!args.resolver.is_empty()).then(|| Value::Names(args.resolver.clone())),
    );
    for text in &args.resolver {
        resolv_conf::address(text)
            .ok_or_else(|| format!("--resolver: `{text}` is not an address: write one as 127.0.0.1:53"))?;
    }
    Ok(config::load(&asked).map_err(|mistakes| mistakes.to_string())?.dns())
}

/// Asks on a shard made for it.
fn on_a_shard(settings: Settings, question: Question) -> Result<Lookup<String>, String> {
    let (tell, hear) = mpsc::channel();
    let cpus = plan::cpus(Some(1), None).map_err(|why| why.to_string())?;
    let plan = Plan { ring_entries: 64, recv_buffers: 64, ..Plan::for_cpus(cpus) };
    shard::run(plan, move |_: Mesh<(), ()>| {
        let (settings, question, tell) = (settings.clone(), question.clone(), tell.clone());
        async move {
            let answer = ask(&Resolver::new(settings), question).await;
            // It is waited for below.
            let _ = tell.send(answer);
            Ok(())
        }
    })
    .map_err(|why| why.to_string())?;
    hear.recv().map_err(|_| "the question was not answered: see the log".to_owned())
}

async fn ask(resolver: &Resolver, question: Question) -> Lookup<String> {
    let (kind, name) = match question {
        Question::Names(address) => return shown(resolver.lookup_ptr(address).await),
        Question::Of(kind, name) => (kind, name),
    };
    match kind {
        Wanted::Mx => resolver.lookup_mx(&name).await.map(|mx| {
            let host = mx.exchange.map_or(".".to_owned(), |host| host.to_string());
            Some(format!("{} {host}", mx.preference))
        }),
        Wanted::Txt => resolver.lookup_txt(&name).await.map(|text| Some(text.escape_ascii().to_string())),
        Wanted::A => shown(resolver.lookup_address(&name, Family::V4).await),
        Wanted::Aaaa => shown(resolver.lookup_address(&name, Family::V6).await),
        Wanted::Address => shown(resolver.lookup_address(&name, Family::Any).await),
        Wanted::Ptr => unreachable!("asked by its address"),
    }
}

fn shown<T: Display>(answer: Lookup<T>) -> Lookup<String> {
    answer.map(|record| Some(record.to_string()))
}

fn as_json(answer: &Lookup<String>) -> Json {
    let absent =
        |outcome, absent: &Absent| json!({ "outcome": outcome, "ttl_s": absent.ttl_s, "authentic": absent.authentic });
    match answer {
        Lookup::Found(f) => {
            json!({ "outcome": "found", "records": f.records, "name": f.name.as_str(), "ttl_s": f.ttl_s, "authentic": f.authentic })
        }
        Lookup::NoName(a) => absent("no_name", a),
        Lookup::NoData(a) => absent("no_data", a),
        Lookup::Failed(why) => json!({ "outcome": "failed", "reason": why.to_string() }),
    }
}
