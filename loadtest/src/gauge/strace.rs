//! Counts the server's system calls with `strace -c -f`, over a phase of its own: it slows the server a
//! lot, so nothing else is measured meanwhile. It cannot see what io_uring does without a call.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A running strace.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Strace {
    /// Attaches to all threads of `pid` and waits until it has.
    pub fn attach(pid: u32) -> io::Result<Strace> {
        let mut child = Command::new("strace")
            .args(["-c", "-f", "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stderr = BufReader::new(child.stderr.take().expect("it was piped"));
        let mut line = String::new();
        stderr.read_line(&mut line)?;
        if !line.contains("attached") {
            child.wait()?;
            return Err(io::Error::other(line));
        }
        Ok(Strace { child, stderr })
    }

    /// Detaches and returns calls by name.
    pub fn finish(mut self) -> io::Result<BTreeMap<String, u64>> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT)?;
        let mut text = String::new();
        self.stderr.read_to_string(&mut text)?;
        self.child.wait()?;
        Ok(parse(&text))
    }
}

/// Rows of strace's table: `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if let [share, _, _, count, .., name] = words[..]
            && share.parse::<f64>().is_ok()
            && name != "total"
            && let Ok(count) = count.parse()
        {
            calls.insert(name.to_owned(), count);
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_and_its_total_is_not_a_call() {
        let text = "strace: Process 7 detached\n\
            % time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
             99.00    1.000000          10      1200           io_uring_enter\n\
              1.00    0.010000           5        20         3 futex\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    1.010000                  1220         3 total\n";
        let calls = parse(text);
        assert_eq!(calls.len(), 2);
        assert_eq!((calls["io_uring_enter"], calls["futex"]), (1_200, 20));
    }
}
