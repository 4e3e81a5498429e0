//! The part of the DNS wire format (RFC 1035) that a cluster's name server speaks: one question in, records out.

use std::net::Ipv4Addr;

/// Seconds a client may remember an answer.
const TTL: u32 = 5;
const CLASS_IN: u16 = 1;
/// Points back to the name of the question.
const QUESTION_NAME: u16 = 0xC00C;

/// Record types answered here.
pub(super) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const ANY: u16 = 255;
}

/// A question as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub id: u16,
    pub recursion_desired: bool,
    /// Lower case, without the final dot.
    pub name: String,
    pub kind: u16,
    /// The name, type and class as they came, to be repeated in the answer.
    raw: Vec<u8>,
    /// Largest UDP answer the client takes.
    pub udp_limit: usize,
}

/// Data of one record; its owner is the name of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    A(Ipv4Addr),
    Cname(String),
    Srv { port: u16, target: String },
}

/// Outcome of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The name exists; there may be no record of the wanted type.
    Records(Vec<Record>),
    /// The name does not exist in a zone this server is the authority for.
    NoSuchName { zone: &'static str },
    /// The name belongs to nobody this server knows.
    Refused,
}

/// Why a message gets no real answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not even an id to answer to, or not a question.
    Ignore,
    /// Malformed.
    Format { id: u16 },
    /// A kind of request this server does not know.
    NotImplemented { id: u16 },
}

impl Question {
    /// Reads a message.
    pub(super) fn parse(message: &[u8]) -> Result<Question, Fault> {
        let word = |at: usize| message.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
        let (Some(id), Some(flags)) = (word(0), word(2)) else { return Err(Fault::Ignore) };
        if flags & 0x8000 != 0 {
            return Err(Fault::Ignore);
        }
        if flags & 0x7800 != 0 {
            return Err(Fault::NotImplemented { id });
        }
        let fault = Fault::Format { id };
        if word(4) != Some(1) {
            return Err(fault);
        }
        let mut labels = Vec::new();
        let mut at = 12;
        loop {
            let length = usize::from(*message.get(at).ok_or(fault)?);
            at += 1;
            match length {
                0 => break,
                1..=63 => {
                    let label = message.get(at..at + length).ok_or(fault)?;
                    labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
                    at += length;
                }
                // A question has nothing before it to point to.
                _ => return Err(fault),
            }
        }
        let kind = word(at).ok_or(fault)?;
        let raw = message.get(12..at + 4).ok_or(fault)?.to_vec();
        // Whoever sends an EDNS record takes at least what fits one packet everywhere.
        let udp_limit = if word(10).unwrap_or(0) > 0 { 1232 } else { 512 };
        Ok(Question {
            id,
            recursion_desired: flags & 0x0100 != 0,
            name: labels.join("."),
            kind,
            raw,
            udp_limit,
        })
    }

    /// Writes the answer; more than `limit` bytes become an empty, truncated answer that sends the client to TCP.
    pub(super) fn answer(&self, answer: &Answer, limit: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(limit.min(512));
        let (records, code) = match answer {
            Answer::Records(records) => (records.as_slice(), 0),
            Answer::NoSuchName { .. } => (&[][..], 3),
            Answer::Refused => (&[][..], 5),
        };
        let zone = match answer {
            Answer::NoSuchName { zone } => Some(*zone),
            Answer::Records(records) if records.is_empty() => Some(super::ZONE),
            _ => None,
        };
        let authoritative = !matches!(answer, Answer::Refused);
        self.header(&mut out, authoritative, code, records.len(), usize::from(zone.is_some()));
        out.extend(&self.raw);
        for record in records {
            write_record(&mut out, record);
        }
        if let Some(zone) = zone {
            write_authority(&mut out, zone);
        }
        if out.len() > limit {
            out.clear();
            self.header(&mut out, authoritative, code, 0, 0);
            out[2] |= 0x02;
            out.extend(&self.raw);
        }
        out
    }

    fn header(&self, out: &mut Vec<u8>, authoritative: bool, code: u16, answers: usize, authorities: usize) {
        let flags = 0x8000
            | (u16::from(authoritative) << 10)
            | (u16::from(self.recursion_desired) << 8)
            // Recursion is offered, as stub resolvers expect of the server in their configuration.
            | 0x0080
            | code;
        for field in [self.id, flags, 1, count(answers), count(authorities), 0] {
            out.extend(field.to_be_bytes());
        }
    }
}

/// Answers a message that is no question; `None` for those better ignored.
pub(super) fn fault(fault: Fault) -> Option<Vec<u8>> {
    let (id, code) = match fault {
        Fault::Ignore => return None,
        Fault::Format { id } => (id, 1_u16),
        Fault::NotImplemented { id } => (id, 4),
    };
    Some([id, 0x8000 | code, 0, 0, 0, 0].iter().flat_map(|field| field.to_be_bytes()).collect())
}

fn count(items: usize) -> u16 {
    u16::try_from(items).unwrap_or(u16::MAX)
}

fn write_record(out: &mut Vec<u8>, record: &Record) {
    let (kind, data) = match record {
        Record::A(address) => (kind::A, address.octets().to_vec()),
        Record::Cname(target) => (kind::CNAME, name(target)),
        Record::Srv { port, target } => {
            let mut data =
                [0, 100, *port].iter().flat_map(|field: &u16| field.to_be_bytes()).collect::<Vec<u8>>();
            data.extend(name(target));
            (kind::SRV, data)
        }
    };
    out.extend(QUESTION_NAME.to_be_bytes());
    write_rest(out, kind, &data);
}

/// The SOA record that tells a client how long a name or type stays unknown.
fn write_authority(out: &mut Vec<u8>, zone: &str) {
    let mut data = name(&format!("ns.dns.{zone}"));
    data.extend(name(&format!("hostmaster.{zone}")));
    for field in [1, 7200, 1800, 86400, TTL] {
        data.extend(field.to_be_bytes());
    }
    out.extend(name(zone));
    write_rest(out, kind::SOA, &data);
}

fn write_rest(out: &mut Vec<u8>, kind: u16, data: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.extend(TTL.to_be_bytes());
    out.extend(count(data.len()).to_be_bytes());
    out.extend(data);
}

fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        let bytes = &label.as_bytes()[..label.len().min(63)];
        out.push(u8::try_from(bytes.len()).unwrap_or(63));
        out.extend(bytes);
    }
    out.push(0);
    out
}

#[cfg(test)]
pub(super) fn ask(text: &str, kind: u16) -> Vec<u8> {
    let mut message: Vec<u8> =
        [7_u16, 0x0100, 1, 0, 0, 0].iter().flat_map(|field| field.to_be_bytes()).collect();
    message.extend(name(text));
    message.extend(kind.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_is_read_case_insensitively() {
        let question = Question::parse(&ask("Web.NS.svc.cluster.local", kind::A)).unwrap();
        assert_eq!(
            (question.id, question.name.as_str(), question.kind),
            (7, "web.ns.svc.cluster.local", kind::A)
        );
    }

    #[test]
    fn answers_and_garbage_are_not_answered_and_other_requests_refused() {
        assert_eq!(Question::parse(b"\0"), Err(Fault::Ignore));
        let mut response = ask("a", kind::A);
        response[2] |= 0x80;
        assert_eq!(Question::parse(&response), Err(Fault::Ignore));
        let mut update = ask("a", kind::A);
        update[2] |= 5 << 3;
        assert_eq!(Question::parse(&update), Err(Fault::NotImplemented { id: 7 }));
        let cut = &ask("abc", kind::A)[..14];
        assert_eq!(Question::parse(cut), Err(Fault::Format { id: 7 }));
        assert_eq!(fault(Fault::Format { id: 7 }).unwrap()[..4], [0, 7, 0x80, 1]);
    }

    #[test]
    fn address_record_points_back_to_the_question() {
        let question = Question::parse(&ask("a.b", kind::A)).unwrap();
        let bytes = question.answer(&Answer::Records(vec![Record::A(Ipv4Addr::new(10, 96, 0, 7))]), 512);
        assert_eq!(bytes[..12], [0, 7, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(bytes[21..], [0xC0, 0x0C, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 96, 0, 7]);
    }

    #[test]
    fn unknown_name_comes_with_the_zones_authority() {
        let question = Question::parse(&ask("a.b", kind::A)).unwrap();
        let bytes = question.answer(&Answer::NoSuchName { zone: "b" }, 512);
        assert_eq!((bytes[3] & 0x0f, bytes[9]), (3, 1));
        assert_eq!(question.answer(&Answer::Refused, 512)[3] & 0x0f, 5);
    }

    #[test]
    fn answer_too_large_for_udp_is_truncated() {
        let question = Question::parse(&ask("a.b", kind::A)).unwrap();
        let many = Answer::Records(vec![Record::A(Ipv4Addr::LOCALHOST); 40]);
        let bytes = question.answer(&many, 512);
        assert_eq!((bytes[2] & 0x02, bytes.len()), (0x02, 21));
        assert!(question.answer(&many, usize::MAX).len() > 512);
    }
}
