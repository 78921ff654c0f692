//! For any objects, any answer to who may see them, on every wire and cut anywhere: what comes out is
//! what the upstream would have sent if there were nothing else.

use proptest::prelude::{Just, Strategy, prop_oneof};

use super::*;

/// A wire, and whether it is a stream.
#[derive(Clone, Copy, Debug)]
enum Form {
    Events,
    Grpc,
    GrpcStream,
    GrpcWeb,
    Lines,
    Whole,
}

const FORMS: [Form; 6] = [
    Form::Events,
    Form::Grpc,
    Form::GrpcStream,
    Form::GrpcWeb,
    Form::Lines,
    Form::Whole,
];

impl Form {
    fn kind(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Grpc | Self::GrpcStream => "application/grpc",
            Self::GrpcWeb => "application/grpc-web+proto",
            Self::Lines | Self::Whole => "application/json",
        }
    }

    fn is_stream(self) -> bool {
        matches!(self, Self::Events | Self::GrpcStream | Self::Lines)
    }

    /// Applications of these names as the upstream sends them.
    fn applications(self, names: &[String]) -> Vec<u8> {
        let json = |name: &String| {
            format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{"project":"{name}"}}}}"#)
        };
        let event = |name: &String| {
            format!(
                r#"{{"result":{{"type":"ADDED","application":{}}}}}"#,
                json(name)
            )
        };
        match self {
            Self::Events => {
                let events = names
                    .iter()
                    .map(|n| ["data: ", &event(n), " \n\n\n"].concat());
                events.collect::<Vec<_>>().concat().into()
            }
            Self::Lines => {
                let lines = names.iter().map(|n| event(n) + "\n");
                lines.collect::<Vec<_>>().concat().into()
            }
            Self::Whole => {
                let items: Vec<_> = names.iter().map(json).collect();
                format!(
                    r#"{{"metadata":{{"resourceVersion":"7"}},"items":[{}]}}"#,
                    items.join(",")
                )
                .into()
            }
            Self::GrpcStream => names
                .iter()
                .map(|n| framed(0, [field(1, "ADDED"), field(2, application(n))].concat()))
                .collect::<Vec<_>>()
                .concat(),
            Self::Grpc | Self::GrpcWeb => {
                let items: Vec<_> = names.iter().map(|n| field(2, application(n))).collect();
                let list = framed(0, [field(1, "metadata"), items.concat()].concat());
                self.ended(list)
            }
        }
    }

    /// A tree of nodes: each its kind, its name and the names of its parents.
    fn tree(self, nodes: &[Node]) -> Vec<u8> {
        let json = || {
            let nodes: Vec<_> = nodes.iter().map(Node::json).collect();
            format!(r#"{{"nodes":[{}],"hosts":[]}}"#, nodes.join(","))
        };
        let event = || format!(r#"{{"result":{}}}"#, json());
        match self {
            Self::Events => format!("data: {} \n\n\n", event()).into(),
            Self::Lines => (event() + "\n").into(),
            Self::Whole => json().into(),
            Self::Grpc | Self::GrpcStream | Self::GrpcWeb => {
                let nodes: Vec<_> = nodes.iter().map(|node| field(1, node.protobuf())).collect();
                self.ended(framed(0, [nodes.concat(), field(3, "")].concat()))
            }
        }
    }

    fn ended(self, mut body: Vec<u8>) -> Vec<u8> {
        if matches!(self, Self::GrpcWeb) {
            body.extend(framed(0x80, "grpc-status: 0\r\n"));
        }
        body
    }
}

#[derive(Clone, Debug)]
struct Node {
    kind: &'static str,
    name: String,
    parents: Vec<String>,
}

impl Node {
    fn json(&self) -> String {
        let reference = |kind: &str, name: &str| {
            format!(r#""group":"argoproj.io","kind":"{kind}","name":"{name}""#)
        };
        let own = reference(self.kind, &self.name);
        let parents = self
            .parents
            .iter()
            .map(|name| format!("{{{}}}", reference("Application", name)));
        let parents = parents.collect::<Vec<_>>().join(",");
        format!(r#"{{{own},"parentRefs":[{parents}],"images":["a","b"]}}"#)
    }

    fn protobuf(&self) -> Vec<u8> {
        let reference = |kind: &str, name: &str| {
            [field(1, "argoproj.io"), field(3, kind), field(5, name)].concat()
        };
        let parents = self
            .parents
            .iter()
            .map(|name| field(2, reference("Application", name)));
        let parents: Vec<_> = parents.collect();
        [
            field(1, reference(self.kind, &self.name)),
            parents.concat(),
            field(6, "a"),
        ]
        .concat()
    }

    /// What of it is left for who may see the applications of `permitted` names.
    fn seen(&self, permitted: &[String]) -> Option<Self> {
        let seen = |name: &String| permitted.contains(name);
        (self.kind != "Application" || seen(&self.name)).then(|| Self {
            parents: self
                .parents
                .iter()
                .filter(|name| seen(name))
                .cloned()
                .collect(),
            ..self.clone()
        })
    }
}

fn names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec("[a-e]{1,2}", 0..6)
}

fn node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![Just("Application"), Just("ApplicationSet"), Just("Job")];
    (kind, "[a-e]{1,2}", names()).prop_map(|(kind, name, parents)| Node {
        kind,
        name,
        parents,
    })
}

/// `sent`, cut behind the bytes at `cuts`.
fn cut_at(sent: &[u8], cuts: &[proptest::sample::Index]) -> Body {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(sent.len() + 1)).collect();
    places.extend([0, sent.len()]);
    places.sort_unstable();
    let chunks: Vec<Result<_, BoxError>> = places
        .windows(2)
        .map(|ends| Ok(Frame::data(Bytes::copy_from_slice(&sent[ends[0]..ends[1]]))))
        .collect();
    body::boxed(StreamBody::new(futures_util::stream::iter(chunks)))
}

fn shown(form: Form, layout: &'static Layout, rule: impl Rule + 'static, body: Body) -> Vec<u8> {
    let filtered = filter(answer(form.kind(), body), layout, "", rule).unwrap();
    let collected = futures_util::FutureExt::now_or_never(filtered.into_body().collect());
    collected.unwrap().unwrap().to_bytes().to_vec()
}

proptest! {
    #[test]
    fn lists_and_watches_are_exactly_what_may_be_seen(
        sent in names(),
        permitted in names(),
        cuts: Vec<proptest::sample::Index>,
    ) {
        let expected: Vec<_> = sent.iter().filter(|name| permitted.contains(name)).cloned().collect();
        for form in FORMS {
            let layout = if form.is_stream() { &APPLICATION_EVENT } else { &APPLICATION_LIST };
            let permitted = permitted.clone();
            let rule = Applications(move |app: &AppFacts| permitted.contains(&app.name));
            let body = cut_at(&form.applications(&sent), &cuts);
            prop_assert_eq!(shown(form, layout, rule, body), form.applications(&expected), "{:?}", form);
        }
    }

    #[test]
    fn trees_are_exactly_what_may_be_seen(
        sent in proptest::collection::vec(node(), 0..6),
        permitted in names(),
        cuts: Vec<proptest::sample::Index>,
    ) {
        let expected: Vec<_> = sent.iter().filter_map(|node| node.seen(&permitted)).collect();
        for form in FORMS {
            let layout = if form.is_stream() { &APPLICATION_TREES } else { &APPLICATION_TREE };
            let permitted = permitted.clone();
            let rule = Nodes(move |named: &Named| permitted.contains(&named.name));
            let body = cut_at(&form.tree(&sent), &cuts);
            prop_assert_eq!(shown(form, layout, rule, body), form.tree(&expected), "{:?}", form);
        }
    }
}
