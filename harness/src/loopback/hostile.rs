//! Hostile packets and connections. They are the same in every run.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use crate::failure::{Failure, WithContext};

/// A packet for each number: truncated, with a pointer loop, with wrong counts, a response, with another
/// opcode, or random bytes.
pub fn packet(number: u32) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(u64::from(number));
    let mut next = move || random.u8(..);
    let mut query = vec![next(), next(), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend_from_slice(b"\x03www\x07example\x03com\x00\x00\x01\x00\x01");
    match number % 8 {
        0 => (0..usize::from(next())).map(|_| next()).collect(),
        1 => query[..usize::from(next()) % query.len()].to_vec(),
        // A name with a pointer to itself, and a name with a pointer forward.
        2 => [&query[..12], b"\xc0\x0c\x00\x01\x00\x01".as_slice()].concat(),
        3 => [&query[..12], b"\xc0\x20\x00\x01\x00\x01".as_slice()].concat(),
        // Counts that exceed the contents.
        4 => {
            query[4..12].copy_from_slice(&[next(), next(), 0xff, 0xff, next(), 0xff, 0xff, next()]);
            query
        }
        5 => {
            query[2] = 0x80 | next();
            query
        }
        6 => {
            query[2] = (next() & 0x0f) << 3;
            query
        }
        _ => {
            query[11] = 1;
            query.extend((0..1000).map(|_| next()));
            query
        }
    }
}

/// Sends this number of packets as fast as possible, and reads the responses.
pub async fn flood(server: SocketAddr, packets: u32) -> Result<(), Failure> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.with_context("flooding")?;
    socket.connect(server).await.with_context("flooding")?;
    let mut buffer = [0; 4096];
    for number in 0..packets {
        let _ = socket.send(&packet(number)).await;
        while socket.try_recv(&mut buffer).is_ok() {}
        if number % 64 == 63 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}

/// Opens one connection: it is silent, sends half a length, half a message, a huge length, random bytes, or
/// queries whose answers it never reads.
pub async fn connect(server: SocketAddr, number: u32) {
    let Ok(Ok(mut stream)) = timeout(Duration::from_secs(1), TcpStream::connect(server)).await else {
        return;
    };
    let question =
        b"\x00\x1d\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01";
    let bytes = match number % 6 {
        0 => Vec::new(),
        1 => vec![0],
        2 => question[..10].to_vec(),
        3 => vec![0xff, 0xff, 1, 2, 3],
        4 => packet(number * 8),
        _ => question.repeat(500),
    };
    let _ = timeout(Duration::from_millis(200), stream.write_all(&bytes)).await;
    sleep(Duration::from_millis(200)).await;
}
