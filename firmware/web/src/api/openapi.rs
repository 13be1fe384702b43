//! The document that describes the API: OpenAPI 3.1, made of the table of routes and the shapes of what they take and answer.

use std::sync::OnceLock;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::reply::{JSON, PROBLEM, REFUSED};
use super::routes::{BEGIN, Gives, Kind, METRICS, Parameter, Route, Takes, all, role_word};
use super::site::Refusal;
use super::views::admin::ApprovalView;

/// What shapes of bodies begin with: some shapes are taken and answered, and what may be left out in one must be there in the
/// other.
const ASKED: &str = "Asked";
const SCHEMAS: &str = "/components/schemas";

/// The document as JSON, made once.
#[must_use]
pub fn text() -> Vec<u8> {
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    TEXT.get_or_init(|| serde_json::to_vec(&document()).unwrap_or_default()).clone()
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut shapes = Shapes::new();
    let mut paths = Map::new();
    for route in all() {
        let operation = operation(route, &mut shapes);
        let path = paths.entry(whole_path(route)).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_ascii_lowercase(), operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lifeboat",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Disaster recovery of physical servers",
            "description": "What the page, scripts and command lines elsewhere ask of an appliance. Fields are only ever added. \
                A session's cookie alone changes nothing: every changing request carries its `x-csrf`. Tokens need none.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The appliance that served this document" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": shapes.all(),
            "securitySchemes": {
                "token": {
                    "type": "http", "scheme": "bearer",
                    "description": "`lbt_` and 43 characters, made by an administrator",
                },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": super::routes::COOKIE,
                    "description": "Set by logging in; ends after 30 minutes without use, or 12 hours",
                },
            },
        },
    })
}

/// Where a route is asked.
fn whole_path(route: &Route) -> String {
    match route.path {
        METRICS => METRICS.to_owned(),
        path => format!("{BEGIN}{path}"),
    }
}

/// Generators of both directions.
struct Shapes {
    answered: SchemaGenerator,
    asked: SchemaGenerator,
}

impl Shapes {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = SCHEMAS.into();
                settings.meta_schema = None;
            })
        };
        Self {
            answered: settings().for_serialize().into_generator(),
            asked: settings().for_deserialize().into_generator(),
        }
    }

    fn answered(&mut self, shape: super::routes::Shape) -> Value {
        shape(&mut self.answered).to_value()
    }

    fn asked(&mut self, shape: super::routes::Shape) -> Value {
        renamed(shape(&mut self.asked).to_value())
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.answered.take_definitions(true);
        let asked = self.asked.take_definitions(true);
        all.extend(
            asked.into_iter().map(|(name, shape)| (format!("{ASKED}{name}"), renamed(shape))),
        );
        all
    }
}

/// The same with every reference to the shape of a body.
fn renamed(shape: Value) -> Value {
    match shape {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| match (key.as_str(), value) {
                    ("$ref", Value::String(to)) => {
                        let begin = format!("#{SCHEMAS}/");
                        let to = to.replace(&begin, &format!("{begin}{ASKED}"));
                        (key, Value::String(to))
                    }
                    (_, value) => (key, renamed(value)),
                })
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(renamed).collect()),
        other => other,
    }
}

fn operation(route: &Route, shapes: &mut Shapes) -> Value {
    let mut operation = Map::new();
    operation.insert("operationId".into(), json!(route.id));
    operation.insert("summary".into(), json!(route.summary));
    let role = route.role.map_or("anybody", role_word);
    let mut words = format!("Role: {role}.");
    if route.destroys {
        words.push_str(" It cannot be taken back.");
    }
    if route.may_wait() {
        words.push_str(
            " Where a server's policy asks for a second person it waits for an approval.",
        );
    }
    operation.insert("description".into(), json!(words));
    let parameters: Vec<Value> = names(route.path)
        .map(path_parameter)
        .chain(route.query.iter().map(|parameter| query_parameter(parameter, shapes)))
        .collect();
    if !parameters.is_empty() {
        operation.insert("parameters".into(), json!(parameters));
    }
    if let Some(content) = asked(route, shapes) {
        operation.insert("requestBody".into(), json!({ "required": true, "content": content }));
    }
    if route.role.is_none() {
        operation.insert("security".into(), json!([]));
    }
    operation.insert("responses".into(), answers(route, shapes));
    Value::Object(operation)
}

/// What stands in braces.
fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|word| word.strip_prefix('{')?.strip_suffix('}'))
}

fn path_parameter(name: &str) -> Value {
    let schema = json!({ "type": "string", "minLength": 1, "maxLength": 100 });
    json!({ "name": name, "in": "path", "required": true, "schema": schema })
}

fn query_parameter(parameter: &Parameter, shapes: &mut Shapes) -> Value {
    let schema = match parameter.kind {
        Kind::Text => json!({ "type": "string", "maxLength": 1024 }),
        Kind::Number(most) => json!({ "type": "integer", "minimum": 0, "maximum": most }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Word(shape) => shapes.asked(shape),
    };
    json!({
        "name": parameter.name, "in": "query", "required": parameter.needed,
        "description": parameter.words, "schema": schema,
    })
}

fn asked(route: &Route, shapes: &mut Shapes) -> Option<Value> {
    Some(match route.takes {
        Takes::Nothing => return None,
        Takes::Json(shape, _) => json!({ JSON: { "schema": shapes.asked(shape) } }),
        Takes::Stream(_) => json!({ "application/octet-stream": {} }),
        Takes::Text(bytes) => {
            json!({ "text/plain": { "schema": { "type": "string", "maxLength": bytes } } })
        }
    })
}

fn answers(route: &Route, shapes: &mut Shapes) -> Value {
    let mut answers = Map::new();
    let good = match route.gives {
        Gives::Nothing => ("204", json!({ "description": "Done" })),
        Gives::Json(shape) => ("200", answer(JSON, &shapes.answered(shape))),
        Gives::Content(JSON) => ("200", answer(JSON, &json!({ "type": "object" }))),
        Gives::Content(kind) => {
            let kind = kind.split(';').next().unwrap_or(kind);
            ("200", answer(kind, &json!({ "type": "string" })))
        }
        Gives::File => {
            let bytes = json!({ "type": "string" });
            answers.insert("206".into(), answer("application/octet-stream", &bytes));
            ("200", answer("application/octet-stream", &bytes))
        }
        Gives::Events => ("200", answer("text/event-stream", &json!({ "type": "string" }))),
        Gives::Lines(shape) => ("200", answer("application/x-ndjson", &shapes.answered(shape))),
    };
    answers.insert(good.0.into(), good.1);
    if route.may_wait() {
        let waits = shapes.answered(|generator| generator.subschema_for::<ApprovalView>());
        answers.insert("202".into(), answer(JSON, &waits));
    }
    let refusal = shapes.answered(|generator| generator.subschema_for::<Refusal>());
    for status in REFUSED {
        answers.insert(status.to_string(), answer(PROBLEM, &refusal));
    }
    // By the HTTP below, which knows nothing of the API.
    answers.insert(
        "431".into(),
        json!({ "description": "The request's head is too large; no content" }),
    );
    Value::Object(answers)
}

fn answer(kind: &str, schema: &Value) -> Value {
    json!({ "description": "See its content", "content": { kind: { "schema": schema } } })
}
