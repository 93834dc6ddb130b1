//! What a head and a chunked body cost on their way through Apex, without a network: parsed and judged, and written anew.
//!
//! `cargo bench --bench http`; times are of one core.

use std::hint::black_box;
use std::time::Duration;

use apex::http::chunked::{self, Decoder, Found};
use apex::http::field::slots;
use apex::http::forward::{self, RequestEdits, ResponseEdits};
use apex::http::head::{self, Method};
use apex::http::limits::HeadLimits;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// What Chrome sends for a page of a site that has set cookies: 20 field lines, 1.0 KB.
const REQUEST: &[u8] = b"GET /shop/items/4711?sort=price&page=2 HTTP/1.1\r\n\
Host: www.example.com\r\n\
Connection: keep-alive\r\n\
Cache-Control: max-age=0\r\n\
sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
DNT: 1\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-User: ?1\r\n\
Sec-Fetch-Dest: document\r\n\
Referer: http://www.example.com/shop/items?sort=price\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n\
If-None-Match: \"5f3e9c0a-1c2d\"\r\n\
Cookie: session=0f8fad5bd9cb469fa16570867728950e; theme=dark; consent=YES+cb.20261122-07-p0.en+FX+410; \
basket=4711.2_4712.1_0815.5; _ga=GA1.2.1234567890.1732291860; _gid=GA1.2.987654321.1732291860\r\n\
Priority: u=0, i\r\n\
\r\n";

/// What an application answers: 11 field lines, 420 bytes.
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Server: nginx\r\n\
Date: Sun, 22 Nov 2026 19:51:00 GMT\r\n\
Content-Type: text/html; charset=utf-8\r\n\
Content-Length: 48213\r\n\
Connection: keep-alive\r\n\
Vary: Accept-Encoding\r\n\
Cache-Control: private, max-age=0, must-revalidate\r\n\
ETag: \"5f3e9c0a-bc55\"\r\n\
Set-Cookie: session=0f8fad5bd9cb469fa16570867728950e; Path=/; HttpOnly; SameSite=Lax\r\n\
Strict-Transport-Security: max-age=31536000\r\n\
X-Content-Type-Options: nosniff\r\n\
\r\n";

const EDITS: RequestEdits<'static> = RequestEdits {
    strip_bytes: 0,
    client_address: Some(b"192.0.2.7"),
    client_trusted: false,
    host_fallback: "127.0.0.1:9001",
    via: None,
    request_id: None,
};

/// Octets of content of the chunked bodies.
const BODY_BYTES: usize = 64 * 1024;

fn request(c: &mut Criterion) {
    let mut group = c.benchmark_group("request");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("parse", |b| {
        b.iter(|| {
            let mut room = slots();
            let request = head::request(black_box(REQUEST), &mut room, &HeadLimits::DEFAULT);
            let request = request.expect("accepted").expect("complete");
            black_box(request.head_bytes)
        });
    });
    let mut out = Vec::with_capacity(4096);
    group.bench_function("parse and forward", |b| {
        b.iter(|| {
            let mut room = slots();
            let request = head::request(black_box(REQUEST), &mut room, &HeadLimits::DEFAULT);
            out.clear();
            forward::request(&mut out, &request.expect("accepted").expect("complete"), &EDITS);
            black_box(out.len())
        });
    });
    group.finish();
}

fn response(c: &mut Criterion) {
    let mut group = c.benchmark_group("response");
    group.throughput(Throughput::Bytes(RESPONSE.len() as u64));
    let mut out = Vec::with_capacity(4096);
    group.bench_function("parse and forward", |b| {
        b.iter(|| {
            let mut room = slots();
            let response = head::response(black_box(RESPONSE), &mut room, &HeadLimits::DEFAULT, Method::Get);
            let response = response.expect("accepted").expect("complete");
            out.clear();
            let edits = ResponseEdits { framing: response.framing, connection: None, upgrades: false };
            forward::response(&mut out, &response, &edits);
            black_box(out.len())
        });
    });
    group.finish();
}

/// A body of [`BODY_BYTES`] in chunks of `chunk_bytes`.
fn body(chunk_bytes: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for part in vec![b'a'; BODY_BYTES].chunks(chunk_bytes) {
        chunked::write_size_line(&mut body, part.len() as u64);
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(chunked::LAST_CHUNK);
    body
}

/// Reads the framing of a whole body, stepping over its data; says how many octets of content it has.
fn scan(body: &[u8]) -> u64 {
    let mut decoder = Decoder::new();
    let mut place = 0;
    let mut content_bytes = 0;
    loop {
        let (used, found) = decoder.read(&body[place..]).expect("well formed");
        place += used;
        if found != Found::Data {
            return content_bytes;
        }
        let count = decoder.data_left();
        decoder.take_data(count);
        content_bytes += count;
        place += usize::try_from(count).expect("it is within the body");
    }
}

fn chunked_body(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunked 64 KiB");
    group.throughput(Throughput::Bytes(BODY_BYTES as u64));
    for (name, chunk_bytes) in [("chunks of 16 KiB", 16 * 1024), ("chunks of 100 bytes", 100)] {
        let body = body(chunk_bytes);
        assert_eq!(scan(&body), BODY_BYTES as u64);
        group.bench_function(name, |b| b.iter(|| scan(black_box(&body))));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = request, response, chunked_body
}
criterion_main!(benches);
