//! A fake name server (RFC 1035 over UDP) for tests of what names lead to: it answers by table, also with answers that change
//! from one question to the next, which is how rebinding works.
//!
//! It refuses to know anything but A, AAAA and CNAME.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_AAAA: u16 = 28;
const HEADER_BYTES: usize = 12;
/// Most aliases that are followed for one answer.
const ALIASES_MAX: usize = 8;

/// One record of a name. All live for zero seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Another name.
    Cname(String),
}

impl Record {
    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => TYPE_A,
            Self::Aaaa(_) => TYPE_AAAA,
            Self::Cname(_) => TYPE_CNAME,
        }
    }
}

impl From<std::net::IpAddr> for Record {
    fn from(address: std::net::IpAddr) -> Self {
        match address {
            std::net::IpAddr::V4(address) => Self::A(address),
            std::net::IpAddr::V6(address) => Self::Aaaa(address),
        }
    }
}

#[derive(Default)]
struct State {
    /// What a name has at its first question, its second, …; the last one stays.
    names: BTreeMap<String, Vec<Vec<Record>>>,
    asked: HashMap<(String, u16), usize>,
}

/// A running name server; stops when dropped.
pub struct FakeDns {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl FakeDns {
    /// Listens on a free port of this machine. A name that is not in the table does not exist.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(serve(socket, Arc::clone(&state)));
        Ok(Self { address, state, task })
    }

    /// Where to ask.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gives a name these records.
    pub fn set(&self, name: &str, records: impl IntoIterator<Item = Record>) {
        self.in_turn(name, vec![records.into_iter().collect()]);
    }

    /// Gives a name other records at each question of a kind; the last ones stay.
    pub fn in_turn(&self, name: &str, turns: Vec<Vec<Record>>) {
        lock(&self.state).names.insert(name.to_ascii_lowercase(), turns);
    }

    /// How often the addresses of a name were asked for, by kind: IPv4, IPv6.
    pub fn asked(&self, name: &str) -> (usize, usize) {
        let state = lock(&self.state);
        let count = |kind| state.asked.get(&(name.to_ascii_lowercase(), kind)).copied().unwrap_or(0);
        (count(TYPE_A), count(TYPE_AAAA))
    }
}

impl Drop for FakeDns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut question = [0; 1_500];
    while let Ok((length, from)) = socket.recv_from(&mut question).await {
        let answer = answer(&question[..length], &state);
        if let Some(answer) = answer {
            // Whoever asked may be gone.
            drop(socket.send_to(&answer, from).await);
        }
    }
}

/// The answer to one message with one question; `None` if it cannot be read.
fn answer(message: &[u8], state: &Mutex<State>) -> Option<Vec<u8>> {
    let (name, end) = read_name(message)?;
    let kind = u16::from_be_bytes(message.get(end..end + 2)?.try_into().ok()?);
    let question = message.get(HEADER_BYTES..end + 4)?;
    let mut state = lock(state);
    let turn = state.asked.entry((name.clone(), kind)).or_default();
    let now = *turn;
    *turn += 1;
    let known = state.names.contains_key(&name);
    let records = if known { state.resolve(&name, kind, now) } else { Vec::new() };

    let code: u8 = if known { 0 } else { 3 };
    let mut out = message.get(..2)?.to_vec();
    out.extend([0x85, 0x80 | code, 0, 1]);
    out.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    out.extend([0; 4]);
    out.extend(question);
    for (owner, record) in &records {
        write_name(&mut out, owner);
        out.extend(record.kind().to_be_bytes());
        out.extend([0, 1, 0, 0, 0, 0]);
        let data = match record {
            Record::A(address) => address.octets().to_vec(),
            Record::Aaaa(address) => address.octets().to_vec(),
            Record::Cname(name) => {
                let mut data = Vec::new();
                write_name(&mut data, name);
                data
            }
        };
        out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        out.extend(data);
    }
    Some(out)
}

impl State {
    /// The records of this kind, after the aliases that lead to them.
    fn resolve(&self, name: &str, kind: u16, turn: usize) -> Vec<(String, Record)> {
        let mut found = Vec::new();
        let mut owner = name.to_owned();
        for _ in 0..ALIASES_MAX {
            let turns = self.names.get(&owner).map(Vec::as_slice).unwrap_or_default();
            let records = turns.get(turn.min(turns.len().saturating_sub(1))).cloned().unwrap_or_default();
            let alias = records.iter().find_map(|record| match record {
                Record::Cname(target) => Some(target.to_ascii_lowercase()),
                Record::A(_) | Record::Aaaa(_) => None,
            });
            let fitting = records.into_iter().filter(|record| record.kind() == kind || record.kind() == TYPE_CNAME);
            found.extend(fitting.map(|record| (owner.clone(), record)));
            match alias {
                Some(alias) => owner = alias,
                None => break,
            }
        }
        found
    }
}

/// The name of the first question in lower case, and where it ends.
fn read_name(message: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER_BYTES;
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => return Some((labels.join("."), at)),
            1..=63 => {
                let label = message.get(at..at + length)?;
                labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
                at += length;
            }
            _ => return None,
        }
    }
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    for label in name.trim_end_matches('.').split('.') {
        out.push(u8::try_from(label.len()).expect("a label has at most 63 bytes"));
        out.extend(label.as_bytes());
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_gets_the_records_of_its_turn() {
        let dns = FakeDns::start().await.unwrap();
        let address = |last| Record::A(Ipv4Addr::new(192, 0, 2, last));
        dns.in_turn("a.test", vec![vec![address(1)], vec![Record::Cname("b.test".to_owned())]]);
        dns.set("b.test", [address(2)]);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let ask = async |name: &str| {
            let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            write_name(&mut question, name);
            question.extend([0, 1, 0, 1]);
            socket.send_to(&question, dns.address()).await.unwrap();
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer).await.unwrap();
            (answer[3] & 15, answer[7], answer[length - 4..length].to_vec())
        };
        assert_eq!(ask("A.test").await, (0, 1, vec![192, 0, 2, 1]));
        assert_eq!(ask("a.test").await, (0, 2, vec![192, 0, 2, 2]));
        assert_eq!(ask("c.test").await.0, 3);
        assert_eq!(dns.asked("a.test"), (2, 0));
    }
}
