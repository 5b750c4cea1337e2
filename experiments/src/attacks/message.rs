//! The DNS messages of attackers, victims and the upstream, as bytes (RFC 1035 section 4).

/// The record type of an IPv4 address.
pub const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const TXT: u16 = 16;

/// A pointer to the name of the question.
const QUESTION_NAME: u16 = 0xc00c;

/// QR, RD and RA.
const ANSWER: u16 = 0x8180;
const TC: u16 = 0x0200;

/// The largest number of records of 16 bytes that fit into a message together with a question and a long
/// name.
const COSTLY_RECORDS: u16 = 4060;

/// The labels of the long name: 118 of one byte, which leaves two of the 255 bytes of a name unused.
const LABELS: usize = 118;

/// A query for a name. The name is written without the final dot.
pub fn query(id: u16, name: &str, rtype: u16) -> Vec<u8> {
    let mut message = header(id, 0x0100, [1, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    put(&mut message, rtype);
    put(&mut message, 1);
    message
}

/// The id of a message; `None` when the message is too short.
pub fn id(message: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*message.first()?, *message.get(1)?]))
}

/// The RCODE of a message; `None` when the message is too short.
pub fn rcode(message: &[u8]) -> Option<u8> {
    message.get(3).map(|byte| byte & 15)
}

/// The name of a query's question in lower case, its record type, and the offset of its end.
pub fn question(message: &[u8]) -> Option<(String, u16, usize)> {
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
    let rtype = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    Some((name, rtype, at + 4))
}

/// The answer to a query: one address with a TTL of one hour, and NODATA for every other type.
pub fn address(query: &[u8]) -> Option<Vec<u8>> {
    let (_, rtype, end) = question(query)?;
    let counts = if rtype == A { [1, 1, 0] } else { [1, 0, 1] };
    let mut message = reply(query, end, ANSWER, counts)?;
    if rtype == A {
        record(&mut message, QUESTION_NAME, A, &[203, 0, 113, 1]);
    } else {
        let mut soa = vec![0, 0];
        soa.extend([0, 0, 0, 1, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0, 60]);
        record(&mut message, QUESTION_NAME, SOA, &soa);
    }
    Some(message)
}

/// A TXT answer that fills a datagram of 1,232 bytes.
pub fn large(query: &[u8]) -> Option<Vec<u8>> {
    let (_, _, end) = question(query)?;
    let mut message = reply(query, end, ANSWER, [1, 4, 0])?;
    for _ in 0..4 {
        let mut text = vec![240];
        text.extend([b'x'; 240]);
        record(&mut message, QUESTION_NAME, TXT, &text);
    }
    Some(message)
}

/// An empty answer with TC, as if the answer did not fit into a datagram.
pub fn truncated(query: &[u8]) -> Option<Vec<u8>> {
    let (_, _, end) = question(query)?;
    reply(query, end, ANSWER | TC, [1, 0, 0])
}

/// An answer of 64 KiB whose 4,060 records belong to a name of 118 labels, written as a pointer (the class of
/// CVE-2024-8508).
pub fn costly(query: &[u8]) -> Option<Vec<u8>> {
    let (_, _, end) = question(query)?;
    let mut message = reply(query, end, ANSWER, [1, COSTLY_RECORDS + 1, 0])?;
    let mut name: Vec<u8> = [1, b'a'].repeat(LABELS);
    name.push(0);
    let pointer = 0xc000 | (message.len() as u16 + 12);
    record(&mut message, QUESTION_NAME, CNAME, &name);
    for number in 0..COSTLY_RECORDS {
        let [high, low] = number.to_be_bytes();
        record(&mut message, pointer, A, &[203, 0, high, low]);
    }
    Some(message)
}

fn reply(query: &[u8], end: usize, flags: u16, counts: [u16; 3]) -> Option<Vec<u8>> {
    let mut message = header(id(query)?, flags, counts);
    message.extend(query.get(12..end)?);
    Some(message)
}

fn header(id: u16, flags: u16, [questions, answers, authorities]: [u16; 3]) -> Vec<u8> {
    [id, flags, questions, answers, authorities, 0].into_iter().flat_map(u16::to_be_bytes).collect()
}

fn record(message: &mut Vec<u8>, owner: u16, rtype: u16, data: &[u8]) {
    for value in [owner, rtype, 1, 0, 3600, data.len() as u16] {
        put(message, value);
    }
    message.extend(data);
}

fn put(message: &mut Vec<u8>, value: u16) {
    message.extend(value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_the_question_that_it_was_made_of() {
        let query = query(7, "Hit.victim.test", 28);
        assert_eq!(question(&query), Some(("hit.victim.test".to_owned(), 28, query.len())));
        assert_eq!((id(&query), id(&[1])), (Some(7), None));
        assert_eq!(question(&query[..20]), None);
    }

    #[test]
    fn answers_fit_into_datagrams_and_tcp_messages() {
        let query = query(1, "x.test", A);
        assert_eq!(address(&query).unwrap().len(), query.len() + 16);
        assert!((1000..=1232).contains(&large(&query).unwrap().len()));
        let costly = costly(&query).unwrap();
        assert!((65_000..=65_535).contains(&costly.len()), "{}", costly.len());
        assert_eq!(truncated(&query).unwrap()[2] & 2, 2);
    }
}
