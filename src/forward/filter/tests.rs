//! The same two applications in every framing: `visible` may be seen, `hidden` may not.

use http::StatusCode;
use http_body::Body as _;
use http_body_util::{BodyExt as _, StreamBody};
use proptest::prelude::{any, prop_assert_eq, proptest};

use super::*;

mod properties;
mod trees;

const VISIBLE: &str = r#"{"metadata":{"name":"visible","namespace":"argocd","uid":"u-1","labels":{"team":"a"}},"spec":{"project":"shop","destination":{"server":"https://k","namespace":"n"}},"status":{"note":"  [1, 2] "}}"#;
const HIDDEN: &str = r#"{"metadata":{"name":"hidden","labels":null},"spec":{"project":"secret"}}"#;

/// A length-delimited protobuf field.
fn field(number: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut field = vec![number << 3 | 2];
    prost::encoding::encode_varint(payload.len() as u64, &mut field);
    field.extend_from_slice(payload);
    field
}

fn application(name: &str) -> Vec<u8> {
    let label = [field(1, "team"), field(2, "a")].concat();
    let metadata = [
        field(1, name),
        field(3, "argocd"),
        field(5, "u-1"),
        // `generation`, a number.
        vec![7 << 3, 0x96, 0x01],
        field(11, label),
    ];
    let destination = [field(1, "https://k"), field(2, "n"), field(3, "c")].concat();
    let spec = [field(1, "source"), field(2, destination), field(3, "shop")];
    [field(1, metadata.concat()), field(2, spec.concat())].concat()
}

fn framed(flags: u8, message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flags], length.as_slice(), message].concat()
}

fn answer(kind: &str, body: Body) -> Response<Body> {
    Response::builder()
        .header(CONTENT_TYPE, kind)
        .body(body)
        .unwrap()
}

fn cut(bytes: &[u8], size: usize) -> Body {
    let chunks: Vec<Result<_, BoxError>> = bytes
        .chunks(size)
        .map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    body::boxed(StreamBody::new(futures_util::stream::iter(chunks)))
}

/// The rule of these tests.
fn visible() -> impl Rule {
    Applications(|app: &AppFacts| app.name == "visible")
}

/// `bytes` filtered, the same however they are cut.
async fn filtered(kind: &str, layout: &'static Layout, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut results = Vec::new();
    for size in [1, 2, 7, 64, bytes.len().max(1)] {
        let response = answer(kind, cut(bytes, size));
        let result = match filter(response, layout, "", visible()) {
            Ok(response) => {
                let collected = response.into_body().collect().await;
                collected
                    .map(|c| c.to_bytes().to_vec())
                    .map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        results.push(result);
    }
    results.dedup();
    assert_eq!(results.len(), 1, "depends on how bytes are cut");
    results.remove(0)
}

#[test]
fn the_facts_are_the_same_in_protobuf_and_json() {
    let json = AppFacts::from_json(VISIBLE.as_bytes()).unwrap();
    let mut protobuf = AppFacts::from_protobuf(&application("visible")).unwrap();
    assert_eq!(protobuf.destination.name, "c");
    protobuf.destination.name.clear();
    assert_eq!(json, protobuf);
    assert_eq!(json.labels["team"], "a");
    assert_eq!(json.project, "shop");
}

#[tokio::test]
async fn a_protobuf_list_keeps_the_permitted_byte_by_byte() {
    let (visible, hidden) = (application("visible"), application("hidden"));
    let metadata = field(1, field(2, "resource version 7"));
    let list = [
        metadata.clone(),
        field(2, &hidden),
        field(2, &visible),
        field(2, &hidden),
    ];
    let expected = framed(0, [metadata, field(2, &visible)].concat());
    let sent = framed(0, list.concat());
    let kept = filtered("application/grpc", &APPLICATION_LIST, &sent).await;
    assert_eq!(kept.unwrap(), expected);

    let trailer = framed(0x80, "grpc-status: 0\r\n");
    let sent = [sent, trailer.clone()].concat();
    let kept = filtered("application/grpc-web+proto", &APPLICATION_LIST, &sent).await;
    assert_eq!(kept.unwrap(), [expected, trailer].concat());
}

#[tokio::test]
async fn a_protobuf_watch_drops_whole_events() {
    let event = |name: &str| framed(0, [field(1, "ADDED"), field(2, application(name))].concat());
    let sent = [
        event("hidden"),
        event("visible"),
        event("hidden"),
        event("visible"),
    ];
    let kept = filtered("application/grpc", &APPLICATION_EVENT, &sent.concat()).await;
    assert_eq!(kept.unwrap(), [event("visible"), event("visible")].concat());
}

#[tokio::test]
async fn a_json_list_keeps_the_permitted_byte_by_byte() {
    let list = |items: &str| format!(r#"{{"metadata":{{"resourceVersion":"7"}},"items":{items}}}"#);
    for (items, expected) in [
        (
            format!("[{HIDDEN}, {VISIBLE} ,{HIDDEN}\n]"),
            format!("[{VISIBLE}]"),
        ),
        (
            format!("[{VISIBLE},{VISIBLE}]"),
            format!("[{VISIBLE},{VISIBLE}]"),
        ),
        ("[]".into(), "[]".into()),
        ("null".into(), "null".into()),
    ] {
        let kept = filtered(
            "application/json",
            &APPLICATION_LIST,
            list(&items).as_bytes(),
        )
        .await;
        assert_eq!(String::from_utf8(kept.unwrap()).unwrap(), list(&expected));
    }
}

#[tokio::test]
async fn json_lines_and_server_sent_events_drop_whole_events() {
    let event = |app: &str| format!(r#"{{"result":{{"type":"ADDED","application":{app}}}}}"#);
    let (hidden, visible) = (event(HIDDEN), event(VISIBLE));
    let error = r#"{"error":{"grpc_code":16,"message":"expired"}}"#;
    let lines = format!("{hidden}\n{visible}\n{hidden}\n{error}\n");
    let kept = filtered("application/json", &APPLICATION_EVENT, lines.as_bytes()).await;
    assert_eq!(
        String::from_utf8(kept.unwrap()).unwrap(),
        format!("{visible}\n{error}\n")
    );

    let events = format!(":\ndata: {hidden} \n\n\n:\ndata: {visible} \n\n\ndata: {hidden} \n\n\n");
    let kept = filtered("text/event-stream", &APPLICATION_EVENT, events.as_bytes()).await;
    let expected = format!(":\n:\ndata: {visible} \n\n\n");
    assert_eq!(String::from_utf8(kept.unwrap()).unwrap(), expected);
}

// What is not understood ends the answer and shows nothing.

async fn refuses(kind: &str, layout: &'static Layout, sent: impl AsRef<[u8]>, says: &str) {
    let refused = filtered(kind, layout, sent.as_ref()).await;
    let refused = refused.expect_err(&format!("{kind} {says}"));
    assert!(refused.contains(says), "{refused} does not say {says}");
}

#[tokio::test]
async fn protobuf_that_is_not_understood_is_refused() {
    let list = async |sent: Vec<u8>, says| {
        refuses("application/grpc", &APPLICATION_LIST, sent, says).await;
    };
    let app = application("visible");
    list(framed(1, field(2, &app)), "compressed").await;
    list(framed(2, field(2, &app)), "malformed").await;
    list(framed(0x80, "grpc-status: 0"), "malformed").await;
    list(framed(0, field(3, &app)), "unknown field 3").await;
    list(framed(0, field(2, "")), "without a name").await;
    list(framed(0, field(2, field(2, ""))), "without a name").await;
    // A group; a length beyond the end; a varint without an end.
    list(framed(0, [0x13, 0x14]), "malformed").await;
    list(framed(0, [0x12, 0x7f]), "malformed").await;
    list(framed(0, [0xff; 11]), "malformed").await;
    list(vec![0, 0xff, 0, 0, 0, 0], "more than").await;
    list(framed(0, field(2, &app))[..9].to_vec(), "inside a message").await;
    let twice = framed(0, [field(2, &app), field(2, &app)].concat());
    refuses("application/grpc", &APPLICATION_EVENT, twice, "twice").await;
}

#[tokio::test]
async fn json_that_is_not_understood_is_refused() {
    let list = async |sent: &str, says| {
        let sent = sent.replace("APP", VISIBLE);
        refuses("application/json", &APPLICATION_LIST, sent, says).await;
    };
    list(r#"{"items":[APP],"more":[]}"#, "`more`").await;
    list(r#"{"items":[APP],"items":[]}"#, "`items`").await;
    list(r#"{"Items":[APP]}"#, "`Items`").await;
    list(r#"{"items":[APP]} {}"#, "malformed").await;
    list(r#"{"items":[APP,]}"#, "malformed").await;
    list(r#"{"items":[APP"#, "malformed").await;
    list(r#"{"items":[{"metadata":{"name":""}}]}"#, "without a name").await;
    list("{}", "malformed").await;
    list("", "malformed").await;
    list("<html>", "malformed").await;
    refuses("text/html", &APPLICATION_LIST, "<html>", "as `text/html`").await;
}

#[tokio::test]
async fn events_that_are_not_understood_are_refused() {
    let lines = async |sent: &str, says| {
        refuses("application/json", &APPLICATION_EVENT, sent, says).await;
    };
    lines("{\"result\":{\"apps\":1}}\n", "`apps`").await;
    lines("{\"error\":1,\"result\":{}}\n", "`result`").await;
    lines("{\"result\":{}}", "inside a message").await;
    let events = "text/event-stream";
    refuses(events, &APPLICATION_EVENT, "event: x\n", "malformed").await;
    refuses(
        events,
        &APPLICATION_LIST,
        "data: {}\n",
        "as `text/event-stream`",
    )
    .await;
}

proptest! {
    #[test]
    fn what_is_permitted_as_a_whole_is_not_changed_by_a_byte(
        names in proptest::collection::vec("[a-z]{1,9}", 0..5),
        at in any::<proptest::sample::Index>(),
        byte: u8,
    ) {
        let items: Vec<_> = names.iter().map(|name| field(2, application(name))).collect();
        let mut list = [field(1, field(2, "7")), items.concat()].concat();
        let whole = protobuf::filter(&list, &APPLICATION_LIST, &Applications(|_: &AppFacts| true)).unwrap();
        prop_assert_eq!(whole.unwrap(), &*list);
        // The same with one byte changed: refused, or still as it came.
        let at = at.index(list.len());
        list[at] = byte;
        if let Ok(Some(kept)) = protobuf::filter(&list, &APPLICATION_LIST, &Applications(|_: &AppFacts| true)) {
            prop_assert_eq!(kept, list);
        }
    }

    #[test]
    fn what_is_not_permitted_leaves_no_trace(
        names in proptest::collection::vec("[a-z]{6,9}", 1..5),
        spaces in "[ \n\t]{0,3}",
    ) {
        let object = |name| format!(r#"{{"metadata":{{"name":"{name}"}}{spaces}}}"#);
        let items: Vec<_> = names.iter().map(object).collect();
        let text = format!(r#"{{"metadata":{{}},{spaces}"items":[{}{spaces}]}}"#, items.join(","));
        let none = json::filter_whole(text.as_bytes(), &APPLICATION_LIST, &Applications(|_: &AppFacts| false), None);
        prop_assert_eq!(none.unwrap(), br#"{"metadata":{},"items":[]}"#);
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_and_a_refusal_of_the_upstream_passes() {
    let mut response = answer("application/json", body::full("{}"));
    let gzip = HeaderValue::from_static("gzip");
    response.headers_mut().insert(CONTENT_ENCODING, gzip);
    let refused = filter(response, &APPLICATION_LIST, "", visible());
    assert_eq!(refused.unwrap_err(), Error::Compressed);

    let mut response = answer("text/plain", body::full("no"));
    *response.status_mut() = StatusCode::FORBIDDEN;
    let passed = filter(response, &APPLICATION_LIST, "", visible()).unwrap();
    assert_eq!(body::collect(passed.into_body(), 10).await.unwrap(), "no");
}

#[tokio::test]
async fn trailers_follow_the_last_message_and_an_answer_without_body_stays_one() {
    let message = framed(0, field(2, application("hidden")));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let end = async move { Some(Ok(trailers)) };
    let body = body::boxed(body::full(message).with_trailers(end));
    let response = answer("application/grpc", body);
    let kept = filter(response, &APPLICATION_LIST, "", visible()).unwrap();
    let collected = kept.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(collected.to_bytes().as_ref(), framed(0, ""));

    let refusal = answer("application/grpc", body::empty());
    let passed = filter(refusal, &APPLICATION_LIST, "", visible()).unwrap();
    assert!(passed.body().is_end_stream());
}
